//! Faults on demand: which calls fail, how, and how often.
//!
//! Guarantee: the first fault in order of creation that matches and fires wins; `times` counts only firings;
//! the draws of `probability` are the same in every run.

use serde::{Deserialize, Serialize};

/// Where every generator starts whose fault names no seed. Any constant would do; it only has to stay.
const DEFAULT_SEED: u64 = 0x5EED_0F0A_11FA_0175;

/// The longest wait that a fault may ask for, in milliseconds: an hour outlasts every client's patience.
pub(crate) const MOST_LATENCY_MS: u64 = 3_600_000;

/// How long `timeout_after_store` holds the connection when it does not say, in milliseconds.
const HOLD_MS: u64 = 60_000;

/// The longest `Retry-After`, in seconds: a day.
const MOST_RETRY_AFTER_S: u64 = 86_400;

/// The statuses that [`FaultKind::Status`] may send.
const STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// The statuses that [`FaultKind::Gateway`] may send: a sign-in page of a network comes with 200.
const GATEWAY_STATUSES: std::ops::RangeInclusive<u16> = 200..=599;

/// The most faults that may be arranged over HTTP, so that a runaway script cannot slow every call down.
pub(crate) const MOST_FAULTS: usize = 1_000;

/// A way to fail, and the calls that fail that way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which vendor calls; every one when empty.
    #[serde(rename = "match", default)]
    pub matches: FaultMatch,
    /// What happens to them.
    pub kind: FaultKind,
    /// For [`FaultKind::Status`], 400 to 599, and [`FaultKind::Gateway`], 200 to 599; needed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For the same two: the `Retry-After` header, in seconds, up to a day. None sends no header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Wait before whatever happens, in milliseconds, 1 to 3,600,000. Needed for [`FaultKind::Latency`]; how
    /// long [`FaultKind::TimeoutAfterStore`] holds the connection, a minute when absent; none for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// How many more times it fires before it is removed; at least 1. None: until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How likely it fires on a call that matches, 0 to 1. None: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Starts the generator behind `probability`. None: a constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Which vendor calls a fault is for. A member that is none does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultMatch {
    /// The HTTP method, in capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path without a query: the whole of it, or its beginning followed by `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The community that the call is about: from the body, the path, or the card or the appointment that the
    /// path names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
}

/// The ways to fail. "Stores" means: does what the call asks; if the call is refused, the refusal is
/// answered as if there were no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers a status between 400 and 599 and stores nothing. 403 reads like a bad key.
    Status,
    /// Answers a status between 200 and 599 with an HTML page, as something in front of the vendor
    /// does, and stores nothing.
    Gateway,
    /// Stores, waits, and answers.
    Latency,
    /// Stores, holds the connection open without an answer, then closes it.
    TimeoutAfterStore,
    /// Stores nothing and resets the connection.
    ResetBeforeStore,
    /// Stores and resets the connection without an answer.
    ResetAfterStore,
    /// Stores and answers 200 with broken JSON.
    MalformedBody,
    /// Stores and answers 200 with nothing in the body.
    EmptyBody,
    /// Stores nothing and answers 200 with an error of the vendor's form.
    #[serde(rename = "error_in_200")]
    ErrorIn200,
}

impl Fault {
    /// A fault of that kind for every call, until it is cleared. Narrow it by its members.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            matches: FaultMatch::default(),
            kind,
            status: None,
            retry_after_s: None,
            latency_ms: None,
            times: None,
            probability: None,
            seed: None,
        }
    }

    /// What is out of range or out of place, in words; `Ok` when nothing is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Option<u64>, least: u64, most: u64| match value {
            Some(number) if !(least..=most).contains(&number) => Err(format!(
                "{name} must be a whole number from {least} to {most}"
            )),
            _ => Ok(()),
        };
        let statuses = self.kind.statuses();
        let (least, most) = (u64::from(*statuses.start()), u64::from(*statuses.end()));
        within("status", self.status.map(u64::from), least, most)?;
        within("retry_after_s", self.retry_after_s, 0, MOST_RETRY_AFTER_S)?;
        within("latency_ms", self.latency_ms, 1, MOST_LATENCY_MS)?;
        within("times", self.times, 1, u64::MAX)?;
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err("probability must be a number from 0 to 1".to_owned());
        }
        let has_status = matches!(self.kind, FaultKind::Status | FaultKind::Gateway);
        if has_status && self.status.is_none() {
            return Err(format!(
                "kinds status and gateway need a status from {least} to {most}"
            ));
        }
        if !has_status && (self.status.is_some() || self.retry_after_s.is_some()) {
            return Err(
                "status and retry_after_s go with kinds status and gateway only".to_owned(),
            );
        }
        if self.kind == FaultKind::Latency && self.latency_ms.is_none() {
            return Err("kind latency needs latency_ms".to_owned());
        }
        if self
            .matches
            .path
            .as_deref()
            .is_some_and(|path| !path.starts_with('/'))
        {
            return Err("match.path must start with /, and may end in *".to_owned());
        }
        Ok(())
    }
}

