//! Settings from the environment, for the command line and beside it.
//!
//! Guarantee: a variable that is set to nothing is unset, a message about a value from the
//! environment names the variable, and a variable that nothing reads is told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    sync::OnceLock,
};

use anyhow::bail;
use clap::{
    Arg, Command, Parser,
    builder::Resettable,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use crate::{commands::dev, logging};

/// The beginning of the names of Portico's variables.
const PREFIX: &str = "PORTICO_";

/// Variables that are read beside the command line.
const BESIDE: [&str; 5] = [
    logging::LEVEL_VARIABLE,
    logging::FORMAT_VARIABLE,
    MASTER_KEY,
    // By the benchmark and by tests.
    "PORTICO_POSTGRES_BIN",
    "PORTICO_LEADS",
];

/// Beginnings of the names that only tests and the benchmark read, whose processes inherit them.
const OF_TESTS: [&str; 3] = ["PORTICO_TEST_", "PORTICO_CHAOS_", "PORTICO_BENCH_"];

/// The variable that may hold the master key itself.
pub(crate) const MASTER_KEY: &str = "PORTICO_MASTER_KEY";

/// How alike a name must be to one that is known for that to be suggested, of 1. Names share long
/// beginnings, so less says nothing.
const ALIKE: f64 = 0.85;

/// The flags whose values come from the environment, and the variables that they come from.
static FROM_ENVIRONMENT: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// All variables that are read.
static KNOWN: OnceLock<BTreeSet<String>> = OnceLock::new();

/// The command line with what the environment adds to it. Ends the process when they are not right.
pub(crate) fn parse<P: Parser>() -> P {
    let line: Vec<OsString> = std::env::args_os().collect();
    let whole = P::command();
    let mut known = BTreeSet::new();
    collect(&whole, &mut known);
    let _ = KNOWN.set(known);
    match read(&whole, &line) {
        Ok((parsed, origins)) => {
            let flags = origins.into_iter().map(|one| (one.flag, one.variable));
            let _ = FROM_ENVIRONMENT.set(flags.collect());
            parsed
        }
        // A help screen shows all variables, also those that are set to nothing.
        Err(why) if !why.use_stderr() => match whole.clone().try_get_matches_from(&line) {
            Err(screen) => screen.exit(),
            Ok(_) => why.exit(),
        },
        Err(why) => why.exit(),
    }
}

/// The settings of the environment alone, for a command that looks at the settings of another.
///
/// # Errors
/// When a variable is not right, which the error names.
pub(crate) fn from_environment<P: Parser>() -> Result<P, Error> {
    read(&P::command(), &[OsString::from("portico")]).map(|(parsed, _)| parsed)
}

/// The settings of `line` and the environment, and which of them comes from the environment.
fn read<P: Parser>(whole: &Command, line: &[OsString]) -> Result<(P, Vec<Origin>), Error> {
    let mut command = without_blank(whole.clone());
    command.build();
    let origins = origins(&command, line);
    let parsed = command
        .try_get_matches_from_mut(line)
        .and_then(|matches| P::from_arg_matches(&matches));
    match parsed {
        Ok(parsed) => Ok((parsed, origins)),
        Err(why) => Err(told(why, &mut command, &origins)),
    }
}

/// An argument whose value comes from the environment.
struct Origin {
    /// As it stands in a command line: `--listen`.
    flag: String,
    /// As messages show it: `--listen <ADDR>`.
    shown: String,
    variable: String,
}

/// The arguments of the command in `line` whose values come from the environment.
fn origins(command: &Command, line: &[OsString]) -> Vec<Origin> {
    let mut leaf = command;
    for word in line.iter().skip(1) {
        if let Some(next) = word.to_str().and_then(|name| leaf.find_subcommand(name)) {
            leaf = next;
        }
    }
    let is_given = |flag: &str| {
        line.iter().filter_map(|word| word.to_str()).any(|word| {
            word.strip_prefix(flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    leaf.get_arguments()
        .filter_map(|arg| {
            let variable = arg.get_env()?.to_str()?.to_owned();
            let flag = format!("--{}", arg.get_long()?);
            let is_set = std::env::var_os(&variable).is_some();
            (is_set && !is_given(&flag)).then(|| Origin {
                flag,
                shown: arg.to_string(),
                variable,
            })
        })
        .collect()
}

/// The error with variables in the place of the flags that they stand for.
fn told(mut why: Error, command: &mut Command, origins: &[Origin]) -> Error {
    if why.kind() == ErrorKind::InvalidUtf8 {
        let is_text = |one: &Origin| {
            std::env::var_os(&one.variable).is_none_or(|value| value.to_str().is_some())
        };
        if let Some(one) = origins.iter().find(|one| !is_text(one)) {
            let text = format!("{} is not text in UTF-8", one.variable);
            return command.error(ErrorKind::InvalidUtf8, text);
        }
    }
    let named = |text: &str| {
        origins
            .iter()
            .find(|one| one.shown == text)
            .map_or_else(|| text.to_owned(), |one| one.variable.clone())
    };
    let renamed: Vec<(ContextKind, ContextValue)> = why
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(named(text)))),
            ContextValue::Strings(all) => {
                let all = all.iter().map(|text| named(text)).collect();
                Some((kind, ContextValue::Strings(all)))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in renamed {
        why.insert(kind, value);
    }
    why
}

/// The same command, for which variables that are set to nothing do not exist.
fn without_blank(command: Command) -> Command {
    let unset = |arg: Arg| {
        let is_blank = arg
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| is_blank(&value));
        if is_blank {
            arg.env(Resettable::<clap::builder::OsStr>::Reset)
        } else {
            arg
        }
    };
    command.mut_args(unset).mut_subcommands(without_blank)
}

/// The variables of a command and its subcommands.
fn collect(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(
        command
            .get_arguments()
            .filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())),
    );
    for one in command.get_subcommands() {
        collect(one, known);
    }
}

/// How the value of `flag` was given: by the flag, or by the variable that stands for it.
pub(crate) fn named(flag: &str) -> &str {
    FROM_ENVIRONMENT
        .get()
        .and_then(|all| all.get(flag))
        .map_or(flag, String::as_str)
}

/// The value of a variable, unless it is unset or set to nothing.
///
/// # Errors
/// When it is not text.
pub(crate) fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match std::env::var_os(name).filter(|value| !is_blank(value)) {
        None => Ok(None),
        Some(value) => match value.into_string() {
            Ok(text) => Ok(Some(text)),
            Err(_) => bail!("{name} is not text in UTF-8"),
        },
    }
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| text.trim().is_empty())
}

