//! A vendor's name stands in its folder and in the registry's line.
//!
//! Goal: what is said of one vendor is said in one place, so that the next one is a folder and a line.
//! Method: the sources of all crates are read, without comments and tests.

use std::{
    io,
    path::{Path, PathBuf},
};

use connectors::VENDORS;

/// Crates that are there for tests alone.
const TEST_CRATES: [&str; 3] = ["testkit", "testbed", "toy"];

/// Files of tests among the sources.
const TEST_FOLDERS: [&str; 3] = ["/tests/", "/conformance/", "/tests.rs"];

/// The lines that register a vendor.
const REGISTRY: [&str; 2] = ["connectors/src/registry.rs", "connectors/src/lib.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The lines of a file that are neither comments nor tests.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn a_vendors_name_stands_in_its_folder_alone() -> io::Result<()> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&crates)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !TEST_CRATES.contains(&name.as_str()) {
            sources(&entry.path().join("src"), &mut all)?;
        }
    }
    assert!(all.len() > 100, "the sources are found");
    let mut wrong = Vec::new();
    for path in &all {
        let shown = path.display().to_string().replace('\\', "/");
        if TEST_FOLDERS.iter().any(|folder| shown.contains(folder)) {
            continue;
        }
        let text = std::fs::read_to_string(path)?;
        for vendor in VENDORS {
            let slug = vendor.terms.vendor.slug();
            if shown.contains(&format!("connectors/src/{slug}/")) {
                continue;
            }
            for (number, line) in lines(&text) {
                let is_named = line.to_ascii_lowercase().contains(&slug);
                let is_registered = REGISTRY.iter().any(|file| shown.ends_with(file));
                if is_named && !is_registered {
                    wrong.push(format!("{shown}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
