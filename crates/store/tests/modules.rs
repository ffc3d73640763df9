//! The modules of the store depend on each other in one direction.
//!
//! A module is a file or a folder right under `src`. It depends on another one when its code names
//! it by a path, or calls a method of `Store` that stands there. Unit tests and the conformance suite
//! may look everywhere.

#![expect(
    clippy::unwrap_used,
    reason = "a source that is not as it is read here is to fail the test"
)]

use std::{collections::BTreeMap, path::Path};

use testbed::sources::{Dependencies, Source, cycles, name, read};

/// Names, and the modules that they stand in.
type Names = BTreeMap<String, String>;

/// The names that the crate's root gives to other crates, and the modules that they stand in.
fn exported(root: &Source) -> Names {
    let is_type =
        |path: &Vec<String>| path.len() > 1 && path[path.len() - 1].starts_with(char::is_uppercase);
    let types = root.paths().into_iter().filter(is_type);
    types
        .map(|path| (path[path.len() - 1].clone(), path[0].clone()))
        .collect()
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
                found.insert(name(method).to_owned(), module_of(source).to_owned());
            }
        }
    }
    found
}

/// The module right under `src` that a source is in.
fn module_of(source: &Source) -> &str {
    source.module.first().map_or("", String::as_str)
}

/// Which modules each module depends on: by a path, by a name that the root gives another name, or
/// by a method of `Store`.
fn dependencies() -> Dependencies {
    let all = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let root = all.iter().find(|one| one.module.is_empty()).unwrap();
    let exported = exported(root);
    let methods = methods(&all);
    let product: Vec<&Source> = all
        .iter()
        .filter(|one| !["", "conformance"].contains(&module_of(one)))
        .collect();
    let mut found = Dependencies::new();
    for source in &product {
        let own = found.entry(module_of(source).to_owned()).or_default();
        for path in source.paths() {
            let module = exported.get(&path[0]).unwrap_or(&path[0]);
            assert!(
                product.iter().any(|one| module_of(one) == module),
                "{:?} names `crate::{module}`, which is for other crates: name its module",
                source.module
            );
            own.insert(module.clone());
        }
        for block in blocks(&source.code) {
            own.extend(calls(block, "self.").filter_map(|name| methods.get(name).cloned()));
        }
        own.extend(calls(&source.code, "store.").filter_map(|name| methods.get(name).cloned()));
        own.remove(module_of(source));
    }
    found
}

/// The names behind each `on`.
fn calls<'a>(code: &'a str, on: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(on)
        .map(|(at, _)| name(&code[at + on.len()..]))
}

#[test]
fn no_module_depends_on_itself_through_others() {
    let all = dependencies();
    assert!(all.len() > 20, "the modules were not found: {all:?}");
    assert!(
        all["accept"].contains("engines"),
        "paths were not found: {all:?}"
    );
    assert!(
        all["directory"].contains("master_key"),
        "methods were not found: {all:?}"
    );
    let found = cycles(all);
    assert!(found.is_empty(), "these depend on each other: {found:#?}");
}
