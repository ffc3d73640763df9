//! Answers that come before all of a body was sent, read by the caller that still sends, from the
//! real binary.
//!
//! Goal: whoever sends what is refused can read why, and whoever never makes an end is let go of.
//! Method: callers that send far more than the system keeps between two processes, all of it before
//! they read.

use crate::support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

use support::{Caller, PATIENCE, Stage, in_parallel};

const MEBIBYTE: usize = 1 << 20;

/// Bytes of a body: more than the system keeps for a connection, less than the server reads on.
const LARGE: usize = 40 * MEBIBYTE;

/// Bytes that the system may keep for a connection, at both ends.
const KEPT_BYTES: usize = 32 * MEBIBYTE;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// The head of a request.
fn head(line: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nhost: portico\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// An answer's head and its body, read by its length.
fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("its body");
    (head, String::from_utf8(body).expect("text"))
}

/// Checks that the answer says that the connection is closed behind it, and says nothing else.
fn is_last(told: &str) {
    assert!(told.contains("\r\nconnection: close\r\n"), "{told}");
    assert_eq!(told.matches("\r\nconnection: ").count(), 1, "{told}");
    assert!(!told.contains("\r\nkeep-alive: "), "{told}");
}

/// Requests that are refused before their body is read, or while it is: what is refused, the head,
/// and the code in the answer.
fn refused(caller: &Caller, length: usize) -> Vec<(&'static str, String, &'static str)> {
    let bearer = caller.bearer();
    let length = length.to_string();
    let path = "POST /crm/v1/prospects/knock";
    let json = ("content-type", "application/json");
    let authorized = ("authorization", bearer.as_str());
    let announced = ("content-length", length.as_str());
    let chunked = ("transfer-encoding", "chunked");
    let encoded = ("content-encoding", "gzip");
    vec![
        (
            "413",
            head(path, &[authorized, json, announced]),
            "payload_too_large",
        ),
        (
            "413",
            head(path, &[authorized, json, chunked]),
            "payload_too_large",
        ),
        ("401", head(path, &[json, announced]), "unauthorized"),
        ("401", head(path, &[json, chunked]), "unauthorized"),
        (
            "404",
            head("POST /crm/v1/nothing", &[authorized, json, announced]),
            "not_found",
        ),
        (
            "405",
            head(
                "PUT /crm/v1/prospects/knock",
                &[authorized, json, announced],
            ),
            "method_not_allowed",
        ),
        (
            "415",
            head(path, &[authorized, announced]),
            "unsupported_media_type",
        ),
        (
            "415",
            head(path, &[authorized, json, encoded, announced]),
            "unsupported_media_type",
        ),
        (
            "400",
            head("POST /healthz", &[("host", "other"), announced]),
            "invalid_request",
        ),
    ]
}

/// So many bytes, as the head says that they come.
fn body(head: &str, bytes: usize) -> Vec<u8> {
    let text = vec![b' '; bytes];
    if head.contains("chunked") {
        let mut chunks = Vec::new();
        for part in text.chunks(MEBIBYTE) {
            chunks.extend(format!("{:x}\r\n", part.len()).bytes());
            chunks.extend(part);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        return chunks;
    }
    text
}

#[test]
fn an_answer_is_read_by_a_caller_that_sends_all_of_a_large_body_first() {
    let stage = Stage::set();
    let caller = stage.caller();
    let cases = refused(&caller, LARGE);
    in_parallel(&cases, 3, |_, (status, head, code)| {
        let mut stream = connect(&caller.address);
        stream.write_all(head.as_bytes()).expect("sent");
        stream
            .write_all(&body(head, LARGE))
            .unwrap_or_else(|why| panic!("{status}: {why}"));
        let (told, text) = answer(&mut stream);
        assert!(
            told.starts_with(&format!("http/1.1 {status} ")),
            "{head}: {told}"
        );
        assert!(text.contains(&format!("\"{code}\"")), "{head}: {text}");
        is_last(&told);
        let end = stream.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "{status}: {end:?}");
    });
    // A head that is too long is answered likewise.
    let mut stream = connect(&caller.address);
    let long = format!(
        "GET /healthz HTTP/1.1\r\nhost: portico\r\nx: {}\r\n\r\n",
        "y".repeat(LARGE)
    );
    stream.write_all(long.as_bytes()).expect("sent");
    let (told, _) = answer(&mut stream);
    assert!(told.starts_with("http/1.1 431 "), "{told}");
}

