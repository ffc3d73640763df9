//! Names of receivers to addresses.
//!
//! Guarantee: the addresses that the client connects to are those that were checked here, each for itself: a name that changes its answer between check and
//! connect gains nothing, and one with several addresses is sent to at those that are allowed. A look-up ends within [`LOOKUP_TIMEOUT`], and what hangs
//! behind it is bounded.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::guard::Guard;

/// How long a name may take to be looked up. Less than a connection may take to stand.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Addresses of a name that are used: more are not tried within the time that a connection has.
pub const ADDRESSES_MAX: usize = 8;

/// Names that are looked up at once: the system's look-up holds a thread for as long as a name server keeps silent.
const LOOKUPS_MAX: usize = 64;

/// Where names are looked up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `host`.
    ///
    /// # Errors
    /// In words, when there are none or it cannot be told now.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String>;
}

/// What came of a look-up.
type Answer = Result<Vec<IpAddr>, String>;

/// The system's own look-up. Who asks for a name that is being looked up gets the same answer, so that a burst to one receiver, or one whose name server
/// keeps silent, takes one thread.
#[derive(Clone)]
pub struct SystemLookup {
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<Answer>>>>>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            under_way: Arc::default(),
        }
    }
}

impl SystemLookup {
    /// The answer to come: of the look-up that is under way, or of a new one. It goes on when nobody waits any more: the thread cannot be stopped.
    fn ask(&self, host: &str) -> watch::Receiver<Option<Answer>> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One whose teller is gone never answers.
        let asked = under_way.get(host);
        if let Some(answer) = asked.filter(|answer| answer.has_changed().is_ok()) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(host.to_owned(), answer.clone());
        let (host, own) = (host.to_owned(), self.clone());
        tokio::spawn(async move {
            let found = own.find(&host).await;
            own.under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&host);
            // Whoever waits; it may be nobody.
            let _ = tell.send(Some(found));
        });
        answer
    }

    /// Looks `host` up as soon as there is a place.
    async fn find(&self, host: &str) -> Answer {
        let Ok(Ok(_place)) = timeout(LOOKUP_TIMEOUT, self.places.acquire()).await else {
            return Err(format!("{LOOKUPS_MAX} other names are being looked up"));
        };
        let found = tokio::net::lookup_host((host, 0)).await;
        let found = found.map_err(|why| why.to_string())?;
        Ok(found.take(ADDRESSES_MAX).map(|at| at.ip()).collect())
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> Answer {
        let mut answer = self.ask(host);
        let found = answer.wait_for(Option::is_some).await;
        match found.as_deref() {
            Ok(Some(found)) => found.clone(),
            Ok(None) | Err(_) => Err("the look-up was broken off".to_owned()),
        }
    }
}

