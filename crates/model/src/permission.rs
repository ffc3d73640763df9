//! What a key may do.
//!
//! A permission is a level, for everything (`read`), or for one group of resources (`prospects:read`). Guarantee: levels do not contain each other: a key that
//! administers can neither read prospects nor send them unless it was given that too.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How far a permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// See records and outcomes.
    Read,
    /// Send writes.
    Write,
    /// Administer: change what others rely on, and see what only an operator should.
    Admin,
}

/// What a permission is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Prospects; their consents and their erasure too.
    Prospects,
    /// Events.
    Events,
    /// Appointments, and when they are possible.
    Appointments,
    /// Listings.
    Listings,
    /// Communities, attributions and agents, and the vocabulary.
    Directory,
    /// What became of writes.
    Writes,
    /// Integrations and what is registered with them, their synchronisation and what it changed.
    Integrations,
    /// Subscriptions to events, what became of deliveries, and the log of events.
    Webhooks,
    /// API keys.
    Keys,
    /// The audit log.
    Audit,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 10] = [
        Self::Prospects,
        Self::Events,
        Self::Appointments,
        Self::Listings,
        Self::Directory,
        Self::Writes,
        Self::Integrations,
        Self::Webhooks,
        Self::Keys,
        Self::Audit,
    ];

    /// Its name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prospects => "prospects",
            Self::Events => "events",
            Self::Appointments => "appointments",
            Self::Listings => "listings",
            Self::Directory => "directory",
            Self::Writes => "writes",
            Self::Integrations => "integrations",
            Self::Webhooks => "webhooks",
            Self::Keys => "keys",
            Self::Audit => "audit",
        }
    }
}

/// A level, for everything or for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// What it is about; everything when absent.
    pub group: Option<Group>,
    /// How far it goes.
    pub level: Level,
}

impl Permission {
    /// Everything on every level.
    pub const ALL: [Self; 3] = [
        Self::over_all(Level::Read),
        Self::over_all(Level::Write),
        Self::over_all(Level::Admin),
    ];

    /// `level` for everything.
    pub const fn over_all(level: Level) -> Self {
        Self { group: None, level }
    }

    /// `level` for one group.
    pub const fn of(group: Group, level: Level) -> Self {
        Self {
            group: Some(group),
            level,
        }
    }

    /// Whether who has this may do what needs `other`.
    pub fn covers(self, other: Self) -> bool {
        self.level == other.level && (self.group.is_none() || self.group == other.group)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = self.group {
            write!(f, "{}:", group.name())?;
        }
        f.write_str(self.level.name())
    }
}

impl FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (group, level) = match text.split_once(':') {
            Some((group, level)) => (Some(group), level),
            None => (None, text),
        };
        let level = Level::ALL.into_iter().find(|one| one.name() == level);
        let group = group.map(|name| Group::ALL.into_iter().find(|one| one.name() == name));
        match (group, level) {
            (None, Some(level)) => Ok(Self::over_all(level)),
            (Some(Some(group)), Some(level)) => Ok(Self::of(group, level)),
            _ => Err(format!(
                "a permission is read, write or admin, or one of these for a group, such as prospects:write; the groups are {}",
                Group::ALL.map(Group::name).join(", ")
            )),
        }
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(has: &str, needs: &str, may: bool) {
        let (has, needs): (Permission, Permission) = (has.parse().unwrap(), needs.parse().unwrap());
        assert_eq!(has.covers(needs), may, "{has} for {needs}");
    }

    #[test]
    fn a_permission_covers_its_own_level_of_its_own_group() {
        check("read", "prospects:read", true);
        check("read", "prospects:write", false);
        check("admin", "prospects:read", false);
        check("prospects:read", "prospects:read", true);
        check("prospects:read", "events:read", false);
        check("prospects:read", "read", false);
    }

    #[test]
    fn every_permission_prints_and_parses_back_and_nothing_else_parses() {
        for level in Level::ALL {
            for group in Group::ALL.map(Some).into_iter().chain([None]) {
                let one = Permission { group, level };
                assert_eq!(one.to_string().parse(), Ok(one));
            }
        }
        for text in [
            "",
            ":",
            "prospects",
            "prospects:",
            ":read",
            "Read",
            "cats:read",
            "read:prospects",
            "prospects:read:x",
        ] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }
}
