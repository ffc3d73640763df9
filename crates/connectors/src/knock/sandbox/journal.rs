//! The file that makes what is held outlive a restart: one record a line, the last line of an id counts.
//!
//! A card is a line as it is; a line of anything else names in its one member what it is of.
//!
//! Guarantee: the lines of a call are handed to the system together and before the call is answered, so they
//! survive the process (not the machine: nothing is synced). A line that was cut off by the end of the
//! process is dropped on load; anything else that is not a record stops the load with the number of the line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::activities::Activity;
use super::appointments::Appointment;
use super::cards::Card;
use super::directory::Directory;
use super::held::Held;
use super::ids::Id;
use super::listings::Listing;
use crate::sandbox::Error;

/// How the line of a card begins. Looked at first, so that a card is read without trying what else it may be.
const CARD_START: &[u8] = br#"{"prospectId":"#;

/// What a line says when it is not of a card.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// The id to go on from after a reset.
    NextId(Id),
    Appointment(Appointment),
    Activity(Activity),
    Listing(Listing),
    /// The id of a card that is no more.
    Vanished(Id),
}

/// What is written as a line; see [`Line`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Record<'a> {
    NextId(Id),
    Appointment(&'a Appointment),
    Activity(&'a Activity),
    Listing(&'a Listing),
    Vanished(Id),
    #[serde(untagged)]
    Card(&'a Card),
}

pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// The length of the whole lines, in bytes.
    len: u64,
    /// Whether a failed write may have left part of a line behind them.
    is_torn: bool,
    lines: Vec<u8>,
}

impl Journal {
    /// Opens or creates the file and puts its records into `held`.
    pub(super) fn open(
        path: PathBuf,
        directory: &Directory,
        held: &mut Held,
    ) -> Result<Self, Error> {
        let file = match private(&path) {
            Ok(file) => file,
            Err(source) => return Err(Error::Journal { path, source }),
        };
        let mut journal = Self {
            path: path.clone(),
            file,
            len: 0,
            is_torn: false,
            lines: Vec::new(),
        };
        match journal.load(directory, held) {
            Ok(()) => Ok(journal),
            Err(LoadError::File(source)) => Err(Error::Journal { path, source }),
            Err(LoadError::Line(line, reason)) => Err(Error::JournalLine { path, line, reason }),
        }
    }

    fn load(&mut self, directory: &Directory, held: &mut Held) -> Result<(), LoadError> {
        let mut reader = BufReader::new(self.file.try_clone()?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            match line.strip_suffix(b"\n") {
                Some(whole) => restore(whole, directory, held)
                    .map_err(|reason| LoadError::Line(number, reason))?,
                // Part of a JSON object never reads as one, so this one lacks nothing but its line end.
                None if restore(&line, directory, held).is_ok() => self.file.write_all(b"\n")?,
                // Our lines are JSON objects, and the system may have put zeros in the place of one
                // that it lost. Anything else is another file, which stays as it is.
                None if self.len == 0 && !line.starts_with(b"{") && !line.starts_with(b"\0") => {
                    return Err(LoadError::Line(number, "it is no record".to_owned()));
                }
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

    /// Empties the file, but for the id to go on from.
    pub(super) fn reset(&mut self, next_id: Id) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.is_torn = false;
        self.append(&[Record::NextId(next_id)])
    }

    /// Writes the journal anew without a card and what belongs to it. `next_id` keeps its ids from being given again.
    pub(super) fn forget(&mut self, card: Id, next_id: Id) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let file = private(&path)?;
        file.set_len(0)?;
        let mut anew = BufWriter::new(file);
        let (mut reader, mut line) = (BufReader::new(File::open(&self.path)?), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            if !is_of(&line, card) {
                anew.write_all(&line)?;
            }
            line.clear();
        }
        serde_json::to_writer(&mut anew, &Record::NextId(next_id))?;
        anew.write_all(b"\n")?;
        self.file = anew.into_inner().map_err(io::IntoInnerError::into_error)?;
        std::fs::rename(&path, &self.path)?;
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    /// Writes the lines of one call.
    pub(super) fn append(&mut self, records: &[Record<'_>]) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
            self.is_torn = false;
        }
        self.lines.clear();
        for record in records {
            serde_json::to_writer(&mut self.lines, record)?;
            self.lines.push(b'\n');
        }
        self.is_torn = true;
        self.file.write_all(&self.lines)?;
        self.is_torn = false;
        self.len += self.lines.len() as u64;
        Ok(())
    }
}

/// Opens or creates a file to be added to, for its owner alone: contacts are in it.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.read(true).append(true).create(true).open(path)
}

/// Whether a line is of a card, or of what belongs to it.
fn is_of(line: &[u8], card: Id) -> bool {
    if let Some(rest) = line.strip_prefix(CARD_START) {
        return rest.starts_with(format!("\"{card}\"").as_bytes());
    }
    match serde_json::from_slice(line) {
        Ok(Line::Appointment(tour)) => tour.prospect_id == card,
        Ok(Line::Activity(activity)) => activity.prospect_id == card,
        Ok(Line::Vanished(id)) => id == card,
        // A line that was cut off is dropped.
        Err(_) => true,
        Ok(_) => false,
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

fn restore(line: &[u8], directory: &Directory, held: &mut Held) -> Result<(), String> {
    // What serde says may repeat the line, and it may be of another file, with secrets in it.
    let unread =
        |error: serde_json::Error| format!("it is no record, at column {}", error.column());
    if line.starts_with(CARD_START) {
        let card = serde_json::from_slice(line).map_err(unread)?;
        return held.restore_card(card, directory);
    }
    match serde_json::from_slice(line).map_err(unread)? {
        Line::NextId(id) => {
            held.ids.raise_to(id);
            Ok(())
        }
        Line::Appointment(appointment) => held.restore_appointment(appointment, directory),
        Line::Activity(activity) => held.restore_activity(activity, directory),
        Line::Listing(listing) => held.restore_listing(listing, directory),
        Line::Vanished(card) => held.vanish_again(card, directory),
    }
}
