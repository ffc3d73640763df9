//! How often callers may ask.
//!
//! Guarantee: each key has its own limit, which no other key's requests use up; an address that keeps failing to authenticate is soon told to wait, and
//! never keeps a valid key out that comes from the same address; nor does one that asks too often for what needs no key. Memory is bounded by the keys there are, and by a number of addresses.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::{NoOpMiddleware, StateInformationMiddleware},
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};
use model::{KeyId, key::RateLimit};

/// What a key may send that has no limit of its own: a hundred times what the contract's own service allows, so that only a runaway client meets it.
pub const RATE_LIMIT_DEFAULT: RateLimit = RateLimit {
    requests_per_minute: 15_000,
    burst: 15_000,
};

/// Requests without a valid key that one address may send in a minute, and at once. A client with a mistyped key stays far below; who guesses does not.
pub const FAILURES_PER_MINUTE: u32 = 600;

/// Requests for the metrics that one address may send in a minute, and at once, and as many for the
/// document: monitors and browsers stay far below.
pub const OPEN_PER_MINUTE: u32 = 1_200;

/// Addresses that are remembered for having failed. Beyond that all new ones share one place, until some are forgotten.
const ADDRESSES_MAX: usize = 50_000;

type Own<C> = RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>;

/// A key's limit, and what is left of it.
type Kept<C> = (RateLimit, Arc<Own<C>>);

type ByAddress<C> =
    RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Where a key stands with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: RateLimit,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Until all of the burst may be used again, in seconds.
    pub reset_s: u64,
    /// When it is used up: how long to wait.
    pub wait: Option<Duration>,
}

impl Standing {
    fn of(limit: RateLimit, remaining: u32, wait: Option<Duration>) -> Self {
        let used = u64::from(limit.burst.saturating_sub(remaining));
        Self {
            limit,
            remaining,
            reset_s: (used * 60).div_ceil(u64::from(limit.requests_per_minute.max(1))),
            wait,
        }
    }
}

/// Where the key of a request stands: filled in when the request was authenticated, and read when it is answered.
#[derive(Clone, Default)]
pub struct Noted(Arc<OnceLock<Standing>>);

impl Noted {
    /// Fills it in.
    pub fn note(&self, standing: Standing) {
        let _ = self.0.set(standing);
    }

    /// What was filled in.
    pub fn get(&self) -> Option<Standing> {
        self.0.get().copied()
    }
}

/// The rates of all keys and addresses, and what is left of them.
pub struct Rates<C: Clock + Clone = MonotonicClock> {
    clock: C,
    default: RateLimit,
    keys: Mutex<HashMap<KeyId, Kept<C>>>,
    failures: ByAddress<C>,
    metrics: ByAddress<C>,
    document: ByAddress<C>,
}

/// What is answered without a key. Each has a count of its own: behind one address, who reads the
/// document keeps no monitor from the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The metrics.
    Metrics,
    /// The OpenAPI document.
    Document,
}

