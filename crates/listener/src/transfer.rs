//! Watches a connection while it is open: whether it waits for its caller, whether the
//! caller sends a head in time, and whether it takes what it is sent.
//!
//! Guarantee: a caller that does not read its answer holds neither the connection nor the answer's
//! memory for longer than named here. One that is answered before all of its body was read can read
//! the answer: the rest is read on and dropped, within bounds.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::watch,
    time::{Instant, Sleep, sleep_until, timeout, timeout_at},
};

use crate::slots::Slot;

/// How long a request's head may take to arrive, counted from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a caller may take nothing at all of what it is sent. One on a mobile line may be out of reach for some seconds.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a caller may take for all of it, once it keeps the server waiting. The longest page of a list takes that at 2 Mbit/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of a body that nobody wants which are read so that the connection can be used again: to
/// read them costs less than a new connection. As much as the body of a write may have.
const REST_MAX_BYTES: u64 = 256 * 1_024;

/// How long these bytes may take.
const REST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are read and dropped of a caller that has its last answer and still sends. A
/// connection that is closed with bytes unread is reset, and the caller's system then throws the
/// answer away. Callers send some megabytes by mistake.
pub const LINGER_MAX_BYTES: usize = 64 * 1_024 * 1_024;

/// How long such a caller is listened to, in all and without a byte. A body of 30 MB takes that at
/// 8 Mbit/s.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);
const LINGER_PAUSE: Duration = Duration::from_secs(5);

/// Bytes that are dropped at once.
const LINGER_PART_BYTES: usize = 64 * 1_024;

/// Where a body goes that was not read to its end.
#[derive(Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    pub(crate) fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body. When it has come to its end, nothing more is waited for.
pub(crate) struct Upload {
    body: Option<Incoming>,
    slot: Arc<Slot>,
    rest: Option<Rest>,
}

