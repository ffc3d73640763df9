//! Everything that changes while a sandbox runs, behind one lock.
//!
//! Guarantee: what is done under one hold of the lock is seen whole or not at all.

use std::io;
use std::path::PathBuf;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::assumptions::UnknownSource;
use super::cards::{CardView, Cards, ProspectId};
use super::directory::{Directory, DirectoryView};
use super::draft::Draft;
use super::faults::Faults;
use super::journal::Journal;
use super::request_log::RequestLog;
use super::{Counts, Error};

/// The switches of `/_sandbox/settings`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) unknown_source: UnknownSource,
}

pub(super) struct State {
    pub(super) cards: Cards,
    pub(super) faults: Faults,
    pub(super) log: RequestLog,
    pub(super) settings: Settings,
    journal: Option<Journal>,
}

impl State {
    pub(super) fn open(
        directory: &Directory,
        journal: Option<PathBuf>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut cards = Cards::new(directory, now);
        let journal = journal
            .map(|path| Journal::open(path, directory, &mut cards))
            .transpose()?;
        Ok(Self {
            cards,
            faults: Faults::default(),
            log: RequestLog::default(),
            settings: Settings::default(),
            journal,
        })
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            prospects: self.cards.len(),
            requests: self.log.total(),
            updates: self.cards.updates(),
        }
    }

    /// Creates or changes a card and writes it to the journal.
    pub(super) fn put_card(
        &mut self,
        draft: Draft,
        directory: &Directory,
        now: Timestamp,
    ) -> io::Result<ProspectId> {
        let community = draft.community;
        let first_agent = || directory.first_agent(community);
        let id = self.cards.put(draft, first_agent, now);
        if let Some(journal) = &mut self.journal
            && let Some(card) = self.cards.get(id)
        {
            journal.append(card)?;
        }
        Ok(id)
    }

    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.cards.clear();
        self.faults.clear();
        self.log.clear();
        self.settings = Settings::default();
        match &mut self.journal {
            Some(journal) => journal.reset(self.cards.next_id()),
            None => Ok(()),
        }
    }

    pub(super) fn view<'a>(&'a self, directory: &'a Directory) -> StateView<'a> {
        StateView {
            seeded: directory.view(),
            prospects: self.cards.after(0).map(CardView::new).collect(),
            appointments: [],
            activities: [],
        }
    }
}

#[derive(Serialize)]
pub(super) struct StateView<'a> {
    #[serde(flatten)]
    seeded: DirectoryView<'a>,
    prospects: Vec<CardView<'a>>,
    appointments: [(); 0],
    activities: [(); 0],
}