/// Why a name led to no address that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// It has addresses, and none is allowed.
    Refused(String),
    /// Its addresses are not known now.
    Unknown(String),
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Unknown(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NoAddress {}

/// The resolver that the client asks for every connection to a name.
#[derive(Clone)]
pub struct Resolver {
    guard: Arc<Guard>,
    lookup: Arc<dyn Lookup>,
    timeout: Duration,
}

impl Resolver {
    /// A resolver that hands on of `lookup`'s answers what `guard` allows.
    pub fn new(guard: Arc<Guard>, lookup: Arc<dyn Lookup>) -> Self {
        Self {
            guard,
            lookup,
            timeout: LOOKUP_TIMEOUT,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The addresses of `host` that may be connected to: at least one.
    ///
    /// # Errors
    /// In words, when there is none.
    pub async fn allowed(&self, host: &str) -> Result<Vec<IpAddr>, NoAddress> {
        let unknown = |why: &str| {
            NoAddress::Unknown(format!(
                "the address of {host:?} is not known: {why}. Check that the name is right, and that this machine can look it up"
            ))
        };
        let mut found = match timeout(self.timeout, self.lookup.addresses(host)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => return Err(unknown(&why)),
            Err(_) => {
                return Err(unknown(&format!(
                    "the look-up took longer than {:?}",
                    self.timeout
                )));
            }
        };
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            return Err(unknown("it has none"));
        }
        found.retain(|address| self.guard.address(*address).is_ok());
        if found.is_empty() {
            // Neither the addresses nor of what kind they are: who may name receivers would learn
            // what the network inside looks like.
            return Err(NoAddress::Refused(format!(
                "{host:?} leads to no address that webhooks are sent to. The operator can allow a private network with --webhook-network or PORTICO_WEBHOOK_NETWORKS"
            )));
        }
        Ok(found)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let allowed = resolver.allowed(name.as_str()).await?;
            // Port 0 stands for that of the url.
            let places = allowed.into_iter().map(|one| SocketAddr::new(one, 0));
            Ok(Box::new(places) as Addrs)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::VecDeque, future::pending};

    use super::*;

    /// A look-up that answers from a list, one after the other, and then again and again the last; a name server that keeps silent where it is empty.
    pub(crate) struct Answers(Mutex<VecDeque<Answer>>);

    impl Answers {
        pub(crate) fn new<const N: usize>(answers: [&[&str]; N]) -> Arc<Self> {
            let read = |one: &&str| one.parse().expect("an address");
            let answers = answers.iter().map(|all| Ok(all.iter().map(read).collect()));
            Arc::new(Self(Mutex::new(answers.collect())))
        }

        pub(crate) fn failing(why: &str) -> Arc<Self> {
            Arc::new(Self(Mutex::new([Err(why.to_owned())].into())))
        }

        pub(crate) fn silent() -> Arc<Self> {
            Arc::new(Self(Mutex::default()))
        }
    }

    #[async_trait]
    impl Lookup for Answers {
        async fn addresses(&self, _: &str) -> Answer {
            let next = {
                let mut left = self.0.lock().expect("a lock");
                if left.len() > 1 {
                    left.pop_front()
                } else {
                    left.front().cloned()
                }
            };
            match next {
                Some(answer) => answer,
                None => pending().await,
            }
        }
    }

    fn resolver(networks: &[&str], lookup: Arc<dyn Lookup>) -> Resolver {
        let networks = networks.iter().map(|one| one.parse().expect("a network"));
        let guard = Guard::new(true, networks, []).expect("a guard");
        Resolver::new(Arc::new(guard), lookup)
    }

    /// What the client is handed, through the door that it comes in by.
    async fn resolved(resolver: &Resolver) -> Result<Vec<String>, String> {
        let name = "receiver.example".parse().expect("a name");
        match resolver.resolve(name).await {
            Ok(places) => Ok(places.map(|place| place.to_string()).collect()),
            Err(why) => Err(why.to_string()),
        }
    }

    #[tokio::test]
    async fn of_several_addresses_those_that_are_allowed_are_handed_on() {
        let mixed: &[&str] = &[
            "127.0.0.1",
            "8.8.8.8",
            "169.254.169.254",
            "::1",
            "2606:4700::1111",
            "::ffff:8.8.4.4",
        ];
        assert_eq!(
            resolved(&resolver(&[], Answers::new([mixed]))).await,
            Ok(vec![
                "8.8.8.8:0".to_owned(),
                "[2606:4700::1111]:0".to_owned()
            ])
        );
        assert_eq!(
            resolved(&resolver(&["127.0.0.0/8"], Answers::new([mixed]))).await,
            Ok(vec![
                "127.0.0.1:0".to_owned(),
                "8.8.8.8:0".to_owned(),
                "[2606:4700::1111]:0".to_owned()
            ])
        );
    }

    #[tokio::test]
    async fn a_refusal_is_the_same_whatever_the_network_inside_looks_like() {
        let mut told = Vec::new();
        for inside in [
            &["10.0.0.1", "169.254.169.254"][..],
            &["127.0.0.1"],
            &["fd00::1"],
            &["0.0.0.0"],
        ] {
            let refused = resolver(&[], Answers::new([inside]));
            let why = refused.allowed("receiver.example").await.expect_err("none");
            assert!(matches!(why, NoAddress::Refused(_)), "{why:?}");
            for part in ["receiver.example", "--webhook-network"] {
                assert!(why.to_string().contains(part), "{why}");
            }
            assert_eq!(resolved(&refused).await, Err(why.to_string()));
            told.push(why.to_string());
        }
        assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
    }

    #[tokio::test]
    async fn each_answer_is_checked_not_only_the_first() {
        let turning = resolver(
            &[],
            Answers::new([&["8.8.8.8"], &["127.0.0.1"], &["8.8.8.8"]]),
        );
        assert!(resolved(&turning).await.is_ok());
        let why = resolved(&turning).await.expect_err("refused");
        assert!(why.contains("leads to no address"), "{why}");
        assert!(resolved(&turning).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_not_known_is_not_refused() {
        let short = Duration::from_millis(20);
        let cases: [(Arc<dyn Lookup>, &str); 3] = [
            (Answers::silent(), "longer than 20ms"),
            (Answers::failing("no such name"), "no such name"),
            (Answers::new([&[]]), "has none"),
        ];
        for (lookup, part) in cases {
            let unknown = resolver(&[], lookup).with_timeout(short);
            let why = unknown.allowed("receiver.example").await.expect_err("none");
            assert!(matches!(why, NoAddress::Unknown(_)), "{why:?}");
            let words = why.to_string();
            assert!(
                words.contains(part) && words.contains("receiver.example"),
                "{why}"
            );
            assert_eq!(resolved(&unknown).await, Err(words));
        }
    }

    #[tokio::test]
    async fn no_more_addresses_are_kept_than_can_be_tried() {
        let many = vec!["8.8.8.8"; 1_000];
        let found = resolver(&[], Answers::new([&many])).allowed("x").await;
        assert_eq!(found.map(|all| all.len()), Ok(ADDRESSES_MAX));
    }

    #[tokio::test]
    async fn the_systems_own_names_are_found_and_checked() {
        let system = Arc::new(SystemLookup::default());
        let found = system.addresses("localhost").await.expect("addresses");
        assert!(
            !found.is_empty() && found.iter().all(IpAddr::is_loopback),
            "{found:?}"
        );
        let why = resolver(&[], system.clone()).allowed("localhost").await;
        assert!(matches!(why, Err(NoAddress::Refused(_))), "{why:?}");
        // Nothing is left behind.
        assert!(system.under_way.lock().expect("a lock").is_empty());
        assert_eq!(system.places.available_permits(), LOOKUPS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_is_looked_up_once_at_a_time_and_never_too_many_names() {
        let system = SystemLookup::default();
        let first = system.ask("localhost");
        let again = system.ask("localhost");
        assert!(first.same_channel(&again));
        assert!(!first.same_channel(&system.ask("127.0.0.1")));
        assert!(system.addresses("localhost").await.is_ok());

        // All places are taken: who comes waits for one, but not for ever.
        let all = u32::try_from(LOOKUPS_MAX).expect("a number");
        let taken = system.places.acquire_many(all).await.expect("places");
        let why = system.addresses("localhost").await.expect_err("no place");
        assert!(why.contains("other names"), "{why}");
        assert!(system.under_way.lock().expect("a lock").is_empty());
        drop(taken);
        assert!(system.addresses("localhost").await.is_ok());
    }
}
