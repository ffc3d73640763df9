//! Which lines are logged: a level for everything, and levels of crates.
//!
//! Guarantee: a filter that is not understood is refused. None makes a library show what it
//! carries, and none that names only crates silences the rest.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// The level for everything unless it is named.
const DEFAULT: LevelFilter = LevelFilter::INFO;

/// The names of levels.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Portico's own crates.
const OWN: [&str; 8] = [
    "app",
    "connectors",
    "delivery",
    "listener",
    "portico",
    "portico_http",
    "store",
    "webhooks",
];

/// Libraries whose verbose lines show what they carry: a level above `warn` is not to be had.
const KEPT_QUIET: [&str; 6] = [
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "tower_http",
];

/// How alike a word and a name must be for the name to be suggested, of 1.
const ALIKE: f64 = 0.7;

/// The filter that `wanted` names.
///
/// # Errors
/// In words, when it is not understood.
pub(super) fn parse(wanted: &str) -> Result<EnvFilter, String> {
    let (everything, crates) = read(wanted)?;
    let mut filter = EnvFilter::default().add_directive(everything.unwrap_or(DEFAULT).into());
    let quiet = KEPT_QUIET.map(|name| (name.to_owned(), LevelFilter::WARN));
    for (target, level) in quiet.into_iter().chain(crates) {
        // A level of everything that is lower holds for libraries too.
        let level = match everything {
            Some(most) if KEPT_QUIET.contains(&target.as_str()) => level.min(most),
            _ => level,
        };
        let directive = format!("{target}={level}").parse();
        filter = filter.add_directive(directive.map_err(|why| format!("{why}"))?);
    }
    Ok(filter)
}

type Levels = (Option<LevelFilter>, Vec<(String, LevelFilter)>);

/// The level for everything, and those of crates and their modules.
fn read(wanted: &str) -> Result<Levels, String> {
    let (mut everything, mut crates) = (None, Vec::<(String, LevelFilter)>::new());
    if wanted.trim().is_empty() {
        return Ok((everything, crates));
    }
    for part in wanted.split(',').map(str::trim) {
        let Some((target, word)) = part.split_once('=') else {
            if everything.replace(level(part)?).is_some() {
                return Err(format!("`{wanted}` has two levels for everything"));
            }
            continue;
        };
        let (target, level) = (target.trim(), level(word.trim())?);
        known(target, level)?;
        if crates.iter().any(|(other, _)| other == target) {
            return Err(format!("`{wanted}` has two levels for `{target}`"));
        }
        crates.push((target.to_owned(), level));
    }
    Ok((everything, crates))
}

fn level(word: &str) -> Result<LevelFilter, String> {
    let named = LEVELS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    if let Some((_, level)) = named {
        return Ok(*level);
    }
    let root = word.split("::").next().unwrap_or_default();
    if OWN.contains(&root) || KEPT_QUIET.contains(&root) {
        return Err(format!(
            "`{word}` has no level; write `{word}=debug`, for example"
        ));
    }
    let names = LEVELS.map(|(name, _)| name);
    let meant = nearest(word, &names)
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    let shown = if word.is_empty() {
        "an empty level is none".to_owned()
    } else {
        format!("`{word}` is not a level")
    };
    Err(format!("{shown}; levels are {}{meant}", names.join(", ")))
}

/// Checks that lines of `target` exist, and may be had.
fn known(target: &str, level: LevelFilter) -> Result<(), String> {
    let is_path = target.split("::").all(|part| {
        !part.is_empty() && part.chars().all(|one| one == '_' || one.is_alphanumeric())
    });
    let root = target.split("::").next().unwrap_or_default();
    if KEPT_QUIET.contains(&root) && is_path {
        return if level <= LevelFilter::WARN {
            Ok(())
        } else {
            Err(format!(
                "`{root}` is kept to warnings, since its lines show what requests carry"
            ))
        };
    }
    if OWN.contains(&root) && is_path {
        return Ok(());
    }
    let meant = nearest(root, &OWN)
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    Err(format!(
        "nothing logs as `{target}`; crates are {}{meant}",
        OWN.join(", ")
    ))
}

