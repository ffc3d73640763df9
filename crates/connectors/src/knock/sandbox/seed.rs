//! What a sandbox knows before the first call: communities, their sources and agents, and the key.
//!
//! Guarantee: plain data. The default names Knock's published test key and test community, and nothing real.

use jiff::civil::Time;

use super::assumptions::{FIRST_SLOT, LAST_SLOT, SLOT_MINUTES};

/// Everything a sandbox starts with.
#[derive(Clone, Debug)]
pub struct Seed {
    /// At least one; ids do not repeat.
    pub communities: Vec<SeedCommunity>,
    /// The only key that is accepted; not blank.
    pub api_key: String,
}

/// One apartment community.
#[derive(Clone, Debug)]
pub struct SeedCommunity {
    /// Knock's id; not blank.
    pub id: String,
    /// The display name.
    pub name: String,
    /// An IANA zone name, such as `America/Phoenix`.
    pub timezone: String,
    /// The titles of its sources; at least one, without repeats.
    pub sources: Vec<String>,
    /// At least one. The first is assigned to cards that name no agent.
    pub agents: Vec<SeedAgent>,
    /// When it gives tours.
    pub hours: SeedHours,
}

/// When a community gives tours, told by its own clocks; the same on every day of the week.
#[derive(Clone, Debug)]
pub struct SeedHours {
    /// When the first tour of a day begins.
    pub first: Time,
    /// When the last one begins at the latest; not before the first.
    pub last: Time,
    /// The time from the beginning of one tour to that of the next, in minutes; at least 1, at most a day.
    pub slot_minutes: u32,
}

impl Default for SeedHours {
    fn default() -> Self {
        Self {
            first: FIRST_SLOT,
            last: LAST_SLOT,
            slot_minutes: SLOT_MINUTES,
        }
    }
}

/// One leasing agent. The same username at two communities is the same person.
#[derive(Clone, Debug)]
pub struct SeedAgent {
    /// What `agent.username` carries.
    pub username: String,
    /// The display name.
    pub name: String,
    /// The agent's address.
    pub email: String,
}

impl Default for Seed {
    fn default() -> Self {
        let morgan = SeedAgent::new("morgan.reyes", "Morgan Reyes");
        Self {
            communities: vec![
                SeedCommunity::new(
                    "b9XQN6eMvvrr07zg",
                    "Harbor Point",
                    "America/New_York",
                    &[
                        "Zillow.com",
                        "Apartments.com",
                        "Community Website",
                        "Drive By",
                    ],
                    vec![morgan.clone(), SeedAgent::new("sam.okafor", "Sam Okafor")],
                ),
                SeedCommunity::new(
                    "k3TzWq81LmPdYc5s",
                    "Saguaro Flats",
                    "America/Phoenix",
                    &["Zillow.com", "Apartments.com", "Community Website"],
                    vec![SeedAgent::new("dana.whitfield", "Dana Whitfield")],
                ),
                SeedCommunity::new(
                    "r7HnBv42XeJuGa9f",
                    "Alameda Lofts",
                    "America/Los_Angeles",
                    &[
                        "Zillow.com",
                        "Apartments.com",
                        "Community Website",
                        "Drive By",
                        "Rent.com",
                    ],
                    vec![SeedAgent::new("lee.navarro", "Lee Navarro"), morgan],
                ),
            ],
            api_key: "syndication-prospect-TEST-KEY".to_owned(),
        }
    }
}

impl SeedCommunity {
    fn new(id: &str, name: &str, timezone: &str, sources: &[&str], agents: Vec<SeedAgent>) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            timezone: timezone.to_owned(),
            sources: sources.iter().map(|&title| title.to_owned()).collect(),
            agents,
            hours: SeedHours::default(),
        }
    }
}

impl SeedAgent {
    fn new(username: &str, name: &str) -> Self {
        Self {
            username: username.to_owned(),
            name: name.to_owned(),
            email: format!("{username}@example.com"),
        }
    }
}
