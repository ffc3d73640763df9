//! What Knock's answers, and their absence, mean.
//!
//! Guarantee: only an answer that says so in Knock's own form counts as delivered, and only a refusal
//! in Knock's own form, which a repeat cannot mend, as rejected. Whenever Knock may hold the card and
//! has not said so, the outcome is unknown. Of activities and listings no source shows the answer:
//! there, any 2xx that is empty, or JSON without an error, says so (assumed).

use model::write::Call;
use serde_json::Value;

use crate::{
    foreign::{Form, Refusal},
    http_vendor::{Confirmation, Place, Ways, any_id},
    vendor_client::Got,
};

/// The member in which Knock says that something is wrong (its help articles say so).
const ERROR: &str = "errorMessage";

/// How Knock differs from other HTTP vendors. No source lists the statuses by which it refuses a call
/// for good, nor those that say that there is no such thing (any more): they are assumed.
pub const WAYS: Ways = Ways {
    title: "Knock",
    credentials: super::bodies::credentials::MEMBERS,
    secrets: &[("apiKey", Place::KeyHeader)],
    token: None,
    words: &[ERROR, "message"],
    refusal: Refusal {
        statuses: &[400, 404, 409, 410, 422],
        form: Form::Words(ERROR),
    },
    gone: &[404, 410],
};

/// What says that a call was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{"id":"123"}`.
    Prospect,
    /// `{"appointment":{"id","status":"CONFIRMED"}}`.
    Appointment,
    /// An id if there is one.
    Recorded,
}

impl Shape {
    fn of(call: &Call) -> Self {
        match call.path.as_str() {
            "/prospect" => Self::Prospect,
            "/appointment/request" => Self::Appointment,
            _ => Self::Recorded,
        }
    }
}

/// What a 2xx says of `call`.
pub fn confirmation(call: &Call, got: &Got, body: Option<&Value>) -> Confirmation {
    // In whatever form: it is no confirmation.
    if body
        .and_then(|body| body.get(ERROR))
        .is_some_and(|error| !error.is_null())
    {
        return Confirmation::Lacking("the answer is an error");
    }
    match Shape::of(call) {
        Shape::Prospect => match body.and_then(digits) {
            Some(x_id) => Confirmation::given(Some(x_id)),
            None => Confirmation::Lacking("the answer names no prospect id"),
        },
        Shape::Appointment => {
            let appointment = body.and_then(|body| body.get("appointment"));
            let status = appointment.and_then(|one| one.get("status")?.as_str());
            match (appointment.and_then(|one| any_id(one, "id")), status) {
                (Some(x_id), Some("CONFIRMED")) => Confirmation::given(Some(x_id)),
                (Some(_), Some(status)) => Confirmation::Refused(format!(
                    "Knock did not confirm the tour: its status is {}",
                    model::issue::cut(status)
                )),
                _ => Confirmation::Lacking("the answer names no appointment"),
            }
        }
        Shape::Recorded => match body {
            Some(body) if body.is_object() => Confirmation::given(any_id(body, "id")),
            _ if got.is_whole && got.body.is_empty() => Confirmation::given(None),
            _ => Confirmation::Lacking("the answer is not Knock's"),
        },
    }
}

/// The prospect id: a string of digits. A bare number is taken too, since JSON libraries change their minds.
fn digits(body: &Value) -> Option<String> {
    let id = any_id(body, "id")?;
    let is_digits = id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then_some(id)
}

#[cfg(test)]
mod tests {
    use model::write::Class;

    use super::*;
    use crate::{Answer, Fetched, vendor_client::Failure};

    fn classify(call: &Call, outcome: Result<Got, Failure>) -> Answer {
        WAYS.classify(outcome, |got, body| confirmation(call, got, body))
    }

    fn told(outcome: Result<Got, Failure>) -> Fetched<Value> {
        WAYS.fetched(outcome)
    }

    const PAGE: &str = "<html><h1>Not Found</h1></html>";

