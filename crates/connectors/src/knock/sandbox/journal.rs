//! The file that makes guest cards outlive a restart: one card a line, the last line of an id counts.
//!
//! Guarantee: a card's line is handed to the system before its call is answered, so it survives the process
//! (not the machine: nothing is synced). A line that was cut off by the end of the process is dropped on
//! load; anything else that is not a card stops the load with the number of the line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use super::cards::{Card, Cards, ProspectId};
use super::directory::Directory;

/// How a line begins that is not a card but the id to go on from after a reset.
const MARK_START: &[u8] = br#"{"nextId":"#;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mark {
    next_id: ProspectId,
}

pub(super) struct Journal {
    file: File,
    /// The length of the whole lines, in bytes.
    len: u64,
    /// Whether a failed write may have left part of a line behind them.
    is_torn: bool,
    line: Vec<u8>,
}

impl Journal {
    /// Opens or creates the file and puts its cards into `cards`.
    pub(super) fn open(
        path: PathBuf,
        directory: &Directory,
        cards: &mut Cards,
    ) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        // Contacts are in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.read(true).append(true).create(true).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(source) => return Err(Error::Journal { path, source }),
        };
        let mut journal = Self {
            file,
            len: 0,
            is_torn: false,
            line: Vec::new(),
        };
        match journal.load(directory, cards) {
            Ok(()) => Ok(journal),
            Err(LoadError::File(source)) => Err(Error::Journal { path, source }),
            Err(LoadError::Line(line, reason)) => Err(Error::JournalLine { path, line, reason }),
        }
    }

    fn load(&mut self, directory: &Directory, cards: &mut Cards) -> Result<(), LoadError> {
        let mut reader = BufReader::new(self.file.try_clone()?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            match line.strip_suffix(b"\n") {
                Some(whole) => restore(whole, directory, cards)
                    .map_err(|reason| LoadError::Line(number, reason))?,
                // Part of a JSON object never reads as one, so this one lacks nothing but its line end.
                None if restore(&line, directory, cards).is_ok() => self.file.write_all(b"\n")?,
                None => {
                    self.file.set_len(self.len)?;
                    break;
                }
            }
            self.len += read as u64;
        }
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    pub(super) fn append(&mut self, card: &Card) -> io::Result<()> {
        self.write(card)
    }

    /// Empties the file, but for the id to go on from.
    pub(super) fn reset(&mut self, next_id: ProspectId) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.is_torn = false;
        self.write(&Mark { next_id })
    }

    fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
            self.is_torn = false;
        }
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.is_torn = true;
        self.file.write_all(&self.line)?;
        self.is_torn = false;
        self.len += self.line.len() as u64;
        Ok(())
    }
}

enum LoadError {
    File(io::Error),
    Line(u64, String),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn restore(line: &[u8], directory: &Directory, cards: &mut Cards) -> Result<(), String> {
    if line.starts_with(MARK_START) {
        let mark: Mark = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        cards.raise_next_id(mark.next_id);
        return Ok(());
    }
    let card: Card = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let community_id = &card.shown.community_id;
    let Some(community) = directory.find(community_id) else {
        return Err(format!("community {community_id} is not in the seed"));
    };
    if cards.restore(community, card) {
        Ok(())
    } else {
        Err("the card was of another community before".to_owned())
    }
}