/// Warns of variables that look like Portico's and that nothing reads.
pub(crate) fn warn_of_unknown() {
    let Some(known) = KNOWN.get() else { return };
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| !is_known(name, &value, known)) else {
            continue;
        };
        match nearest(name, known) {
            Some(nearest) => tracing::warn!(
                variable = name,
                nearest,
                "an environment variable is unknown and has no effect; see whether the nearest is meant"
            ),
            None => tracing::warn!(
                variable = name,
                "an environment variable is unknown and has no effect; unset it, or see README for those that there are"
            ),
        }
    }
}

fn is_known(name: &str, value: &OsStr, known: &BTreeSet<String>) -> bool {
    !name.starts_with(PREFIX)
        || known.contains(name)
        || BESIDE.contains(&name)
        || dev::EXPORTED.contains(&name)
        || OF_TESTS.iter().any(|start| name.starts_with(start))
        || is_service_link(name, value)
}

/// True if Kubernetes has set it, for a service that is called `portico` or begins with that.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|text| text.contains("://"));
    let has_port = |mark: &str| {
        name.rsplit_once(mark)
            .is_some_and(|(_, rest)| rest.starts_with(|one: char| one.is_ascii_digit()))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url)
        || has_port("_PORT_")
        || name.contains("_TCP_")
        || name.contains("_UDP_")
}

/// The known name that is most like `name`, if one is like it.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let own = name.trim_start_matches(PREFIX);
    known
        .iter()
        .map(String::as_str)
        .chain(BESIDE)
        .map(|other| {
            let alike = strsim::jaro_winkler(own, other.trim_start_matches(PREFIX));
            (alike, other)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["LISTEN", "STORE", "STORE_FILE", "VENDOR_URLS", "DATA_DIR"]
            .map(|name| format!("{PREFIX}{name}"))
            .into()
    }

    #[test]
    fn an_unknown_variable_has_a_nearest_name_or_none() {
        for (name, expected) in [
            ("PORTICO_LISTN", Some("PORTICO_LISTEN")),
            ("PORTICO_STORE_FILES", Some("PORTICO_STORE_FILE")),
            ("PORTICO_VENDOR_URL", Some("PORTICO_VENDOR_URLS")),
            ("PORTICO_DATADIR", Some("PORTICO_DATA_DIR")),
            ("PORTICO_LOGFORMAT", Some("PORTICO_LOG_FORMAT")),
            ("PORTICO_BIND", None),
            ("PORTICO_", None),
        ] {
            assert_eq!(nearest(name, &known()), expected, "{name}");
        }
    }

    #[test]
    fn variables_that_others_set_are_not_told_of() {
        for (name, value, expected) in [
            ("HOME", "/", true),
            ("PORTICO_LISTEN", "x", true),
            ("PORTICO_LOG", "x", true),
            ("PORTICO_MASTER_KEY", "x", true),
            ("PORTICO_TEST_STORE", "x", true),
            ("PORTICO_CHAOS_SECONDS", "x", true),
            ("PORTICO_URL", "x", true),
            ("PORTICO_SERVICE_HOST", "10.0.0.1", true),
            ("PORTICO_SERVICE_PORT_HTTP", "80", true),
            ("PORTICO_PORT", "tcp://10.0.0.1:80", true),
            ("PORTICO_PORT_80_TCP_ADDR", "10.0.0.1", true),
            ("PORTICO_API_PORT_80_TCP", "tcp://10.0.0.1:80", true),
            ("PORTICO_PORT", "8080", false),
            ("PORTICO_LISTN", "x", false),
            ("PORTICO_TOKENS", "x", false),
        ] {
            let is_known = is_known(name, OsStr::new(value), &known());
            assert_eq!(is_known, expected, "{name}={value}");
        }
    }
}
