//! The page that shows the OpenAPI document: Swagger UI, from the program itself.
//!
//! Guarantee: the page loads nothing from elsewhere, and tells no other site of the document.

use std::{io::Read as _, sync::OnceLock};

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::read::GzDecoder;

use crate::{document::served::takes_gzip, error::Error};

/// A file of the page, compressed.
struct File {
    name: &'static str,
    kind: &'static str,
    gzip: &'static [u8],
    /// The file as it is: unpacked for the first caller that takes nothing packed.
    plain: OnceLock<Bytes>,
}

/// The file of this name, which the build script has compressed.
macro_rules! file {
    ($name:literal, $kind:literal) => {
        File {
            name: $name,
            kind: $kind,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            plain: OnceLock::new(),
        }
    };
}

static FILES: [File; 7] = [
    file!("index.html", "text/html; charset=utf-8"),
    file!("index.css", "text/css"),
    file!("swagger-ui.css", "text/css"),
    file!("swagger-ui-bundle.js", "text/javascript"),
    file!("swagger-ui-standalone-preset.js", "text/javascript"),
    file!("favicon-16x16.png", "image/png"),
    file!("favicon-32x32.png", "image/png"),
];

/// The script that starts Swagger UI. `none`: no other site is asked what it thinks of the document.
const INITIALIZER: &str = r##"window.onload = () => {
  window.ui = SwaggerUIBundle({
    "dom_id": "#swagger-ui",
    "url": "/openapi.json",
    "deepLinking": true,
    "validatorUrl": "none",
    "layout": "StandaloneLayout",
    "presets": [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    "plugins": [SwaggerUIBundle.plugins.DownloadUrl],
  });
};
"##;

/// The routes of the page.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(async || Redirect::to("/docs/")))
        .route(
            "/docs/",
            get(async |headers: HeaderMap| file("index.html", &headers)),
        )
        .route(
            "/docs/{file}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    if name == "swagger-initializer.js" {
        let kind = [(header::CONTENT_TYPE, "text/javascript")];
        return (kind, INITIALIZER).into_response();
    }
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Error::no_route().into_response();
    };
    let of_all = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if takes_gzip(headers) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        return (of_all, encoding, Bytes::from_static(file.gzip)).into_response();
    }
    if let Some(plain) = file.plain.get() {
        return (of_all, plain.clone()).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(file.gzip).read_to_end(&mut plain) {
        Ok(_) => {
            let plain = file.plain.get_or_init(|| plain.into());
            (of_all, plain.clone()).into_response()
        }
        Err(why) => Error::internal(format_args!(
            "a file of the API page cannot be unpacked: {why}"
        ))
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_sent_packed_and_plain() {
        let mut packed = HeaderMap::new();
        packed.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for one in &FILES {
            let plain = file(one.name, &HeaderMap::new());
            assert_eq!(plain.status(), 200, "{}", one.name);
            assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
            let packed = file(one.name, &packed);
            assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
            assert_eq!(packed.headers()[header::CONTENT_TYPE], one.kind);
        }
        assert_eq!(file("nothing.js", &packed).status(), 404);
    }
}
