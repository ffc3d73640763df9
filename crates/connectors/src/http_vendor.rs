//! What all vendors over HTTP share: where secrets go, what statuses mean, words for what went wrong.
//!
//! A connector says by its [`Ways`] how its vendor differs. Guarantee: a secret is put into a call when
//! it is sent, stands in nothing that is stored, and is masked where the vendor repeats it. Only a
//! refusal in the vendor's own form, which a repeat cannot mend, counts as rejected; a 4xx of another
//! form comes from something in between and is tried again.

use model::{
    Credentials, Secret,
    write::{Call, Class, Reply},
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::{
    Answer, FetchFailure, Fetched, Target,
    foreign::{Refusal, excerpt},
    vendor_client::{Failure, Got, VendorClient},
};

/// Characters of a vendor's words that are passed on.
const WORDS_MAX_CHARS: usize = 500;

/// Characters of an id that a vendor gives.
const ID_MAX_CHARS: usize = 64;

/// Bytes of a secret from which on it is looked for in answers: shorter ones stand in any text.
const MASKED_MIN_BYTES: usize = 4;

/// What stands for a secret in an answer that repeats it.
const MASK: &[u8] = b"***";

/// How a vendor differs from others.
pub struct Ways {
    /// Its name as people write it.
    pub title: &'static str,
    /// The members of its credentials.
    pub credentials: &'static [&'static str],
    /// Where they go, by member.
    pub secrets: &'static [(&'static str, Place)],
    /// Where the token goes that the vendor has given, if it gives such.
    pub token: Option<Place>,
    /// The members of an answer in which it says what is wrong, the best first.
    pub words: &'static [&'static str],
    /// The answers by which it refuses a call for good. 401 and 403 refuse the credential, and 408,
    /// 425, 429 and 503 ask for a later attempt: those are told apart by status alone.
    pub refusal: Refusal,
    /// The statuses of a refusal that say that there is no such thing (any more).
    pub gone: &'static [u16],
}

