//! What is watched of a connection while it is open: whether it waits for its caller, and whether the caller takes what it is sent.
//!
//! Guarantee: a caller that does not read its answer holds neither the connection nor the answer's memory for longer than named here.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::places::Place;

/// How long a caller may take nothing at all of what it is sent. One on a mobile line may be out of reach for some seconds.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a caller may take for all of it, once it keeps the server waiting. The longest page of a list takes that at 2 Mbit/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A request's body. When it has come to its end, nothing more is waited for.
pub(crate) struct Upload {
    body: Incoming,
    place: Arc<Place>,
}

impl Upload {
    pub(crate) fn new(body: Incoming, place: Arc<Place>) -> Self {
        if body.is_end_stream() {
            place.work();
        }
        Self { body, place }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.place.work();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. When all of it is handed over, it is the caller's turn.
pub(crate) struct Download {
    body: Body,
    place: Arc<Place>,
}

impl Download {
    pub(crate) fn new(body: Body, place: Arc<Place>) -> Self {
        Self { body, place }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.place.wait();
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

/// A stream whose writes fail when the other end does not take them in time.
pub(crate) struct Taken<S> {
    stream: S,
    /// Since when something could not be handed to the system; until all is.
    since: Option<Instant>,
    /// Runs while nothing at all is taken.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            since: None,
            until: None,
        }
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
        (self.since, self.until) = (None, None);
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
        let (mut near, begun) = (Taken::new(near), Instant::now());
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
}