impl FaultKind {
    const fn statuses(self) -> std::ops::RangeInclusive<u16> {
        match self {
            Self::Gateway => GATEWAY_STATUSES,
            _ => STATUSES,
        }
    }
}

impl FaultMatch {
    fn covers(&self, call: &FaultTarget<'_>) -> bool {
        let same = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| got == Some(wanted))
        };
        same(&self.method, Some(call.method))
            && same(&self.community_id, call.community_id)
            && self.path.as_deref().is_none_or(|wanted| {
                wanted
                    .strip_suffix('*')
                    .map_or(call.path == wanted, |start| call.path.starts_with(start))
            })
    }
}

/// The parts of a vendor call that a fault looks at.
pub(crate) struct FaultTarget<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) community_id: Option<&'a str>,
}

/// A fault that has fired.
#[derive(Clone, Copy)]
pub(crate) struct Fired {
    pub(crate) kind: FaultKind,
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) latency_ms: u64,
}

/// An arranged fault, as `GET /_sandbox/faults` shows it.
#[derive(Serialize)]
pub(crate) struct Arranged {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
    /// How often it has fired.
    fired: u64,
    #[serde(skip)]
    generator: SplitMix,
}

#[derive(Default)]
pub(crate) struct Faults {
    arranged: Vec<Arranged>,
    last_id: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, mut fault: Fault) -> u64 {
        // A zero would mean a fault that is there and can never fire.
        fault.times = fault.times.map(|times| times.max(1));
        self.last_id += 1;
        self.arranged.push(Arranged {
            id: self.last_id,
            fired: 0,
            generator: SplitMix(fault.seed.unwrap_or(DEFAULT_SEED)),
            fault,
        });
        self.last_id
    }

    pub(crate) fn list(&self) -> &[Arranged] {
        &self.arranged
    }

    pub(crate) fn clear(&mut self) {
        self.arranged.clear();
    }

    /// Whether there was such a fault.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.arranged.len();
        self.arranged.retain(|arranged| arranged.id != id);
        self.arranged.len() < before
    }

    /// The fault that befalls this call, if any.
    pub(crate) fn draw(&mut self, call: &FaultTarget<'_>) -> Option<Fired> {
        let place = self
            .arranged
            .iter_mut()
            .position(|arranged| arranged.fault.matches.covers(call) && arranged.fires())?;
        let arranged = self.arranged.get_mut(place)?;
        arranged.fired += 1;
        let fired = arranged.fault.fired();
        if let Some(times) = &mut arranged.fault.times {
            *times -= 1;
            if *times == 0 {
                self.arranged.remove(place);
            }
        }
        Some(fired)
    }
}

impl Arranged {
    fn fires(&mut self) -> bool {
        match self.fault.probability {
            None => true,
            Some(probability) => self.generator.next_fraction() < probability,
        }
    }
}

impl Fault {
    fn fired(&self) -> Fired {
        let hold_ms = match self.kind {
            FaultKind::TimeoutAfterStore => HOLD_MS,
            _ => 0,
        };
        let (status, statuses) = (self.status.unwrap_or(500), self.kind.statuses());
        Fired {
            kind: self.kind,
            status: status.clamp(*statuses.start(), *statuses.end()),
            retry_after_s: self.retry_after_s.map(|s| s.min(MOST_RETRY_AFTER_S)),
            latency_ms: self.latency_ms.unwrap_or(hold_ms).min(MOST_LATENCY_MS),
        }
    }
}

/// The splitmix64 generator: small, and good enough to decide who fails.
struct SplitMix(u64);

impl SplitMix {
    /// From 0 up to but not including 1.
    fn next_fraction(&mut self) -> f64 {
        // The 53 bits that a float can hold exactly.
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 / STEPS
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
