//! Names of the wire as names of the document.

/// The name of a component for what the wire calls `name`: `OrderBy` for `order-by`.
pub(crate) fn pascal(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    words
        .flat_map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first
                .to_uppercase()
                .chars()
                .chain(rest.chars())
                .collect::<Vec<_>>()
        })
        .collect()
}
