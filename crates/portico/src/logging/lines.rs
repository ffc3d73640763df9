//! Log lines on their way to stderr: a bounded queue, and one thread that writes.
//!
//! Guarantee: to log never blocks, fails or panics, whatever stderr is; each line that cannot be
//! written is counted, and the log says so when lines can be written again.

use std::{
    borrow::Cow,
    collections::VecDeque,
    io::{ErrorKind, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use model::text::{escaped, is_control};

/// Bytes of lines that wait at most: some 5,000 lines, which a reader that pauses for seconds
/// catches up with, and which a process can spare.
const QUEUE_MAX_BYTES: usize = 1_024 * 1_024;

/// How long a flush waits for the next line to be written. A pipe that takes no line for so long
/// has no reader, and a stop does not wait for it.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How long a flush takes at most, be the reader slow but alive.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait before a stderr that does not block is tried again. It is somebody else's
/// terminal or pipe as a rule, whose mode is not ours to change.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<[u8]>>,
    waiting_bytes: usize,
    /// The thread has taken a line that is not written yet.
    is_writing: bool,
    /// Lines that are done with, written or lost.
    done: u64,
}

/// The queue.
#[derive(Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    is_added: Condvar,
    is_done: Condvar,
    has_writer: AtomicBool,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// True if there is a thread that writes them.
    pub(super) fn has_writer(&self) -> bool {
        self.has_writer.load(Ordering::Relaxed)
    }

    /// Puts a line into the queue, or counts it as lost when the queue is full.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting_bytes + line.len() > QUEUE_MAX_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting_bytes += line.len();
        state.waiting.push_back(line.into());
        drop(state);
        self.is_added.notify_one();
    }

    /// Waits until the queue is empty, but not for a reader that takes nothing.
    pub(super) fn flush(&self) {
        if !self.has_writer() {
            return;
        }
        let deadline = Instant::now() + FLUSH_WITHIN;
        let mut state = self.state();
        while state.is_writing || !state.waiting.is_empty() {
            let done_before = state.done;
            let (after, waited) = self
                .is_done
                .wait_timeout(state, STALLED_AFTER)
                .unwrap_or_else(PoisonError::into_inner);
            let is_stalled = waited.timed_out() && after.done == done_before;
            if is_stalled || Instant::now() > deadline {
                return;
            }
            state = after;
        }
    }

    /// Writes what is in the queue, now and later, to `out`, on a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn write_to(
        self: Arc<Self>,
        mut out: impl Write + Send + 'static,
    ) -> std::io::Result<()> {
        let queue = self.clone();
        let writer = move || {
            let (mut is_torn, mut told) = (false, 0);
            loop {
                let line = queue.next();
                let is_written = write(&mut out, &line, &mut is_torn);
                if !is_written {
                    queue.lost.fetch_add(1, Ordering::Relaxed);
                }
                let is_last = queue.finish();
                let lost = queue.lost.load(Ordering::Relaxed);
                if is_written && is_last && lost > told {
                    tracing::warn!(
                        lines = lost - told,
                        "log lines are lost: stderr could not be written, or was read too slowly"
                    );
                    told = lost;
                }
            }
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(writer)
            .map(|_| self.has_writer.store(true, Ordering::Relaxed))
    }

    fn next(&self) -> Box<[u8]> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.waiting.pop_front() {
                state.waiting_bytes -= line.len();
                state.is_writing = true;
                return line;
            }
            state = self
                .is_added
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that the line which was taken is done with. Returns whether none waits behind it.
    fn finish(&self) -> bool {
        let mut state = self.state();
        state.is_writing = false;
        state.done += 1;
        let is_last = state.waiting.is_empty();
        drop(state);
        self.is_done.notify_all();
        is_last
    }
}

/// Writes a line; whether it could. `is_torn` says that `out` ends in a part of a line, as a disk
/// that became full leaves it: the next line then begins on a line of its own.
fn write(out: &mut impl Write, line: &[u8], is_torn: &mut bool) -> bool {
    if *is_torn && write_whole(out, b"\n").is_ok() {
        *is_torn = false;
    }
    match write_whole(out, line) {
        Ok(()) => true,
        Err(written) => {
            *is_torn |= written > 0;
            false
        }
    }
}

