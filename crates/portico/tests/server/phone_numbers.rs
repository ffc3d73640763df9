//! Goal: phone numbers of every region are read as an independent implementation reads them, except
//! that the digits of an international number are never changed.
//!
//! Method: `scripts/numbering_plans` writes every number of libphonenumber's examples in each form,
//! and numbers of every length under every country code, with what the published `phonenumbers`
//! (which
//! `scripts/test` installs) makes of them. Without that library the tests say so, and in continuous
//! integration they fail.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use model::contact::{DEFAULT_REGION, Phone};
use serde::Deserialize;

/// A number in one form, and how the other implementation reads it.
#[derive(Debug, Deserialize)]
struct Sample {
    region: String,
    form: String,
    text: String,
    e164: Option<String>,
    extension: Option<String>,
    is_possible: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The output of the script; `None` where the library is not installed.
fn printed(command: &str) -> Option<String> {
    let python = root().join(".venv/bin/python");
    // Written when all of the tools are installed.
    let is_complete = root().join(".venv/requirements.sum").exists();
    let has_library = is_complete
        && Command::new(&python)
            .args(["-c", "import phonenumbers"])
            .output()
            .is_ok_and(|done| done.status.success());
    if !has_library {
        testkit::not_tested(
            "the library that numbers are compared with is not installed. `scripts/test test` installs it into .venv",
        );
        return None;
    }
    let done = Command::new(python)
        .arg(root().join("scripts/numbering_plans"))
        .arg(command)
        .output()
        .expect("python starts");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Some(String::from_utf8(done.stdout).expect("text"))
}

#[test]
fn the_table_of_numbering_plans_is_the_one_of_the_library() {
    let Some(printed) = printed("table") else {
        return;
    };
    let held = root().join("crates/model/src/contact/phone/plans.tsv");
    let held = std::fs::read_to_string(held).expect("the table");
    assert!(
        printed == held,
        "plans.tsv is not what `.venv/bin/python scripts/numbering_plans table` prints: write it anew"
    );
}

#[test]
fn numbers_of_every_region_are_read_as_the_library_reads_them() {
    let Some(printed) = printed("samples") else {
        return;
    };
    let samples: Vec<Sample> = serde_json::from_str(&printed).expect("samples");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for sample in &samples {
        *counts.entry(&sample.form).or_default() += 1;
        // A community reads its own national numbers; those of others come with a plus.
        let regions = match &*sample.form {
            "national" => vec![&*sample.region],
            _ => vec![DEFAULT_REGION, "GB", "IT", &sample.region],
        };
        for region in regions {
            let got = Phone::parse(&sample.text, region).ok();
            let got = got
                .as_ref()
                .map(|phone| (phone.as_str(), phone.extension()));
            if got != expected(sample) {
                wrong.push(format!("{sample:?} in {region}: {got:?}"));
            }
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n"));
    assert!(counts["national"] > 1_000, "{counts:?}");
    assert!(counts["of some length"] > 3_000, "{counts:?}");
}

/// The number that the library reads, if its length is possible and its digits are those that were
/// written: the library drops the trunk prefix of some numbers that are no example.
fn expected(sample: &Sample) -> Option<(&str, Option<&str>)> {
    const E164_MAX_DIGITS: usize = 15;
    let read = sample.e164.as_deref().filter(|_| sample.is_possible)?;
    let is_changed = sample.form == "of some length" && read != sample.text;
    let is_short_enough = read.len() <= E164_MAX_DIGITS + 1;
    (!is_changed && is_short_enough).then_some((read, sample.extension.as_deref()))
}