#[test]
fn a_connection_is_used_again_where_little_of_a_body_was_left() {
    let stage = Stage::set();
    let caller = stage.caller();
    let bytes = 200 * 1_024;
    // What is within the bounds is not too large.
    let mut cases = refused(&caller, bytes);
    // It is not known how much of a chunked body is left.
    cases.retain(|(status, head, _)| *status != "413" && !head.contains("chunked"));
    for (status, head, code) in &cases {
        let mut stream = connect(&caller.address);
        let body = body(head, bytes);
        let (first, second) = body.split_at(body.len() / 2);
        for round in 0..3 {
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(first).expect("sent");
            let (told, text) = answer(&mut stream);
            assert!(
                told.starts_with(&format!("http/1.1 {status} ")),
                "{head}: {told}"
            );
            assert!(text.contains(&format!("\"{code}\"")), "{head}: {text}");
            assert!(told.contains("\r\nkeep-alive: timeout=75\r\n"), "{told}");
            // The answer came before the end of the body.
            stream
                .write_all(second)
                .unwrap_or_else(|why| panic!("{status}, round {round}: {why}"));
        }
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: portico\r\n\r\n")
            .expect("sent");
        let (told, _) = answer(&mut stream);
        assert!(told.starts_with("http/1.1 200 "), "{head}: {told}");
    }
    // A caller that waits for `100 Continue` is not made to send.
    let mut stream = connect(&caller.address);
    let expects = [("content-length", "1000"), ("expect", "100-continue")];
    let head = head("POST /crm/v1/prospects/knock", &expects);
    stream.write_all(head.as_bytes()).expect("sent");
    let (told, _) = answer(&mut stream);
    assert!(told.starts_with("http/1.1 401 "), "{told}");
    assert!(told.contains("\r\nconnection: close\r\n"), "{told}");
    stream.shutdown(Shutdown::Write).expect("shut");
    assert!(matches!(stream.read(&mut [0]), Ok(0)));
}

#[test]
fn an_answer_says_that_the_connection_ends_where_a_chunked_body_is_not_read() {
    let stage = Stage::set();
    let caller = stage.caller();
    let mut cases = refused(&caller, 600_000);
    cases.retain(|(_, head, _)| head.contains("chunked"));
    for (status, head, _) in &cases {
        let mut stream = connect(&caller.address);
        let body = body(head, 600_000);
        stream.write_all(head.as_bytes()).expect("sent");
        // The end is still to come when the answer is there.
        stream.write_all(&body[..body.len() - 5]).expect("sent");
        let (told, _) = answer(&mut stream);
        assert!(
            told.starts_with(&format!("http/1.1 {status} ")),
            "{head}: {told}"
        );
        is_last(&told);
        assert!(matches!(stream.read(&mut [0]), Ok(0)), "{head}");
    }
    // One that is read to its end leaves the connection open.
    let mut stream = connect(&caller.address);
    let bearer = caller.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
    ];
    let request = head("POST /crm/v1/prospects/knock", &headers) + "1\r\n{\r\n0\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).expect("sent");
        let (told, _) = answer(&mut stream);
        assert!(told.starts_with("http/1.1 400 "), "{told}");
        assert!(!told.contains("\r\nconnection: "), "{told}");
    }
    // Of two lengths, one may be an attacker's.
    let lengths = [("content-length", "5"), ("transfer-encoding", "chunked")];
    for order in [[0, 1], [1, 0]] {
        let mut stream = connect(&caller.address);
        let request = head("GET /healthz", &order.map(|at| lengths[at])) + "0\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let (told, _) = answer(&mut stream);
        is_last(&told);
    }
}

#[test]
fn a_caller_that_never_makes_an_end_is_let_go_of() {
    let stage = Stage::set();
    let caller = stage.caller();
    let cases = refused(&caller, 1 << 40);
    // As fast as it can: the bound of bytes ends it. The bound of time ends slow ones, in `hostile`.
    in_parallel(&[(); 2], 2, |_, ()| {
        let (_, head, _) = &cases[0];
        let mut stream = connect(&caller.address);
        stream.write_all(head.as_bytes()).expect("sent");
        let (told, _) = answer(&mut stream);
        assert!(told.starts_with("http/1.1 413 "), "{told}");
        let part = vec![b' '; MEBIBYTE];
        let mut taken = 0;
        let why = loop {
            match stream.write(&part) {
                Ok(bytes) => taken += bytes,
                Err(why) => break why,
            }
            let most = listener::LINGER_MAX_BYTES + KEPT_BYTES;
            assert!(taken <= most, "{taken} bytes");
        };
        let is_end = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&why.kind());
        assert!(is_end, "{why} after {taken} bytes");
    });
    assert_eq!(caller.get("/readyz")["status"], "ok");
}