/// Where a secret goes when a call is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into the header that the integration names.
    KeyHeader,
    /// Into this header.
    Header(&'static str),
    /// Into `Authorization`, as a bearer token (RFC 6750).
    Bearer,
    /// Into this member of the JSON body, where the call has one.
    Body(&'static str),
}

/// What a 2xx says.
pub enum Confirmation {
    /// That it was taken.
    Given {
        /// The vendor's id of the record, if it gave one.
        x_id: Option<String>,
        /// Whether the vendor held it before.
        is_match: bool,
    },
    /// That it was not, and why.
    Refused(String),
    /// Neither; this is missing.
    Lacking(&'static str),
}

impl Confirmation {
    /// That it was taken, by a vendor that does not say whether it held it before.
    pub const fn given(x_id: Option<String>) -> Self {
        Self::Given {
            x_id,
            is_match: false,
        }
    }
}

/// A vendor over HTTP.
pub struct HttpVendor {
    client: VendorClient,
    ways: &'static Ways,
}

impl HttpVendor {
    /// The vendor of these ways.
    pub const fn new(client: VendorClient, ways: &'static Ways) -> Self {
        Self { client, ways }
    }

    /// Makes one call, with the integration's secrets in their places.
    ///
    /// # Errors
    /// When nothing usable came back; whether the vendor may have the call is in the kind.
    pub async fn send(&self, target: &Target, call: &Call) -> Result<Got, Failure> {
        let credentials = Credentials::of_stored(&target.credential, self.ways.credentials);
        let mut headers = HeaderMap::new();
        let mut body = call.body.clone();
        let members = self.ways.secrets.iter();
        let secrets = members.filter_map(|(name, place)| Some((credentials.get(name)?, *place)));
        let token = target.token.as_ref().zip(self.ways.token);
        for (secret, place) in secrets.chain(token) {
            put(secret, place, target, &mut headers, &mut body)?;
        }
        let mut got = self.client.call(target, call, headers, &body).await?;
        for secret in credentials.secrets().chain(&target.token) {
            mask(&mut got.body, secret);
        }
        Ok(got)
    }

    /// Makes one call and says how it ended; `confirmation` says what a 2xx says.
    pub async fn deliver(
        &self,
        target: &Target,
        call: &Call,
        confirmation: impl FnOnce(&Call, &Got, Option<&Value>) -> Confirmation,
    ) -> Answer {
        let outcome = self.send(target, call).await;
        self.ways
            .classify(outcome, |got, body| confirmation(call, got, body))
    }

    /// Asks once whether the vendor has a write. Only its own refusal that says that there is no such
    /// thing says that it has not; whatever else is no confirmation leaves it unknown.
    pub async fn resolve(
        &self,
        target: &Target,
        call: &Call,
        confirmation: impl FnOnce(&Call, &Got, Option<&Value>) -> Confirmation,
    ) -> Answer {
        let answer = self.deliver(target, call, confirmation).await;
        let is_gone = answer
            .reply
            .status
            .is_some_and(|status| self.ways.gone.contains(&status));
        let class = match answer.class {
            Class::Delivered | Class::Unauthorized | Class::Unknown => answer.class,
            Class::Rejected if is_gone => Class::Retry,
            Class::Rejected | Class::Retry => Class::Unknown,
        };
        Answer { class, ..answer }
    }

    /// Makes one call, and gives what a 200 has in it.
    ///
    /// # Errors
    /// When the vendor did not answer so.
    pub async fn fetch(&self, target: &Target, call: &Call) -> Fetched<Value> {
        self.ways.fetched(self.send(target, call).await)
    }

    /// The vendor answered, and not as it is known to.
    pub fn not_understood(&self) -> FetchFailure {
        FetchFailure {
            class: Class::Retry,
            is_gone: false,
            error: format!(
                "{}'s answer is not of the form that it is known to have",
                self.ways.title
            ),
            retry_after_ms: None,
        }
    }
}

fn put(
    secret: &Secret,
    place: Place,
    target: &Target,
    headers: &mut HeaderMap,
    body: &mut Value,
) -> Result<(), Failure> {
    let (name, value) = match place {
        Place::KeyHeader => (&*target.settings.key_header_name, secret.clone()),
        Place::Header(name) => (name, secret.clone()),
        Place::Bearer => (
            AUTHORIZATION.as_str(),
            Secret::new(format!("Bearer {}", secret.expose())),
        ),
        Place::Body(member) => {
            if let Some(body) = body.as_object_mut() {
                body.insert(member.to_owned(), secret.expose().into());
            }
            return Ok(());
        }
    };
    let bad = |what: &str| {
        Failure::NotSent(format!(
            "{what} of the integration cannot be sent in an HTTP header"
        ))
    };
    let name = HeaderName::try_from(name).map_err(|_| bad("the key header name"))?;
    let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad("the credential"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Masks a secret wherever an answer repeats it.
fn mask(body: &mut Vec<u8>, secret: &Secret) {
    let secret = secret.expose().as_bytes();
    if secret.len() < MASKED_MIN_BYTES {
        return;
    }
    let mut from = 0;
    while let Some(place) = find(&body[from..], secret) {
        let place = from + place;
        body.splice(place..place + secret.len(), MASK.iter().copied());
        from = place + MASK.len();
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

impl Ways {
    /// The class of what came back. `confirmation` says what a 2xx says; its body is JSON, if it is whole and is JSON.
    pub fn classify(
        &self,
        outcome: Result<Got, Failure>,
        confirmation: impl FnOnce(&Got, Option<&Value>) -> Confirmation,
    ) -> Answer {
        let title = self.title;
        let got = match outcome {
            Ok(got) => got,
            Err(Failure::NotSent(why)) => {
                let why = format!("{title} could not be reached: {why}");
                return failed(Class::Retry, why);
            }
            Err(Failure::Lost(why)) => {
                let why = format!("The connection to {title} ended without an answer: {why}");
                return failed(Class::Unknown, why);
            }
        };
        let body = json(&got);
        let said = |default: &str| Some(self.said(&got, body.as_ref(), default));
        let (mut x_id, mut is_match, mut waits) = (None, false, true);
        let (class, error) = match got.status {
            200..=299 => match confirmation(&got, body.as_ref()) {
                Confirmation::Given {
                    x_id: given,
                    is_match: matched,
                } => {
                    (x_id, is_match, waits) = (given, matched, false);
                    (Class::Delivered, None)
                }
                Confirmation::Refused(why) => {
                    waits = false;
                    (Class::Rejected, Some(why))
                }
                // It may have stored it and failed to say so.
                Confirmation::Lacking(what) => (Class::Unknown, said(what)),
            },
            // Not taken; a redirect points at a wrong base url, which an operator can mend.
            300..=399 => (
                Class::Retry,
                said("a redirect, which is not followed; check the integration's base url"),
            ),
            401 | 403 => (Class::Unauthorized, said("the credential was not accepted")),
            408 | 425 | 429 | 503 => (Class::Retry, said("try again later")),
            _ if self.refusal.is(&got, body.as_ref()) => (Class::Rejected, said("no reason given")),
            400..=499 => (Class::Retry, Some(self.not_the_vendors(&got))),
            _ => (Class::Unknown, said("no reason given")),
        };
        Answer {
            class,
            x_id,
            is_match,
            error,
            retry_after_ms: retry_after_ms(&got).filter(|_| waits),
            reply: got.reply(),
        }
    }

    /// What was fetched: the body of a 200.
    ///
    /// # Errors
    /// When the vendor did not answer so.
    pub fn fetched(&self, outcome: Result<Got, Failure>) -> Fetched<Value> {
        let title = self.title;
        let not = |class, is_gone, error, retry_after_ms| FetchFailure {
            class,
            is_gone,
            error,
            retry_after_ms,
        };
        let got = outcome.map_err(|why| {
            let (Failure::NotSent(why) | Failure::Lost(why)) = why;
            let error = format!("{title} could not be reached: {why}");
            not(Class::Retry, false, error, None)
        })?;
        let body = json(&got);
        let is_refused = self.refusal.is(&got, body.as_ref());
        let error = self.said(&got, body.as_ref(), "no reason given");
        let wait_ms = retry_after_ms(&got);
        match got.status {
            200 if body.as_ref().and_then(|body| self.words(body)).is_none() => {
                body.ok_or_else(|| not(Class::Retry, false, error, wait_ms))
            }
            401 | 403 => Err(not(Class::Unauthorized, false, error, wait_ms)),
            408 | 425 | 429 => Err(not(Class::Retry, false, error, wait_ms)),
            status if is_refused => {
                let is_gone = self.gone.contains(&status);
                Err(not(Class::Rejected, is_gone, error, wait_ms))
            }
            400..=499 => Err(not(
                Class::Retry,
                false,
                self.not_the_vendors(&got),
                wait_ms,
            )),
            _ => Err(not(Class::Retry, false, error, wait_ms)),
        }
    }

    /// Words for an answer: those in it, or `default`.
    fn said(&self, got: &Got, body: Option<&Value>, default: &str) -> String {
        let (title, status) = (self.title, got.status);
        match body.and_then(|body| self.words(body)) {
            Some(words) => format!("{title} answered {status}: {words}"),
            None if body.is_some() || got.body.is_empty() => {
                format!("{title} answered {status}: {default}")
            }
            None => format!(
                "The answer {status} is not {title}'s: {default}. It was {}",
                excerpt(got)
            ),
        }
    }

    /// Words for a 4xx that is not the vendor's.
    fn not_the_vendors(&self, got: &Got) -> String {
        format!(
            "The answer {} is not {title}'s. Check the proxies and firewalls between here and {title}, and \
             the integration's base url. It was {}",
            got.status,
            excerpt(got),
            title = self.title,
        )
    }

    fn words(&self, body: &Value) -> Option<String> {
        let words = self.words.iter().find_map(|member| body.get(member))?;
        let words = words.as_str()?.trim();
        (!words.is_empty()).then(|| words.chars().take(WORDS_MAX_CHARS).collect())
    }
}

fn failed(class: Class, why: String) -> Answer {
    Answer {
        class,
        x_id: None,
        is_match: false,
        error: Some(why),
        retry_after_ms: None,
        reply: Reply::default(),
    }
}

fn json(got: &Got) -> Option<Value> {
    got.is_whole
        .then(|| serde_json::from_slice(&got.body).ok())
        .flatten()
}

fn retry_after_ms(got: &Got) -> Option<u64> {
    Some(got.retry_after_s?.saturating_mul(1_000))
}

/// An id of any form in a member of an answer, if there is one.
pub fn any_id(body: &Value, member: &str) -> Option<String> {
    let id = match body.get(member)? {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.as_u64()?.to_string(),
        _ => return None,
    };
    let is_sane =
        (1..=ID_MAX_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    is_sane.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_an_answer_repeats_it() {
        let check = |body: &str, secret: &str, expected: &str| {
            let mut bytes = body.as_bytes().to_vec();
            mask(&mut bytes, &Secret::new(secret));
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        };
        check("key abcdef is bad", "abcdef", "key *** is bad");
        check("abcdefabcdef", "abcdef", "******");
        check("abc", "abc", "abc");
        check("nothing", "abcdef", "nothing");
        check("", "abcdef", "");
    }
}