/// Writes all of `bytes`, or says how many of them it could.
fn write_whole(out: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(bytes.get(written..).unwrap_or_default()) {
            Ok(0) => return Err(written),
            Ok(more) => written += more,
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN_AFTER),
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// By this a line that is logged gets here, whole.
/// A line that steers nothing and stays one line, whatever the values in it are. The library lets an
/// escape through only where it colours a line itself.
fn steady(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let Ok(text) = std::str::from_utf8(text) else {
        return Cow::Borrowed(line);
    };
    match escaped(text, |one| is_control(one) && one != '\u{1b}') {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(mut text) => {
            text.push('\n');
            Cow::Owned(text.into_bytes())
        }
    }
}

/// What the library writes a whole line to.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.push(&steady(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc};

    use super::*;

    /// Does what is told for each write, and hands on what was taken.
    struct Scripted {
        steps: mpsc::Receiver<Step>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    enum Step {
        Take(usize),
        Fail(ErrorKind),
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // No step is a write that blocks.
            match self.steps.recv() {
                Ok(Step::Take(most)) => {
                    let count = most.min(bytes.len());
                    let _ = self.taken.send(bytes[..count].to_vec());
                    Ok(count)
                }
                Ok(Step::Fail(kind)) => Err(kind.into()),
                Err(_) => loop {
                    thread::park();
                },
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(lines: &[&str], steps: Vec<Step>) -> (String, u64) {
        let queue = Arc::<Lines>::default();
        let ((give, steps_in), (taken, got)) = (mpsc::channel(), mpsc::channel());
        for step in steps {
            give.send(step).expect("a step");
        }
        let out = Scripted {
            steps: steps_in,
            taken,
        };
        queue.clone().write_to(out).expect("a thread");
        for line in lines {
            queue.push(line.as_bytes());
        }
        queue.flush();
        let text: Vec<u8> = got.try_iter().flatten().collect();
        let text = String::from_utf8(text).expect("text");
        (text, queue.lost().load(Ordering::Relaxed))
    }

    #[test]
    fn no_value_forges_a_line_or_steers_a_terminal() {
        for (line, expected) in [
            ("plain\n", "plain\n"),
            (
                "\u{1b}[31mERROR\u{1b}[0m x\n",
                "\u{1b}[31mERROR\u{1b}[0m x\n",
            ),
            ("why=a\n2026 INFO forged\n", "why=a\\n2026 INFO forged\n"),
            ("a\r\u{202e}b\u{2028}\n", "a\\r\\u202eb\\u2028\n"),
            ("no end\tyet", "no end\\tyet\n"),
        ] {
            let queue = Lines::default();
            (&queue).write_all(line.as_bytes()).expect("it is taken");
            assert_eq!(&*queue.next(), expected.as_bytes());
        }
    }

    const ALL: usize = usize::MAX;

    #[test]
    fn a_line_is_written_whole_or_counted() {
        use Step::{Fail, Take};
        let lines = ["one\n", "two\n"];
        for (steps, text, lost) in [
            (vec![Take(ALL), Take(ALL)], "one\ntwo\n", 0),
            (
                vec![Take(1), Take(1), Take(ALL), Take(ALL)],
                "one\ntwo\n",
                0,
            ),
            (
                vec![Fail(ErrorKind::Interrupted), Take(ALL), Take(ALL)],
                "one\ntwo\n",
                0,
            ),
            // A terminal that somebody else told not to block.
            (
                vec![Take(2), Fail(ErrorKind::WouldBlock), Take(ALL), Take(ALL)],
                "one\ntwo\n",
                0,
            ),
            (vec![Fail(ErrorKind::StorageFull), Take(ALL)], "two\n", 1),
            (
                vec![Fail(ErrorKind::BrokenPipe), Fail(ErrorKind::BrokenPipe)],
                "",
                2,
            ),
            (vec![Take(0), Take(ALL)], "two\n", 1),
            // A disk that is full in the middle of a line.
            (
                vec![Take(2), Fail(ErrorKind::StorageFull), Take(ALL), Take(ALL)],
                "on\ntwo\n",
                1,
            ),
        ] {
            assert_eq!(written(&lines, steps), (text.to_owned(), lost));
        }
    }

    #[test]
    fn a_stderr_that_takes_nothing_blocks_nobody_and_takes_bounded_memory() {
        let line = "x".repeat(1_023) + "\n";
        let many = vec![line.as_str(); 8 * 1_024];
        let begun = Instant::now();
        let (text, lost) = written(&many, Vec::new());
        assert_eq!(text, "");
        // One line may be in the thread's hand, and 1 MiB waits.
        assert!((7_167..=7_168).contains(&lost), "{lost}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
