//! The modules of the store depend on each other in one direction.
//!
//! A module is a file or a folder right under `src`. It depends on another one when its code names
//! it by a path, or calls a method of `Store` that stands there. Unit tests and the conformance suite
//! may look everywhere.

#![expect(
    clippy::unwrap_used,
    reason = "a source that is not as it is read here is to fail the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names, and the modules that they stand in.
type Names = BTreeMap<String, String>;

/// A source file without comments and unit tests.
struct Source {
    module: String,
    /// Whether `super` is the root of the crate here.
    is_root: bool,
    code: String,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|name| name == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let read = |path: PathBuf| {
        let inner = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<&str> = inner.iter().map(|one| one.to_str().unwrap()).collect();
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        let lines = product.lines().map(|line| match line.find("//") {
            Some(at) => &line[..at],
            None => line,
        });
        Source {
            module: parts[0].to_owned(),
            is_root: parts.len() == 1 || parts[1] == "mod",
            code: lines.collect::<Vec<_>>().join("\n"),
        }
    };
    paths.into_iter().map(read).collect()
}

/// The name at the beginning of `text`.
fn name(text: &str) -> &str {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    &text[..text.find(|one| !is_part(one)).unwrap_or(text.len())]
}

/// The first names of the paths in a list that begins behind its brace.
fn names_in_braces(text: &str) -> Vec<&str> {
    let (mut depth, mut begins, mut found) = (0, true, Vec::new());
    for (at, one) in text.char_indices() {
        match one {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            one if begins && !one.is_whitespace() => {
                found.push(name(&text[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

/// The first names of all paths that begin with `root`.
fn paths_from<'a>(code: &'a str, root: &str) -> Vec<&'a str> {
    let behind = code
        .match_indices(root)
        .map(|(at, _)| &code[at + root.len()..]);
    behind
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => names_in_braces(list),
            None => vec![name(rest)],
        })
        .collect()
}

/// What the crate's root gives another name, by that name: `pub use crate::module::Name`.
fn exported(root: &str) -> Names {
    let mut found = Names::new();
    let uses = root.split("pub use crate::{").nth(1).unwrap();
    let list = &uses[..uses.find("\n};").unwrap()];
    for item in list.split("\n    ").map(str::trim) {
        let module = name(item);
        for word in item.split(|one: char| !one.is_alphanumeric() && one != '_') {
            if word.starts_with(char::is_uppercase) {
                found.insert(word.to_owned(), module.to_owned());
            }
        }
    }
    found
}

/// The blocks of methods of `Store`.
fn blocks(code: &str) -> impl Iterator<Item = &str> {
    let behind = code.split("\nimpl Store {").skip(1);
    behind.map(|rest| &rest[..rest.find("\n}").unwrap()])
}

/// The methods of `Store`, by name.
fn methods(sources: &[Source]) -> Names {
    let mut found = Names::new();
    for source in sources {
        for block in blocks(&source.code) {
            for method in block.split("fn ").skip(1) {
                found.insert(name(method).to_owned(), source.module.clone());
            }
        }
    }
    found
}

/// Which modules each module depends on.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let all = sources();
    let root = all.iter().find(|one| one.module == "lib").unwrap();
    let exported = exported(&root.code);
    let methods = methods(&all);
    let is_product = |one: &&Source| !["lib", "conformance"].contains(&one.module.as_str());
    let modules: BTreeSet<String> = all
        .iter()
        .filter(is_product)
        .map(|one| one.module.clone())
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in all.iter().filter(is_product) {
        let mut paths = paths_from(&source.code, "crate::");
        if source.is_root {
            paths.extend(paths_from(&source.code, "super::"));
        }
        let own = found.entry(source.module.clone()).or_default();
        for path in paths {
            let module = exported.get(path).map_or(path, String::as_str);
            assert!(
                modules.contains(module),
                "{} names `crate::{path}`, which is for other crates: name its module",
                source.module
            );
            own.insert(module.to_owned());
        }
        let called = blocks(&source.code).flat_map(|block| paths_from(block, "self."));
        for method in called.chain(paths_from(&source.code, "store.")) {
            own.extend(methods.get(method).cloned());
        }
        own.remove(&source.module);
    }
    found
}

#[test]
fn no_module_depends_on_itself_through_others() {
    let mut left = dependencies();
    assert!(left.len() > 20, "the modules were not found: {left:?}");
    assert!(
        left["accept"].contains("engines"),
        "paths were not found: {left:?}"
    );
    assert!(
        left["directory"].contains("master_key"),
        "methods were not found: {left:?}"
    );
    // Takes away, again and again, what depends on nothing that is left.
    loop {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, on)| !on.iter().any(|one| left.contains_key(one)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|module, _| !free.contains(module));
    }
    let still: BTreeSet<String> = left.keys().cloned().collect();
    for on in left.values_mut() {
        on.retain(|one| still.contains(one));
    }
    assert!(left.is_empty(), "these depend on each other: {left:#?}");
}