impl Upload {
    /// The body, and where what is not read of it will be.
    pub(crate) fn new(body: Incoming, slot: Arc<Slot>) -> (Self, Option<Rest>) {
        let rest = (!body.is_end_stream()).then(Rest::default);
        if rest.is_none() {
            slot.work();
        }
        let body = Self {
            body: Some(body),
            slot,
            rest: rest.clone(),
        };
        (body, rest)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(body), Some(rest)) = (self.body.take(), &self.rest)
            && !body.is_end_stream()
        {
            *rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        let is_over = frame.is_none() || body.is_end_stream();
        if is_over {
            self.slot.work();
        }
        match frame {
            None => self.body = None,
            Some(Err(_)) => {
                // Nobody knows where the next request would begin.
                self.slot.cut();
                self.body = None;
            }
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// True if it is known that so little of a body is left that it is read to keep the connection.
/// The length of a chunked body is not known.
pub(crate) fn is_worth_reading(rest: &Incoming) -> bool {
    rest.size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= REST_MAX_BYTES)
}

/// Reads the rest of a body that nobody wants, so that the next request can come.
async fn read_on(mut rest: Incoming, slot: Arc<Slot>, mut stopped: watch::Receiver<bool>) {
    let all = async {
        let mut left = REST_MAX_BYTES;
        while let Some(frame) = rest.frame().await {
            let bytes = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(bytes as u64)?;
        }
        Some(())
    };
    let is_read = tokio::select! {
        read = timeout(REST_TIMEOUT, all) => matches!(read, Ok(Some(()))),
        _ = stopped.changed() => false,
    };
    if !is_read {
        slot.cut();
    }
}

/// Reads and drops what a caller still sends after its last answer, until it makes an end or has
/// had its time.
pub(crate) async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // The caller sees the end of the answer.
    let _ = stream.shutdown().await;
    let until = Instant::now() + LINGER_TIMEOUT;
    let (mut part, mut left) = (vec![0; LINGER_PART_BYTES], LINGER_MAX_BYTES);
    while left > 0 {
        let pause = until.min(Instant::now() + LINGER_PAUSE);
        match timeout_at(pause, stream.read(&mut part)).await {
            Ok(Ok(bytes)) if bytes > 0 => left = left.saturating_sub(bytes),
            _ => return,
        }
    }
}

/// An answer's body. When all of it is handed over, it is the caller's turn.
pub(crate) struct Download {
    body: Body,
    slot: Arc<Slot>,
    /// The part of the request's body that was not read, and word that the server stops.
    rest: Option<(Incoming, watch::Receiver<bool>)>,
}

impl Download {
    pub(crate) fn new(
        body: Body,
        slot: Arc<Slot>,
        rest: Option<(Incoming, watch::Receiver<bool>)>,
    ) -> Self {
        Self { body, slot, rest }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.slot.wait();
        // Not before: to read from a body asks a caller for it that waits for `100 Continue`.
        if let Some((rest, stopped)) = self.rest.take() {
            tokio::spawn(read_on(rest, self.slot.clone(), stopped));
        }
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reads fail when a head does not come in time, and whose writes fail when the
/// other end does not take them in time.
pub(crate) struct Taken<S> {
    stream: S,
    slot: Arc<Slot>,
    /// When the first byte of a head came, and behind how many requests and answers.
    head: Option<(u64, Instant)>,
    /// Runs while a head is not whole.
    head_until: Option<Pin<Box<Sleep>>>,
    /// Since when something could not be handed to the system; until all is.
    since: Option<Instant>,
    /// Runs while nothing at all is taken.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    pub(crate) fn new(stream: S, slot: Arc<Slot>) -> Self {
        Self {
            stream,
            slot,
            head: None,
            head_until: None,
            since: None,
            until: None,
        }
    }

    /// The stream, unwatched.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Fails when the head that has begun is not whole in time.
    fn head_timed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begun = self.head.filter(|(steps, _)| *steps == self.slot.steps());
        let Some((_, since)) = begun else {
            (self.head, self.head_until) = (None, None);
            return Poll::Pending;
        };
        let until = self
            .head_until
            .get_or_insert_with(|| Box::pin(sleep_until(since + HEAD_TIMEOUT)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn timed(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let now = Instant::now();
        if self.since.is_none() {
            self.slot.set_taking(true);
        }
        let since = *self.since.get_or_insert(now);
        let until = self.until.get_or_insert_with(|| {
            let until = (now + STALL_TIMEOUT).min(since + ANSWER_TIMEOUT);
            Box::pin(sleep_until(until))
        });
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            return self.head_timed(context);
        }
        let steps = self.slot.steps();
        let is_first = self.head.is_none_or(|(known, _)| known != steps);
        if is_first && !self.slot.has_request() && buffer.filled().len() > before {
            (self.head, self.head_until) = (Some((steps, Instant::now())), None);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.timed(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever writes here flushes when all is written.
        if self.since.take().is_some() {
            self.until = None;
            self.slot.set_taking(false);
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::slots::{Origin, Slots};

    async fn slot() -> Arc<Slot> {
        let origin = Origin::new([127, 0, 0, 1].into(), false);
        Slots::new(1, 1).take(origin).await.expect("a slot")
    }

    /// A byte each ten seconds: `heads` whole heads of so many bytes, then one without end. Says
    /// how many bytes were read.
    async fn check_head(heads: usize, bytes: usize, expected: usize) {
        let (near, mut far) = tokio::io::duplex(100);
        tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
        let slot = slot().await;
        let (mut near, mut read) = (Taken::new(near, slot.clone()), 0);
        for _ in 0..heads {
            near.read_exact(&mut vec![0; bytes]).await.expect("in time");
            read += bytes;
            slot.asked();
            slot.wait();
        }
        let why = loop {
            match near.read_u8().await {
                Ok(_) => read += 1,
                Err(why) => break why,
            }
        };
        assert_eq!(why.kind(), io::ErrorKind::TimedOut);
        assert_eq!(read, expected, "{heads} heads of {bytes}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_in_time_is_given_up() {
        check_head(0, 0, 2).await;
        check_head(5, 2, 12).await;
        check_head(7, 1, 9).await;
    }

    /// The time that passes until writing `bytes` to a pipe of 100 bytes fails or succeeds, when the other end takes `taken` bytes each ten seconds.
    async fn check(bytes: usize, taken: usize, expected: Result<u64, u64>) {
        let (near, mut far) = tokio::io::duplex(100);
        tokio::spawn(async move {
            let mut buffer = vec![0; taken];
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                if taken > 0 && far.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let (mut near, begun) = (Taken::new(near, slot().await), Instant::now());
        let bytes = vec![0; bytes];
        let written = async {
            near.write_all(&bytes).await?;
            near.flush().await
        };
        let outcome = written.await.map_err(|why| {
            assert_eq!(why.kind(), io::ErrorKind::TimedOut);
            begun.elapsed().as_secs()
        });
        let outcome = outcome.map(|()| begun.elapsed().as_secs());
        assert_eq!(outcome, expected, "{taken} taken");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_in_time_is_given_up() {
        check(100, 0, Ok(0)).await;
        check(101, 0, Err(15)).await;
        check(200, 50, Ok(20)).await;
        // It takes something each time, and would go on so for hours.
        check(100_000, 50, Err(120)).await;
    }

    /// What a caller could send after its last answer, and the seconds until it is let go of. It sends
    /// `part` bytes each `pause_ms`, for ever.
    async fn check_linger(part: usize, pause_ms: u64) -> (usize, u64) {
        let (near, mut far) = tokio::io::duplex(LINGER_PART_BYTES);
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            let (part, mut sent) = (vec![b' '; part], 0);
            while let Ok(bytes) = far.write(&part).await {
                sent += bytes;
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            sent
        });
        linger(near).await;
        let seconds = begun.elapsed().as_secs();
        (sending.await.expect("no panic"), seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_sends_without_end_is_let_go_of() {
        let (sent, seconds) = check_linger(1_024, 50).await;
        assert_eq!(seconds, LINGER_TIMEOUT.as_secs());
        assert!(sent >= 29 * 20 * 1_024, "{sent} bytes");
        // Too few to keep it waiting.
        assert_eq!(check_linger(1_024, 60_000).await.1, LINGER_PAUSE.as_secs());
        // As fast as it can.
        let (sent, seconds) = check_linger(LINGER_PART_BYTES, 0).await;
        assert!(seconds < LINGER_TIMEOUT.as_secs(), "{seconds}");
        let most = LINGER_MAX_BYTES + LINGER_PART_BYTES;
        assert!((LINGER_MAX_BYTES..=most).contains(&sent), "{sent} bytes");
    }
}
