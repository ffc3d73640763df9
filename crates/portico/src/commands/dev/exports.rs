//! The `export` lines of a running `portico dev`: `eval "$(portico dev --env)"`.
//!
//! Guarantee: what is told is of a server that is ready; what one that ended has left is not told.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use model::Secret;
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

use super::{first_references, word};
use crate::private_file;

/// The file in the data directory, there while the server is ready.
const READY: &str = "dev-ready.json";

/// How long to wait for a server that has begun and is not ready: a busy machine takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The variables that are set: those of the examples in README, and those that tools of a user may
/// read. `PORTICO_SERVER` and `PORTICO_TOKEN` are for `portico listen`.
pub(crate) const EXPORTED: [&str; 9] = [
    "PORTICO_URL",
    "PORTICO_SERVER",
    "PORTICO_TOKEN",
    "BASE",
    "TOKEN",
    "INTEGRATION",
    "COMMUNITY",
    "ATTRIBUTION",
    "SANDBOX",
];

/// The lines for a shell, of what a server says when it is ready.
pub(super) fn lines(ready: &Value) -> String {
    let (base, token) = (word(&ready["base_url"]), word(&ready["token"]));
    let (community, attribution) = first_references(ready);
    let values = [
        base.clone(),
        base.clone(),
        token.clone(),
        base,
        token,
        word(&ready["integration_id"]),
        community,
        attribution,
        word(&ready["sandbox_url"]),
    ];
    let lines: Vec<String> = EXPORTED
        .iter()
        .zip(values)
        .map(|(name, value)| format!("export {name}={}", quoted(&value)))
        .collect();
    lines.join("\n")
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The file in a data directory, gone when dropped.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Removes what an earlier server has left.
    pub(super) fn none_yet(data_dir: &Path) -> Self {
        let kept = Self(data_dir.join(READY));
        kept.remove();
        kept
    }

    /// Keeps what the server says, now that it is ready.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, ready: &Value) -> anyhow::Result<()> {
        private_file::write(&self.0, &Secret::new(ready.to_string()))
    }

    fn remove(&self) {
        // If it stays, its process id says that it is old.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The ready line of the server that runs on `data_dir`, once it is ready.
///
/// # Errors
/// When none is ready in time.
pub(super) async fn of_running(data_dir: &Path) -> anyhow::Result<Value> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        if let Some(ready) = read(data_dir)? {
            return Ok(ready);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!(
        "a server holds {}, but no `portico dev` is ready there within {READY_WITHIN:?}; is it `portico serve`, or of an older version?",
        data_dir.display()
    )
}

fn read(data_dir: &Path) -> anyhow::Result<Option<Value>> {
    let path = data_dir.join(READY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why).with_context(|| format!("{} cannot be read", path.display())),
    };
    // It may be half written.
    let Ok(ready) = serde_json::from_str::<Value>(&text) else {
        return Ok(None);
    };
    let process = ready["pid"]
        .as_i64()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let lives = process.is_some_and(|process| test_kill_process(process).is_ok());
    Ok(lives.then_some(ready))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        let ready = json!({
            "base_url": "http://127.0.0.1:8080",
            "token": "ptk_test_1",
            "integration_id": "int_1",
            "communities": [{ "id": "com_1" }, { "id": "com_2" }],
            "attributions": [
                { "id": "att_2", "community_ids": ["com_2"] },
                { "id": "att_1", "community_ids": ["com_1"] },
            ],
            "sandbox_url": "http://host/$(touch no)`touch no`\"'; touch no #\\",
        });
        let shown = std::process::Command::new("sh")
            .arg("-c")
            .arg(
                lines(&ready)
                    + "\nprintf '%s|' $PORTICO_URL $TOKEN $COMMUNITY $ATTRIBUTION \"$SANDBOX\"",
            )
            .output()
            .expect("a shell");
        assert_eq!(
            String::from_utf8_lossy(&shown.stdout),
            format!(
                "http://127.0.0.1:8080|ptk_test_1|com_1|att_1|{}|",
                word(&ready["sandbox_url"])
            )
        );
        assert!(shown.stderr.is_empty(), "{shown:?}");
    }
}
