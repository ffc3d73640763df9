//! Something that stands in front of a vendor and does what a test wants.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes of the stack of a thread that waits for one connection: there are some hundred of them.
const STACK_BYTES: usize = 128 * 1_024;

/// A request, as far as it is decided upon.
pub(crate) struct Passing<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The vendor answers it.
    Passes,
    /// The gateway answers with this status and a page.
    Page(u16),
    /// Nobody answers it.
    Hangs,
}

type Rule = Box<dyn Fn(&Passing<'_>) -> Fate + Send>;

/// A gateway on a port of its own. A path may begin with `/i` and a number, which the vendor does not
/// see: so many integrations have an address each.
pub(crate) struct Gateway {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    vendor: String,
    rule: Mutex<Rule>,
    pages: AtomicUsize,
    hanging: AtomicUsize,
}

impl Gateway {
    /// In front of the vendor at `vendor` (`host:port`). It lets everything pass.
    pub(crate) fn before(vendor: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            vendor: vendor.to_owned(),
            rule: Mutex::new(Box::new(|_| Fate::Passes)),
            pages: AtomicUsize::new(0),
            hanging: AtomicUsize::new(0),
        });
        let of_all = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = of_all.clone();
                std::thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn(move || state.serve(stream))
                    .expect("a thread");
            }
        });
        Self { url, state }
    }

    /// Decides by `rule` from now on.
    pub(crate) fn rule(&self, rule: impl Fn(&Passing<'_>) -> Fate + Send + 'static) {
        *self.state.rule.lock().expect("nobody panicked") = Box::new(rule);
    }

    /// Pages sent so far.
    pub(crate) fn pages(&self) -> usize {
        self.state.pages.load(Ordering::SeqCst)
    }

    /// Requests that hang now.
    pub(crate) fn hanging(&self) -> usize {
        self.state.hanging.load(Ordering::SeqCst)
    }

    /// A counter of the requests that hang, for a rule.
    pub(crate) fn hanging_now(&self) -> impl Fn() -> usize + Send + 'static {
        let state = self.state.clone();
        move || state.hanging.load(Ordering::SeqCst)
    }
}

impl State {
    /// One request, and the end of its connection.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        let (method, rest) = first.split_once(' ')?;
        let (path, _) = rest.split_once(' ')?;
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let lower = line.to_ascii_lowercase();
            if let Some(told) = lower.strip_prefix("content-length:") {
                length = told.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
            if !lower.starts_with("connection:") {
                head += &line;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let fate = {
            let rule = self.rule.lock().expect("nobody panicked");
            rule(&Passing { method, path })
        };
        match fate {
            Fate::Passes => {
                let own = path.strip_prefix("/i").and_then(|rest| {
                    let (number, _) = rest.split_once('/')?;
                    number.parse::<u32>().ok()?;
                    path.get(2 + number.len()..)
                });
                let path = own.unwrap_or(path);
                let mut vendor = TcpStream::connect(&self.vendor).ok()?;
                let request =
                    format!("{method} {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n");
                vendor.write_all(request.as_bytes()).ok()?;
                vendor.write_all(&body).ok()?;
                std::io::copy(&mut vendor, &mut stream).ok()?;
            }
            Fate::Page(status) => {
                self.pages.fetch_add(1, Ordering::SeqCst);
                let page = format!("<html><head><title>{status}</title></head></html>");
                let answer = format!(
                    "HTTP/1.1 {status} Gateway\r\ncontent-type: text/html; charset=iso-8859-1\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{page}",
                    page.len()
                );
                stream.write_all(answer.as_bytes()).ok()?;
            }
            Fate::Hangs => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                // Until the caller has had enough of it.
                let _ = reader.read(&mut [0]);
                self.hanging.fetch_sub(1, Ordering::SeqCst);
            }
        }
        stream.shutdown(Shutdown::Both).ok()
    }
}