    fn got(status: u16, body: &str) -> Result<Got, Failure> {
        let is_page = body.starts_with('<');
        Ok(Got {
            status,
            body: body.as_bytes().to_vec(),
            is_whole: true,
            retry_after_s: None,
            content_type: if is_page {
                Some("text/html; charset=utf-8".to_owned())
            } else {
                body.starts_with('{').then(|| "application/json".to_owned())
            },
        })
    }

    fn call(path: &str) -> Call {
        Call {
            method: "POST".to_owned(),
            path: path.to_owned(),
            x_community_id: "c1".to_owned(),
            body: Value::Null,
        }
    }

    fn check(outcome: Result<Got, Failure>, class: Class, error: &str) {
        let answer = classify(&call("/prospect"), outcome);
        assert_eq!(
            (answer.class, answer.error.unwrap_or_default().as_str()),
            (class, error)
        );
    }

    #[test]
    fn every_kind_of_answer_has_its_class() {
        check(got(200, r#"{"id":"123"}"#), Class::Delivered, "");
        check(got(200, r#"{"id":123}"#), Class::Delivered, "");
        check(
            got(200, r#"{"id":"12a"}"#),
            Class::Unknown,
            "Knock answered 200: the answer names no prospect id",
        );
        check(
            got(200, ""),
            Class::Unknown,
            "Knock answered 200: the answer names no prospect id",
        );
        check(
            got(200, "{\"id\":"),
            Class::Unknown,
            "The answer 200 is not Knock's: the answer names no prospect id. \
             It was application/json: {\"id\":",
        );
        check(
            got(200, r#"{"errorMessage":"oops"}"#),
            Class::Unknown,
            "Knock answered 200: oops",
        );
        check(
            got(200, r#"{"id":"1","errorMessage":"oops"}"#),
            Class::Unknown,
            "Knock answered 200: oops",
        );
        check(
            got(400, r#"{"errorMessage":"Unknown source"}"#),
            Class::Rejected,
            "Knock answered 400: Unknown source",
        );
        check(
            got(403, r#"{"message":"Forbidden"}"#),
            Class::Unauthorized,
            "Knock answered 403: Forbidden",
        );
        check(
            got(302, ""),
            Class::Retry,
            "Knock answered 302: a redirect, which is not followed; check the integration's base url",
        );
        check(
            got(429, ""),
            Class::Retry,
            "Knock answered 429: try again later",
        );
        check(
            got(503, ""),
            Class::Retry,
            "Knock answered 503: try again later",
        );
        for status in [408, 425, 429] {
            let words = format!(
                "The answer {status} is not Knock's: try again later. \
                 It was text/html; charset=utf-8: {PAGE}"
            );
            check(got(status, PAGE), Class::Retry, &words);
        }
        check(
            got(500, ""),
            Class::Unknown,
            "Knock answered 500: no reason given",
        );
        check(
            got(502, ""),
            Class::Unknown,
            "Knock answered 502: no reason given",
        );
        check(
            Err(Failure::NotSent("refused".to_owned())),
            Class::Retry,
            "Knock could not be reached: refused",
        );
        check(
            Err(Failure::Lost("reset".to_owned())),
            Class::Unknown,
            "The connection to Knock ended without an answer: reset",
        );
    }

    /// Answers of a gateway, by status and body, and how they are classified, for every kind of call.
    #[test]
    fn a_gateway_is_not_knock() {
        let own = r#"{"errorMessage":"No such source"}"#;
        let json = r#"{"message":"Not Found"}"#;
        let cases = [
            (400, PAGE, Class::Retry),
            (404, PAGE, Class::Retry),
            (405, PAGE, Class::Retry),
            (407, PAGE, Class::Retry),
            (410, PAGE, Class::Retry),
            (413, PAGE, Class::Retry),
            (421, PAGE, Class::Retry),
            (451, PAGE, Class::Retry),
            (499, PAGE, Class::Retry),
            (400, "", Class::Retry),
            (404, "", Class::Retry),
            (410, "", Class::Retry),
            (400, "Bad Request", Class::Retry),
            (404, json, Class::Retry),
            (410, r#"{"errorMessage":null}"#, Class::Retry),
            (400, r#"{"error":{"errorMessage":"no"}}"#, Class::Retry),
            (400, r#"{"errorMessage":"cut"#, Class::Retry),
            (429, PAGE, Class::Retry),
            (503, PAGE, Class::Retry),
            (301, PAGE, Class::Retry),
            (302, own, Class::Retry),
            (401, PAGE, Class::Unauthorized),
            (401, "", Class::Unauthorized),
            (403, PAGE, Class::Unauthorized),
            (403, own, Class::Unauthorized),
            (500, PAGE, Class::Unknown),
            (502, PAGE, Class::Unknown),
            (504, "", Class::Unknown),
            (500, own, Class::Unknown),
            (200, PAGE, Class::Unknown),
            (200, json, Class::Unknown),
            (200, own, Class::Unknown),
            (204, PAGE, Class::Unknown),
            (400, own, Class::Rejected),
            (404, own, Class::Rejected),
            (410, own, Class::Rejected),
            (422, r#"{"errorMessage":["a","b"]}"#, Class::Retry),
        ];
        for path in ["/prospect", "/appointment/request", "/prospect/1/sms"] {
            for (status, body, class) in cases {
                if path.ends_with("sms") && (status, body) == (200, json) {
                    // Of an activity no form is known: any object without an error is an answer.
                    continue;
                }
                let answer = classify(&call(path), got(status, body));
                assert_eq!(answer.class, class, "{path} {status} {body}");
                let error = answer.error.unwrap_or_default();
                if body == PAGE {
                    assert!(
                        error.contains("text/html; charset=utf-8: <html>"),
                        "{error}"
                    );
                }
                if class == Class::Retry {
                    assert!(error.contains(&status.to_string()), "{error}");
                }
                assert_eq!(answer.reply.body.as_deref(), Some(body), "it is kept");
            }
        }
    }

    /// The statuses and the forms of a refusal, and those that only look like one.
    #[test]
    fn a_refusal_is_told_by_status_and_form() {
        const JSON: Option<&str> = Some("application/json");
        let own = r#"{"errorMessage":"No such source"}"#;
        let mut cases = Vec::new();
        for status in 400..500 {
            let class = match status {
                400 | 404 | 409 | 410 | 422 => Class::Rejected,
                401 | 403 => Class::Unauthorized,
                _ => Class::Retry,
            };
            cases.push((status, JSON, own.to_owned(), class));
        }
        for status in [400, 404, 409, 410, 422] {
            let problem = Some("application/problem+json; charset=utf-8");
            cases.push((status, problem, own.to_owned(), Class::Rejected));
            for other in [None, Some("text/html"), Some("text/plain")] {
                cases.push((status, other, own.to_owned(), Class::Retry));
            }
            for words in [
                "\"\"",
                "\"  \"",
                "7",
                "true",
                "[]",
                "{}",
                "null",
                "\"<html>\"",
            ] {
                let body = format!("{{\"errorMessage\":{words}}}");
                cases.push((status, JSON, body, Class::Retry));
            }
        }
        for (status, content_type, body, class) in cases {
            let outcome = || {
                Ok(Got {
                    status,
                    body: body.as_bytes().to_vec(),
                    is_whole: true,
                    retry_after_s: None,
                    content_type: content_type.map(str::to_owned),
                })
            };
            let what = format!("{status} {content_type:?} {body}");
            let answer = classify(&call("/prospect"), outcome());
            assert_eq!(answer.class, class, "{what}");
            let why = told(outcome()).unwrap_err();
            assert_eq!(why.class, class, "{what}");
            let is_gone = class == Class::Rejected && WAYS.gone.contains(&status);
            assert_eq!(why.is_gone, is_gone, "{what}");
            if class == Class::Retry && ![408, 425, 429].contains(&status) {
                let shown = format!("{}: {body}", content_type.unwrap_or("no content type"));
                for error in [answer.error.unwrap_or_default(), why.error] {
                    assert!(error.ends_with(&shown), "{what}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_foreign_answer_is_shown_as_far_as_it_helps() {
        let long = format!("<html>{}", "x".repeat(10_000));
        let answer = classify(&call("/prospect"), got(404, &long));
        let error = answer.error.unwrap_or_default();
        let shown = &long[..200];
        assert!(
            error.ends_with(&format!("text/html; charset=utf-8: {shown}")),
            "{error}"
        );
        assert!(error.contains("base url"), "{error}");
    }

    #[test]
    fn a_cut_answer_is_unknown_even_if_it_reads_well() {
        let cut = Got {
            status: 200,
            body: br#"{"id":"123"}"#.to_vec(),
            is_whole: false,
            retry_after_s: None,
            content_type: None,
        };
        assert_eq!(classify(&call("/prospect"), Ok(cut)).class, Class::Unknown);
    }

    #[test]
    fn a_retry_after_is_kept() {
        let slow = Got {
            status: 429,
            body: Vec::new(),
            is_whole: true,
            retry_after_s: Some(7),
            content_type: None,
        };
        assert_eq!(
            classify(&call("/prospect"), Ok(slow)).retry_after_ms,
            Some(7_000)
        );
    }

    #[test]
    fn a_tour_is_delivered_when_it_is_confirmed() {
        let check = |body: &str, class: Class, x_id: Option<&str>| {
            let answer = classify(&call("/appointment/request"), got(200, body));
            assert_eq!(
                (answer.class, answer.x_id.as_deref()),
                (class, x_id),
                "{body}"
            );
        };
        let confirmed = r#"{"appointment":{"id":"7","status":"CONFIRMED"}}"#;
        check(confirmed, Class::Delivered, Some("7"));
        let declined = r#"{"appointment":{"id":"7","status":"DECLINED"}}"#;
        check(declined, Class::Rejected, None);
        check(
            r#"{"appointment":{"status":"CONFIRMED"}}"#,
            Class::Unknown,
            None,
        );
        check(r#"{"id":"7"}"#, Class::Unknown, None);
        check("", Class::Unknown, None);
        check(r#"{"errorMessage":"no"}"#, Class::Unknown, None);
    }

    #[test]
    fn an_activity_or_a_listing_is_delivered_by_any_2xx_without_an_error() {
        let check = |body: &str, class: Class, x_id: Option<&str>| {
            for path in ["/prospect/1/sms", "/community/c1/listing"] {
                let answer = classify(&call(path), got(201, body));
                assert_eq!(
                    (answer.class, answer.x_id.as_deref()),
                    (class, x_id),
                    "{body}"
                );
            }
        };
        check(r#"{"id":"7"}"#, Class::Delivered, Some("7"));
        check(r#"{"ok":true}"#, Class::Delivered, None);
        check("", Class::Delivered, None);
        check("{", Class::Unknown, None);
        check("[1]", Class::Unknown, None);
        check(r#"{"errorMessage":"no"}"#, Class::Unknown, None);
    }

    #[test]
    fn a_question_has_an_answer_or_says_why_not() {
        let check = |outcome: Result<Got, Failure>, class: Class, is_gone: bool| {
            let why = told(outcome).unwrap_err();
            assert_eq!((why.class, why.is_gone), (class, is_gone), "{}", why.error);
        };
        assert!(told(got(200, "{}")).is_ok());
        check(got(200, "{"), Class::Retry, false);
        check(got(200, r#"{"errorMessage":"no"}"#), Class::Retry, false);
        let own = r#"{"errorMessage":"not found"}"#;
        check(got(404, own), Class::Rejected, true);
        check(got(410, own), Class::Rejected, true);
        check(got(400, own), Class::Rejected, false);
        check(got(409, own), Class::Rejected, false);
        for status in [400, 404, 405, 410] {
            for body in ["", PAGE, "gone", r#"{"message":"Not Found"}"#] {
                check(got(status, body), Class::Retry, false);
            }
        }
        check(got(200, PAGE), Class::Retry, false);
        check(got(302, PAGE), Class::Retry, false);
        check(got(502, PAGE), Class::Retry, false);
        check(got(401, PAGE), Class::Unauthorized, false);
        check(got(403, own), Class::Unauthorized, false);
        check(got(403, ""), Class::Unauthorized, false);
        check(got(429, ""), Class::Retry, false);
        check(got(503, ""), Class::Retry, false);
        check(Err(Failure::Lost("reset".to_owned())), Class::Retry, false);
    }
}
