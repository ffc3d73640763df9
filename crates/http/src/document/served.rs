//! The OpenAPI document as it is served.
//!
//! Guarantee: it is written and compressed once, and who has it already is sent nothing.

use std::io::Write as _;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes of the digest that tell one document from another.
const TAG_BYTES: usize = 16;

/// One of its forms.
struct Form {
    bytes: Bytes,
    tag: HeaderValue,
}

/// The document, plain and compressed.
pub struct Served {
    plain: Form,
    gzip: Form,
}

impl Served {
    /// Writes `document` down.
    ///
    /// # Errors
    /// In words, when that cannot be done.
    pub fn new(document: &Value) -> Result<Self, String> {
        let told = |why: &dyn std::fmt::Display| format!("the document cannot be written: {why}");
        let plain = serde_json::to_vec(document).map_err(|why| told(&why))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain).map_err(|why| told(&why))?;
        let gzip = encoder.finish().map_err(|why| told(&why))?;
        let digest = Sha256::digest(&plain);
        let digest = model::hex::encode(&digest[..TAG_BYTES]);
        let form = |bytes: Vec<u8>, end: &str| {
            let tag = HeaderValue::try_from(format!("\"{digest}{end}\""));
            Ok::<_, String>(Form {
                bytes: bytes.into(),
                tag: tag.map_err(|why| told(&why))?,
            })
        };
        Ok(Self {
            plain: form(plain, "")?,
            gzip: form(gzip, "-gzip")?,
        })
    }

    /// The answer to a request with these headers.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let is_compressed = takes_gzip(headers);
        let form = if is_compressed {
            &self.gzip
        } else {
            &self.plain
        };
        let of_all = [
            (header::ETAG, form.tag.clone()),
            // It may be kept, and is asked for again before it is used.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, of_all).into_response();
        }
        let mut response = (of_all, Body::from(form.bytes.clone())).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if is_compressed {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
        }
        response
    }

    /// Whether the caller has it, in either form.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        listed(headers, &header::IF_NONE_MATCH).any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag).as_bytes();
            tag == b"*" || tag == self.plain.tag.as_bytes() || tag == self.gzip.tag.as_bytes()
        })
    }
}

/// The values of a header that is a list. No value here has a comma in it.
fn listed<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let all = headers.get_all(name).into_iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether a caller takes answers that are compressed with gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let weight = |coding: &str| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        (name, weight.map_or(Some(1.0), |weight| weight.parse().ok()))
    };
    let codings: Vec<(String, Option<f32>)> = listed(headers, &header::ACCEPT_ENCODING)
        .map(weight)
        .collect();
    let of = |wanted: &[&str]| {
        let found = codings.iter().find(|(name, _)| wanted.contains(&&**name));
        found.map(|(_, weight)| weight.is_some_and(|weight| weight > 0.0))
    };
    of(&["gzip", "x-gzip"])
        .or_else(|| of(&["*"]))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    async fn answer(served: &Served, headers: &[(&str, &str)]) -> (Response<()>, Vec<u8>) {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().unwrap();
            all.append(name, value.parse().unwrap());
        }
        let (parts, body) = served.answer(&all).into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn the_document_is_sent_once_and_compressed_to_who_takes_that() {
        let document = json!({ "paths": "/a".repeat(5_000) });
        let served = Served::new(&document).unwrap();
        for (accepted, is_compressed) in [
            (None, false),
            (Some("gzip"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("*"), true),
            (Some("gzip;q=0, *"), false),
            (Some("gzip; q=0.0"), false),
            (Some("gzip;q=x"), false),
            (Some("br, identity"), false),
        ] {
            let headers: Vec<_> = accepted
                .map(|one| ("accept-encoding", one))
                .into_iter()
                .collect();
            let (response, body) = answer(&served, &headers).await;
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()["vary"], "accept-encoding");
            let encoding = response.headers().get("content-encoding");
            assert_eq!(encoding.is_some(), is_compressed, "{accepted:?}");
            let mut plain = Vec::new();
            if is_compressed {
                assert!(body.len() < 1_000, "{}", body.len());
                let mut decoder = flate2::read::GzDecoder::new(&*body);
                decoder.read_to_end(&mut plain).unwrap();
            } else {
                plain = body;
            }
            assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap(), document);
            // Whoever has it is sent nothing.
            let tag = response.headers()["etag"].to_str().unwrap();
            let weak = format!("\"other\", W/{tag}");
            for known in [tag, &weak, "*"] {
                let mut again = headers.clone();
                again.push(("if-none-match", known));
                let (response, body) = answer(&served, &again).await;
                assert_eq!(
                    (response.status().as_u16(), body.len()),
                    (304, 0),
                    "{known}"
                );
                assert_eq!(response.headers()["etag"], tag);
            }
            let mut again = headers.clone();
            again.push(("if-none-match", "\"other\""));
            assert_eq!(answer(&served, &again).await.0.status(), 200);
        }
        let other = Served::new(&json!({})).unwrap();
        assert_ne!(other.plain.tag, served.plain.tag);
    }
}
