//! Notes of where the audit log stands, outside of the database.
//!
//! Guarantee: each new newest entry is told at the next look, in the log and in a file if there is one,
//! by its place and hash. Who changes the database afterwards changes no note that was carried away.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use model::{Clock, hex};
use store::Store;

use rustix::fs::OFlags;

use crate::text_file;

/// How often it is looked unless told otherwise.
pub(crate) const EVERY_DEFAULT: Duration = Duration::from_secs(300);

/// The longest pause between two looks: a day, by when somebody may want to know.
pub(crate) const EVERY_MAX_S: u32 = 24 * 3_600;

/// Bytes of a file of notes at most: a note is a hundred, and there are some hundred thousand in a
/// lifetime.
const FILE_MAX_BYTES: u64 = 64 * 1_024 * 1_024;

/// Where notes go, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    /// A file to which they are added, besides the log.
    pub(crate) file: Option<PathBuf>,
    /// The pause between two looks.
    pub(crate) every: Duration,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            file: None,
            every: EVERY_DEFAULT,
        }
    }
}

/// A note: the hash of the entry at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The place of the entry, from 1 on.
    pub(crate) place: u64,
    /// The hash, in hexadecimal digits.
    pub(crate) hash: String,
}

impl Heads {
    /// Makes sure that the file can be added to, and is no other file.
    ///
    /// # Errors
    /// When it cannot, or is.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        open(path)
            .with_context(|| format!("the file of heads {} cannot be added to", path.display()))?;
        parse_all(path).map(drop)
    }

    /// Looks again and again, and notes what is new.
    pub(crate) async fn keep(self, store: Arc<Store>, clock: Arc<dyn Clock>) {
        let mut noted = None;
        loop {
            match store.audit_head().await {
                Ok(Some((place, hash))) => {
                    let hash = hex::encode(&hash);
                    let note = Note { place, hash };
                    if noted.as_ref() != Some(&note)
                        && self.note_aside(note.clone(), clock.clone()).await
                    {
                        noted = Some(note);
                    }
                }
                Ok(None) => {}
                Err(store::Error::Closed) => return,
                Err(why) => {
                    tracing::warn!(%why, "the newest entry of the audit log could not be read");
                }
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// [`Heads::note`] on a thread that may wait for a disk.
    async fn note_aside(&self, note: Note, clock: Arc<dyn Clock>) -> bool {
        let heads = self.clone();
        let noting = tokio::task::spawn_blocking(move || heads.note(&note, &*clock));
        noting.await.unwrap_or(false)
    }

    /// Tells of `note`. False when it is to be told again.
    fn note(&self, note: &Note, clock: &dyn Clock) -> bool {
        let Note { place, hash } = note;
        tracing::info!(
            entries = place,
            head = hash,
            "the newest entry of the audit log"
        );
        let Some(path) = &self.file else {
            return true;
        };
        let line = format!("{} {place} {hash}\n", clock.now());
        // Opened anew, so that the file may be moved away.
        let added = open(path).and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        });
        if let Err(why) = &added {
            tracing::warn!(%why, file = %path.display(), "the newest entry of the audit log could not be noted in the file");
        }
        added.is_ok()
    }
}

/// Opens a file to add to it. What is no file of its own is refused: a link may lead to a file of
/// somebody else, and a pipe would keep us waiting.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let is_other = match &opened {
        Ok(file) => !file.metadata()?.is_file(),
        Err(_) => path.symlink_metadata().is_ok_and(|found| !found.is_file()),
    };
    if is_other {
        return Err(io::Error::other(
            "it is a link, a pipe or a device; name the path of a regular file",
        ));
    }
    opened
}

/// The notes in a file, by place, each once.
///
/// # Errors
/// In words that do not repeat the file, when it cannot be read, holds something else, or two hashes
/// for one place.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Note>> {
    let mut notes = parse_all(path)?;
    notes.sort_by(|one, other| (one.place, &one.hash).cmp(&(other.place, &other.hash)));
    notes.dedup();
    if let Some(two) = notes.windows(2).find(|two| two[0].place == two[1].place) {
        return Err(anyhow!(
            "the file of heads {} has two hashes for entry {}: the audit log was another when one of them was noted",
            path.display(),
            two[0].place
        ));
    }
    Ok(notes)
}

/// The notes in a file, in its order.
fn parse_all(path: &Path) -> anyhow::Result<Vec<Note>> {
    let text =
        text_file::read(path, "file of heads", FILE_MAX_BYTES).map_err(|why| anyhow!(why))?;
    let mut notes = Vec::new();
    for (place, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            notes.push(parse(line).with_context(|| {
                format!(
                    "the file of heads {}, line {}, is not a time, a place and a hash",
                    path.display(),
                    place + 1
                )
            })?);
        }
    }
    Ok(notes)
}

fn parse(line: &str) -> Option<Note> {
    let mut words = line.split_whitespace();
    let (_, place, hash) = (words.next()?, words.next()?, words.next()?);
    let is_hash = hash.len() == 64 && hash.bytes().all(|one| one.is_ascii_hexdigit());
    let place = place.parse().ok().filter(|place| *place > 0)?;
    (is_hash && words.next().is_none()).then(|| Note {
        place,
        hash: hash.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_added_to_a_regular_file_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (link, dangling, pipe) = (at("link"), at("dangling"), at("pipe"));
        std::os::unix::fs::symlink(at("heads"), &link).expect("linked");
        std::os::unix::fs::symlink(at("nothing"), &dangling).expect("linked");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "a pipe");
        let heads = |file: PathBuf| Heads {
            file: Some(file),
            ..Heads::default()
        };
        assert!(heads(at("heads")).check().is_ok());
        for path in [link, dangling, pipe, PathBuf::from("/dev/null")] {
            let why = heads(path).check().expect_err("refused");
            let why = format!("{why:#}");
            assert!(why.contains("name the path of a regular file"), "{why}");
        }
        assert!(!at("nothing").exists(), "nothing is made behind a link");
    }

    #[test]
    fn notes_are_read_as_they_are_written_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("heads");
        let (one, two) = ("a".repeat(64), "B".repeat(64));
        let check = |text: &str, expected: Result<&[u64], &str>| {
            std::fs::write(&path, text).expect("written");
            match (read(&path), expected) {
                (Ok(notes), Ok(places)) => {
                    let found: Vec<u64> = notes.iter().map(|note| note.place).collect();
                    assert_eq!(found, places);
                }
                (Err(why), Err(part)) => {
                    let why = format!("{why:#}");
                    assert!(why.contains(part) && !why.contains("hush"), "{why}");
                }
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check("", Ok(&[]));
        check(&format!("t 2 {two}\nt 1 {one}\n\nt 2 {two}\n"), Ok(&[1, 2]));
        check(
            &format!("t 2 {two}\nt 2 {one}\n"),
            Err("two hashes for entry 2"),
        );
        for wrong in [
            "hush".to_owned(),
            format!("t 0 {one}"),
            format!("t hush {one}"),
            format!("t 1 {one} hush"),
            "t 1 hush".to_owned(),
        ] {
            check(&wrong, Err("line 1, is not"));
        }
    }
}
