//! The modules of this crate depend on each other in one direction, on each level of its folders.

use std::{collections::BTreeSet, path::Path};

use testbed::sources::{cycles, dependencies, read};

#[test]
fn no_module_depends_on_itself_through_others() {
    let sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let top = dependencies(&sources, &[]);
    assert!(
        top["intake"].contains("screening") && top["resources"].contains("intake"),
        "paths were not found: {top:?}"
    );
    let mut folders = BTreeSet::new();
    for source in &sources {
        folders.extend((0..source.module.len()).map(|depth| source.module[..depth].to_vec()));
    }
    assert!(
        folders.len() > 10,
        "the modules were not found: {folders:?}"
    );
    for folder in folders {
        let found = cycles(dependencies(&sources, &folder));
        assert!(
            found.is_empty(),
            "in {folder:?} these depend on each other: {found:#?}"
        );
    }
}
