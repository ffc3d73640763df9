//! The sources of a crate, for tests of its structure: which of its modules depend on which.
//!
//! A module depends on another one when its code names it by a path. Comments and unit tests do not
//! count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// A path of names: a module's, from the crate's root on.
pub type Names = Vec<String>;

/// Which modules each module depends on, by name.
pub type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// A source file without comments and unit tests.
pub struct Source {
    /// The module that it is; empty for the crate's root.
    pub module: Names,
    /// The code.
    pub code: String,
}

impl Source {
    /// The paths that the code names, from the crate's root on.
    pub fn paths(&self) -> Vec<Names> {
        let parent = self
            .module
            .split_last()
            .map_or(&[][..], |(_, parent)| parent);
        [
            ("crate::", &[][..]),
            ("super::", parent),
            ("self::", &self.module[..]),
        ]
        .into_iter()
        .flat_map(|(root, names)| {
            let begins = self.code.match_indices(root).map(|(at, _)| at);
            // Within a longer path it is read with that.
            let begins = begins.filter(|at| !self.code[..*at].ends_with("::"));
            begins.flat_map(move |at| paths_at(&self.code[at + root.len()..], names))
        })
        .collect()
    }
}

/// The sources below a crate's folder `src`.
///
/// # Errors
/// When they cannot be read.
pub fn read(root: &Path) -> io::Result<Vec<Source>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    let source = |path: PathBuf| {
        let inner = path.strip_prefix(root).unwrap_or(&path).with_extension("");
        let names = inner.iter().map(|name| name.to_string_lossy().into_owned());
        let text = fs::read_to_string(&path)?;
        let product = text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let lines = product
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        Ok(Source {
            module: names
                .filter(|name| !["lib", "mod"].contains(&name.as_str()))
                .collect(),
            code: lines.collect::<Vec<_>>().join("\n"),
        })
    };
    files.into_iter().map(source).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|name| name == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The name at the beginning of `text`.
pub fn name(text: &str) -> &str {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    &text[..text.find(|one| !is_part(one)).unwrap_or(text.len())]
}

/// The paths that begin with `names` and go on in `text`, which may list several in braces.
fn paths_at(text: &str, names: &[String]) -> Vec<Names> {
    let Some(list) = text.strip_prefix('{') else {
        let first = name(text);
        let path = [names, &[first.to_owned()]].concat();
        return match text[first.len()..].strip_prefix("::") {
            Some(rest) if first == "super" => paths_at(
                rest,
                names.split_last().map_or(&[][..], |(_, parent)| parent),
            ),
            Some(rest) => paths_at(rest, &path),
            None => vec![path],
        };
    };
    let (mut depth, mut is_new, mut found) = (0, true, Vec::new());
    for (at, one) in list.char_indices() {
        match one {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_new = true,
            one if is_new && !one.is_whitespace() => {
                found.extend(paths_at(&list[at..], names));
                is_new = false;
            }
            _ => {}
        }
    }
    found
}

/// The dependencies between the modules right below `parent`.
pub fn dependencies(sources: &[Source], parent: &[String]) -> Dependencies {
    let below = |names: &[String]| names.strip_prefix(parent).and_then(<[_]>::first).cloned();
    let modules: BTreeSet<String> = sources
        .iter()
        .filter_map(|source| below(&source.module))
        .collect();
    let mut found = Dependencies::new();
    for source in sources {
        let Some(module) = below(&source.module) else {
            continue;
        };
        let named = source.paths().into_iter().filter_map(|path| below(&path));
        let others = named.filter(|name| *name != module && modules.contains(name));
        found
            .entry(module.clone())
            .or_default()
            .extend(others.collect::<Vec<_>>());
    }
    found
}

/// The modules that depend on themselves through others, and what they depend on.
pub fn cycles(mut left: Dependencies) -> Dependencies {
    // Takes away, again and again, the modules that depend on nothing that is left.
    loop {
        let is_free = |on: &BTreeSet<String>| !on.iter().any(|one| left.contains_key(one));
        let free: Vec<String> = left
            .iter()
            .filter(|(_, on)| is_free(on))
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
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(module: &str, code: &str) -> Source {
        let names = module.split("::").filter(|name| !name.is_empty());
        Source {
            module: names.map(str::to_owned).collect(),
            code: code.to_owned(),
        }
    }

    #[test]
    fn paths_are_read_from_uses_and_from_code() {
        let code = "use crate::{a, b::{c, d::E}};\nuse super::x::y;\nfn f() { crate::g::h() }";
        let found: Vec<String> = source("m::n", code)
            .paths()
            .iter()
            .map(|path| path.join("::"))
            .collect();
        assert_eq!(found, ["a", "b::c", "b::d::E", "g::h", "m::x::y"]);
    }

    #[test]
    fn a_cycle_is_found_and_what_only_leads_to_it_too() {
        let all = [
            source("", "mod a;"),
            source("a", "use crate::b::B;"),
            source("b", "use super::c;"),
            source("c", "crate::a::f();"),
            source("d", "use crate::c;"),
            source("e", "use std::fmt;"),
        ];
        let found = cycles(dependencies(&all, &[]));
        let named: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(named, ["a", "b", "c", "d"]);
    }
}
