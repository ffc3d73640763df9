//! The server: bounds, keep-alive, stopping, and who may use the control surface.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::{KEY, ann, lead, read_some, read_to_end, start, write_all};
use crate::sandbox::{BODY_MAX_BYTES, control};

#[tokio::test]
async fn a_body_above_the_bound_is_refused() {
    let sandbox = start().await;
    let fitting = lead(json!({ "email": "a@x.org", "message": "m".repeat(BODY_MAX_BYTES - 200) }));
    sandbox.post(&fitting).await.id();
    let too_large = lead(json!({ "email": "b@x.org", "message": "m".repeat(BODY_MAX_BYTES) }));
    // Either the answer arrives or the connection breaks first, as the rest of the body is not read.
    if let Ok(answer) = sandbox.try_post(&too_large).await {
        assert_eq!(answer.status, 400);
    }
    assert_eq!(sandbox.sandbox.counts().prospects, 1);
    assert_eq!(sandbox.sandbox.counts().requests, 2);
}

#[tokio::test]
async fn a_connection_is_kept_for_further_calls() {
    let sandbox = start().await;
    let stream = TcpStream::connect(sandbox.address).await.unwrap();
    let body = ann().to_string();
    let length = body.len();
    let request = format!(
        "POST /prospect HTTP/1.1\r\nhost: t\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    for _ in 0..3 {
        write_all(&stream, request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        read_some(&stream, &mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(sandbox.sandbox.counts().updates, 2);
}

#[tokio::test]
async fn a_call_cut_off_in_its_body_is_no_call() {
    let sandbox = start().await;
    let stream = TcpStream::connect(sandbox.address).await.unwrap();
    let head =
        format!("POST /prospect HTTP/1.1\r\nx-api-key: {KEY}\r\ncontent-length: 900\r\n\r\n{{");
    write_all(&stream, head.as_bytes()).await.unwrap();
    let stream = stream.into_std().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let stream = TcpStream::from_std(stream).unwrap();
    let mut rest = Vec::new();
    let _ = read_to_end(&stream, &mut rest).await;
    assert_eq!(rest, b"");
    assert_eq!(sandbox.sandbox.counts().requests, 0);
}

#[tokio::test]
async fn a_stop_frees_the_port_and_does_not_wait_for_held_calls() {
    let sandbox = start().await;
    let address = sandbox.address;
    let idle = TcpStream::connect(address).await.unwrap();
    sandbox
        .arrange(json!({ "kind": "timeout_after_store" }))
        .await;
    let held = TcpStream::connect(address).await.unwrap();
    let body = ann().to_string();
    let length = body.len();
    let request = format!(
        "POST /prospect HTTP/1.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    write_all(&held, request.as_bytes()).await.unwrap();
    while sandbox.sandbox.counts().prospects == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    sandbox.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    TcpListener::bind(address).await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn the_control_surface_is_for_loopback_only() {
    let sandbox = start().await;
    let (parts, ()) = Request::builder()
        .uri("/_sandbox/counts")
        .body(())
        .unwrap()
        .into_parts();
    let status = |from_loopback| {
        let body = Ok(bytes::Bytes::new());
        control::answer(&sandbox.sandbox, &parts, "/counts", body, from_loopback).status
    };
    assert_eq!(status(true), 200);
    assert_eq!(status(false), 403);
    let check = |ip: &str, expected: bool| {
        assert_eq!(
            crate::sandbox::server::is_loopback(ip.parse().unwrap()),
            expected,
            "{ip}"
        );
    };
    check("127.0.0.1", true);
    check("127.8.0.1", true);
    check("::1", true);
    check("::ffff:127.0.0.1", true);
    check("192.0.2.1", false);
    check("::ffff:192.0.2.1", false);
    check("fe80::1", false);
}

#[tokio::test]
async fn many_calls_at_once_make_one_card_each() {
    let sandbox = std::sync::Arc::new(start().await);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100 {
        let sandbox = sandbox.clone();
        calls.spawn(async move {
            let email = format!("{}@x.org", n % 20);
            sandbox.post(&lead(json!({ "email": email }))).await.id()
        });
    }
    let ids: std::collections::HashSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 20);
    let counts = sandbox.sandbox.counts();
    assert_eq!(
        (counts.prospects, counts.updates, counts.requests),
        (20, 80, 100)
    );
    assert_eq!(
        sandbox.control_get("/requests").await["requests"][99]["status"],
        Value::from(200)
    );
}

#[tokio::test]
async fn a_web_page_neither_drives_a_sandbox_nor_reads_it() {
    let sandbox = start().await;
    sandbox.post(&ann()).await.id();
    let fault = json!({ "kind": "status", "status": 500 }).to_string();
    let card = ann().to_string();
    let json = ("content-type", "application/json");
    let key = ("x-api-key", KEY);
    let from = ("origin", "https://evil.example");
    let rebound = ("host", "evil.example");
    for (method, path, headers, body, status) in [
        ("POST", "/_sandbox/faults", &[from, json][..], &*fault, 403),
        (
            "POST",
            "/_sandbox/faults",
            &[("content-type", "text/plain")],
            &fault,
            415,
        ),
        ("POST", "/_sandbox/reset", &[from], "", 403),
        (
            "POST",
            "/_sandbox/reset",
            &[("sec-fetch-site", "cross-site")],
            "",
            403,
        ),
        ("POST", "/_sandbox/reset", &[rebound], "", 421),
        ("GET", "/_sandbox/state", &[rebound], "", 421),
        ("POST", "/prospect", &[rebound, key, json], &card, 421),
        ("POST", "/prospect", &[from, key, json], &card, 403),
        (
            "POST",
            "/prospect",
            &[key, ("content-type", "text/plain")],
            &card,
            415,
        ),
    ] {
        let answer = sandbox.send(method, path, headers, body).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        assert!(!answer.body.contains("ann@"), "{}", answer.body);
    }
    let counts = sandbox.sandbox.counts();
    assert_eq!((counts.prospects, counts.requests), (1, 1));
    sandbox.post(&ann()).await.id();
}