fn nonzero(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

impl Rates {
    /// Limits on the machine's own steady time. `default` is for keys that have none of their own.
    pub fn new(default: RateLimit) -> Self {
        Self::on(MonotonicClock, default)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn on(clock: C, default: RateLimit) -> Self {
        let by_address = |per_minute| {
            let quota = Quota::per_minute(nonzero(per_minute));
            RateLimiter::new(quota, HashMapStateStore::default(), clock.clone())
        };
        Self {
            failures: by_address(FAILURES_PER_MINUTE),
            metrics: by_address(OPEN_PER_MINUTE),
            document: by_address(OPEN_PER_MINUTE),
            clock,
            default,
            keys: Mutex::default(),
        }
    }

    /// The limit of keys that have none of their own.
    pub const fn default_limit(&self) -> RateLimit {
        self.default
    }

    /// Counts a request of a key, and says where that stands.
    pub fn take(&self, key: KeyId, own: Option<RateLimit>) -> Standing {
        let limit = own.unwrap_or(self.default);
        let limiter = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            match keys.get(&key) {
                Some((known, limiter)) if *known == limit => limiter.clone(),
                // New, or changed: it starts afresh.
                _ => {
                    let quota = Quota::per_minute(nonzero(limit.requests_per_minute))
                        .allow_burst(nonzero(limit.burst));
                    let limiter = RateLimiter::direct_with_clock(quota, self.clock.clone());
                    let limiter = Arc::new(limiter.with_middleware::<StateInformationMiddleware>());
                    keys.insert(key, (limit, limiter.clone()));
                    limiter
                }
            }
        };
        match limiter.check() {
            Ok(state) => Standing::of(limit, state.remaining_burst_capacity(), None),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Standing::of(limit, 0, Some(wait))
            }
        }
    }

    /// Counts a request without a valid key.
    ///
    /// # Errors
    /// How long that address has to wait, when it has sent too many.
    pub fn failed(&self, address: IpAddr) -> Result<(), Duration> {
        self.count(&self.failures, address)
    }

    /// Counts a request that needs no key.
    ///
    /// # Errors
    /// How long that address has to wait, when it has sent too many.
    pub fn open(&self, what: Open, address: IpAddr) -> Result<(), Duration> {
        let of = match what {
            Open::Metrics => &self.metrics,
            Open::Document => &self.document,
        };
        self.count(of, address)
    }

    fn count(&self, of: &ByAddress<C>, address: IpAddr) -> Result<(), Duration> {
        let mut place = whole(address);
        if of.len() >= ADDRESSES_MAX {
            of.retain_recent();
            if of.len() >= ADDRESSES_MAX {
                place = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        of.check_key(&place)
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// What counts as one address: of version 6, the 64 bits that one line is given.
pub(crate) fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::fixture::key;

    #[test]
    fn a_key_has_its_burst_then_its_pace_and_uses_up_nothing_of_others() {
        let clock = FakeRelativeClock::default();
        let limits = Rates::on(clock.clone(), RATE_LIMIT_DEFAULT);
        let own = RateLimit {
            requests_per_minute: 60,
            burst: 3,
        };
        for remaining in [2, 1, 0] {
            let standing = limits.take(key(1), Some(own));
            assert_eq!((standing.remaining, standing.wait), (remaining, None));
        }
        let refused = limits.take(key(1), Some(own));
        assert_eq!((refused.remaining, refused.reset_s), (0, 3));
        assert_eq!(refused.wait, Some(Duration::from_secs(1)));
        assert_eq!(limits.take(key(2), Some(own)).remaining, 2);
        assert_eq!(limits.take(key(3), None).remaining, 14_999);
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.take(key(1), Some(own)).wait, None);
        assert!(limits.take(key(1), Some(own)).wait.is_some());
        let wider = RateLimit { burst: 5, ..own };
        assert_eq!(limits.take(key(1), Some(wider)).remaining, 4, "changed");
    }

    #[test]
    fn an_address_that_keeps_failing_is_told_to_wait() {
        let clock = FakeRelativeClock::default();
        let limits = Rates::on(clock.clone(), RATE_LIMIT_DEFAULT);
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..FAILURES_PER_MINUTE {
            assert_eq!(limits.failed(at("192.0.2.1")), Ok(()));
            assert_eq!(limits.failed(at("2001:db8::1")), Ok(()));
        }
        assert!(limits.failed(at("192.0.2.1")).is_err());
        assert!(limits.failed(at("::ffff:192.0.2.1")).is_err(), "the same");
        assert!(limits.failed(at("2001:db8::2")).is_err(), "the same line");
        assert_eq!(limits.failed(at("192.0.2.2")), Ok(()));
        clock.advance(Duration::from_secs(60));
        assert_eq!(limits.failed(at("192.0.2.1")), Ok(()));
    }

    #[test]
    fn an_address_that_asks_too_often_without_a_key_is_told_to_wait() {
        let limits = Rates::on(FakeRelativeClock::default(), RATE_LIMIT_DEFAULT);
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..OPEN_PER_MINUTE {
            assert_eq!(limits.open(Open::Document, at("192.0.2.1")), Ok(()));
        }
        assert!(limits.open(Open::Document, at("192.0.2.1")).is_err());
        assert_eq!(limits.open(Open::Document, at("192.0.2.2")), Ok(()));
        assert_eq!(limits.open(Open::Metrics, at("192.0.2.1")), Ok(()));
        assert_eq!(limits.failed(at("192.0.2.1")), Ok(()), "another count");
    }

    #[test]
    fn the_addresses_that_are_remembered_are_bounded() {
        let limits = Rates::on(FakeRelativeClock::default(), RATE_LIMIT_DEFAULT);
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 100 {
            let _ = limits.failed(IpAddr::V4(n.into()));
        }
        assert!(limits.failures.len() <= ADDRESSES_MAX + 1);
    }
}