/// The name that `word` is most like, if it is like one.
fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let likeness = |name: &str| {
        if word.len() > 1 && (name.ends_with(&word) || word.starts_with(name)) {
            1.0
        } else {
            strsim::jaro_winkler(&word, name)
        }
    };
    names
        .iter()
        .map(|name| (likeness(name), *name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_understood_or_refused_in_words() {
        for (wanted, expected) in [
            ("", Ok("info")),
            ("  ", Ok("info")),
            ("debug", Ok("debug")),
            ("WARN", Ok("warn")),
            (" Info ", Ok("info")),
            ("off", Ok("off")),
            // The rest is not silenced.
            ("delivery=debug", Ok("delivery=debug,info")),
            (
                "warn,delivery::dispatcher=TRACE",
                Ok("delivery::dispatcher=trace,warn"),
            ),
            ("info, portico_http = debug", Ok("portico_http=debug,info")),
            ("info,hyper=error", Ok("hyper=error,info")),
            ("warning", Err("did you mean `warn`?")),
            ("WARNING", Err("did you mean `warn`?")),
            ("inof", Err("did you mean `info`?")),
            ("information", Err("did you mean `info`?")),
            ("err", Err("did you mean `error`?")),
            (
                "verbose",
                Err("levels are off, error, warn, info, debug, trace"),
            ),
            ("3", Err("`3` is not a level")),
            ("debug trace", Err("`debug trace` is not a level")),
            ("WARN,foo=", Err("an empty level is none")),
            ("warn,", Err("an empty level is none")),
            (",", Err("an empty level is none")),
            ("warn,info", Err("two levels for everything")),
            ("store=info,store=debug", Err("two levels for `store`")),
            ("delivery", Err("write `delivery=debug`")),
            ("=debug", Err("nothing logs as ``")),
            (
                "foo=debug",
                Err("nothing logs as `foo`; crates are app, connectors,"),
            ),
            ("deliveries=debug", Err("did you mean `delivery`?")),
            ("http=debug", Err("did you mean `portico_http`?")),
            ("info,webhook=debug", Err("did you mean `webhooks`?")),
            ("store:=debug", Err("nothing logs as `store:`")),
            ("store::=debug", Err("nothing logs as `store::`")),
            ("store=debgu", Err("did you mean `debug`?")),
            ("hyper=debug", Err("`hyper` is kept to warnings")),
            ("hyper::proto=trace", Err("`hyper` is kept to warnings")),
            ("info,[request{token}]=trace", Err("nothing logs as")),
        ] {
            match (parse(wanted), expected) {
                (Ok(filter), Ok(directives)) => {
                    let shown = filter.to_string();
                    for directive in directives.split(',') {
                        let is_there = shown.split(',').any(|one| one == directive);
                        assert!(is_there, "{wanted}: {shown}");
                    }
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{wanted}: {why}"),
                (found, _) => panic!("{wanted}: {found:?}"),
            }
        }
    }

    #[test]
    fn libraries_are_never_verbose() {
        for (wanted, level) in [
            ("trace", "warn"),
            ("", "warn"),
            ("error", "error"),
            ("off", "off"),
        ] {
            let shown = parse(wanted).expect("understood").to_string();
            for library in KEPT_QUIET {
                let directive = format!("{library}={level}");
                assert!(shown.split(',').any(|one| one == directive), "{shown}");
            }
        }
    }

    /// Each crate in the lock file that logs is named here.
    #[test]
    fn every_crate_that_logs_is_known() {
        let lock: toml::Table = include_str!("../../../../Cargo.lock")
            .parse()
            .expect("the lock file is TOML");
        let packages = lock["package"].as_array().expect("packages");
        for package in packages {
            let uses_tracing = package.get("dependencies").is_some_and(|all| {
                let mut all = all.as_array().into_iter().flatten();
                all.any(|one| one.as_str() == Some("tracing"))
            });
            let name = package["name"].as_str().expect("a name").replace('-', "_");
            let is_known = OWN.contains(&name.as_str()) || KEPT_QUIET.contains(&name.as_str());
            // What tests take note of lines with is no part of the program.
            let is_subscriber = ["tracing_subscriber", "testkit"].contains(&name.as_str());
            assert!(
                !uses_tracing || is_known || is_subscriber,
                "{name} logs, and PORTICO_LOG does not know it"
            );
        }
    }
}
