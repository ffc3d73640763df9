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
    connector::Token,
    foreign::{Refusal, excerpt},
    masking::mask,
    vendor_client::{Failure, Got, VendorClient},
};

/// Characters of a vendor's words that are passed on.
const WORDS_MAX_CHARS: usize = 500;

/// Characters of an id that a vendor gives.
const ID_MAX_CHARS: usize = 64;

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
            mask(&mut got.body, secret, got.is_whole);
            if let Some(content_type) = got.content_type.take() {
                let mut told = content_type.into_bytes();
                mask(&mut told, secret, true);
                got.content_type = String::from_utf8(told).ok();
            }
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

    /// Asks once for a token; `read` finds it in the JSON of an answer. An answer by which the vendor may
    /// have given one is shown to nobody, whether a token was found in it or not.
    pub async fn token_fetch(
        &self,
        target: &Target,
        call: &Call,
        read: impl FnOnce(&Value) -> Option<Token>,
    ) -> (Answer, Option<Token>) {
        let mut outcome = self.send(target, call).await;
        let mut given = Err("the answer has no token");
        let mut shown = None;
        if let Ok(got) = &mut outcome
            && (200..=299).contains(&got.status)
        {
            given = json(got).as_ref().and_then(read).map_or(given, can_be_sent);
            shown = Some(match given {
                Ok(_) => "(a token)",
                Err(_) => "(not shown: it may have a token in it)",
            });
            got.body.clear();
        }
        let mut answer = self.ways.classify(outcome, |_, _| match given {
            Ok(_) => Confirmation::given(None),
            Err(why) => Confirmation::Lacking(why),
        });
        if let Some(shown) = shown {
            answer.reply.body = Some(shown.to_owned());
        }
        (answer, given.ok())
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
        Failure::NotMade(format!(
            "{what} of the integration cannot be sent in an HTTP header"
        ))
    };
    let name = HeaderName::try_from(name).map_err(|_| bad("the key header name"))?;
    let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad("the credential"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
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
            Err(why) => {
                let class = match why {
                    Failure::NotMade(_) | Failure::NotSent(_) => Class::Retry,
                    Failure::Lost(_) => Class::Unknown,
                };
                return failed(class, why.told(title));
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
        let got = outcome.map_err(|why| not(Class::Retry, false, why.told(title), None))?;
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

fn can_be_sent(token: Token) -> Result<Token, &'static str> {
    match HeaderValue::try_from(token.secret.expose()) {
        Ok(_) => Ok(token),
        Err(_) => Err("the answer has a token that cannot be sent in an HTTP header"),
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
    use std::sync::Arc;

    use model::directory::Settings;

    use super::*;
    use crate::{
        dial::{Dial, Unanswered, Way},
        foreign::Form,
        reach::Reach,
    };

    const WAYS: Ways = Ways {
        title: "Vendor",
        credentials: &["key", "secret"],
        secrets: &[("key", Place::KeyHeader), ("secret", Place::Body("secret"))],
        token: Some(Place::Bearer),
        words: &["problem"],
        refusal: Refusal {
            statuses: &[422],
            form: Form::Words("problem"),
        },
        gone: &[404],
    };

    /// Answers every call with this status, content type and body.
    struct Always(u16, &'static str, String);

    #[async_trait::async_trait]
    impl Dial for Always {
        async fn dial(&self, _: reqwest::Request) -> Result<reqwest::Response, Unanswered> {
            let answer = http::Response::builder().status(self.0);
            let answer = answer.header("content-type", self.1).body(self.2.clone());
            Ok(answer.unwrap().into())
        }
    }

    fn vendor(status: u16, content_type: &'static str, body: &str) -> HttpVendor {
        let way = Way::Simulated(Arc::new(Always(status, content_type, body.to_owned())));
        let reach = Reach::new(["http://vendor.example"]).unwrap();
        HttpVendor::new(VendorClient::new(reach).unwrap().over(way), &WAYS)
    }

    fn target(secret: &str) -> Target {
        let members = [("key", "key-of-the-vendor"), ("secret", secret)];
        let given = serde_json::to_value(std::collections::BTreeMap::from(members)).unwrap();
        let credentials: Credentials = serde_json::from_value(given).unwrap();
        Target {
            settings: Settings::new("http://vendor.example".to_owned()),
            credential: credentials.stored(WAYS.credentials),
            token: None,
        }
    }

    fn call() -> Call {
        Call {
            method: "POST".to_owned(),
            path: "/v1/leads".to_owned(),
            x_community_id: String::new(),
            body: serde_json::json!({}),
        }
    }

    fn given(_: &Call, _: &Got, body: Option<&Value>) -> Confirmation {
        match body {
            Some(_) => Confirmation::given(None),
            None => Confirmation::Lacking("no id"),
        }
    }

    #[tokio::test]
    async fn a_secret_that_the_vendor_repeats_is_in_no_word_of_the_answer() {
        let secret = "Zürich-\"geheim\"\\77";
        let json = serde_json::json!({ "problem": format!("the secret {secret} is wrong") });
        let ascii = r#"{"problem":"Z\u00fcrich-\u0022geheim\"\\77 is wrong"}"#;
        for (status, content_type, body) in [
            (422, "application/json", json.to_string().as_str()),
            (422, "application/json", ascii),
            (500, "application/json", ascii),
            (200, "text/html", &format!("<b>{secret}</b>")),
            (404, "text/html", "Z&#252;rich-&quot;geheim&quot;\\77"),
            (404, "text/key-of-the-vendor", "key-of-the-vendor"),
        ] {
            let http = vendor(status, content_type, body);
            let answer = http.deliver(&target(secret), &call(), given).await;
            let shown = format!("{:?} {:?}", answer.error, answer.reply);
            assert!(shown.contains("***"), "{shown}");
            for part in ["rich", "geheim", "key-of"] {
                assert!(!shown.contains(part), "{shown}");
            }
            let fetched = http.fetch(&target(secret), &call()).await;
            let shown = format!("{fetched:?}");
            assert!(!shown.contains("geheim"), "{shown}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_may_have_a_token_is_shown_to_nobody() {
        let read = |body: &Value| {
            Some(Token {
                secret: Secret::new(body["token"].as_str()?),
                lasts_ms: 1_000,
            })
        };
        let cut = r#"{"token":"a-token-of-the-vendor"#;
        let whole = r#"{"token":"a-token-of-the-vendor"}"#;
        let split = r#"{"token":"a-token-of\nthe-vendor"}"#;
        let told = r#"{"problem":"your token is a-token-of-the-vendor"}"#;
        for (content_type, body, error, shown) in [
            ("application/json", whole, None, "(a token)"),
            (
                "application/json",
                cut,
                Some("Vendor answered 200: the answer has no token"),
                "(not shown: it may have a token in it)",
            ),
            (
                "text/plain",
                "a-token-of-the-vendor",
                Some("Vendor answered 200: the answer has no token"),
                "(not shown: it may have a token in it)",
            ),
            (
                "application/json",
                told,
                Some("Vendor answered 200: the answer has no token"),
                "(not shown: it may have a token in it)",
            ),
            (
                "application/json",
                split,
                Some(
                    "Vendor answered 200: the answer has a token that cannot be sent in an HTTP header",
                ),
                "(not shown: it may have a token in it)",
            ),
        ] {
            let http = vendor(200, content_type, body);
            let (answer, token) = http.token_fetch(&target("secret"), &call(), read).await;
            assert_eq!(answer.error.as_deref(), error, "{body}");
            assert_eq!(answer.reply.body.as_deref(), Some(shown), "{body}");
            assert_eq!(token.is_some(), error.is_none(), "{body}");
        }
        // A refusal has none, and its words help.
        let http = vendor(422, "application/json", r#"{"problem":"who are you?"}"#);
        let (answer, token) = http.token_fetch(&target("secret"), &call(), read).await;
        assert_eq!(
            answer.error.as_deref(),
            Some("Vendor answered 422: who are you?")
        );
        assert!(token.is_none());
    }

    #[tokio::test]
    async fn a_secret_that_no_header_takes_is_no_fault_of_the_network() {
        let mut target = target("secret");
        target.token = Some(Secret::new("a\nb"));
        let answer = vendor(200, "application/json", "{}")
            .deliver(&target, &call(), given)
            .await;
        assert_eq!(answer.class, Class::Retry);
        assert_eq!(
            answer.error.as_deref(),
            Some(
                "No call to Vendor was made: the credential of the integration cannot be sent in an HTTP header"
            )
        );
    }
}
