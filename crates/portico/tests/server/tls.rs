//! TLS, on the real binary: what is shown to callers, what is refused at start, and what happens when the files change.
//!
//! Goal: whoever trusts the certificate that lies in the file now gets an answer, and no state of the files takes the server away. Method: certificates made for the test; what the
//! server does about a change of files is awaited in its log.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    version::{TLS12, TLS13},
};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate for `localhost`, and its key.
struct Pair {
    der: CertificateDer<'static>,
    certificate: String,
    key: String,
}

impl Pair {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        Self {
            der: made.cert.der().clone(),
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }
}

/// A directory with the files that the server reads.
struct Files(tempfile::TempDir);

impl Files {
    fn lay(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        files.write("cert.pem", &pair.certificate);
        files.write("key.pem", &pair.key);
        files.write("master.key", &"ab".repeat(32));
        let owner_only = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(files.at("master.key"), owner_only).expect("a mode");
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // At once, so that the server does not see a file half written that the test means to be whole.
        std::fs::write(self.at("new"), text).expect("written");
        std::fs::rename(self.at("new"), self.at(name)).expect("renamed");
    }

    fn command(&self, certificate: &str, key: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command
            .current_dir(self.0.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "kept"])
            .args(["--master-key-file", "master.key"])
            .args(["--tls-cert", certificate, "--tls-key", key])
            .env("PORTICO_LOG", "info")
            .env("PORTICO_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// A running server, killed when dropped.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    address: String,
}

impl Server {
    fn start(files: &Files) -> Self {
        let mut child = files
            .command("cert.pem", "key.pem")
            .spawn()
            .expect("portico starts");
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            lines,
            address: String::new(),
        };
        let serving: Value = serde_json::from_str(&server.line("serving")).expect("JSON");
        let address = &serving["fields"]["address"];
        server.address = address
            .as_str()
            .unwrap_or_else(|| panic!("an address: {serving}"))
            .to_owned();
        server
    }

    /// The next line of the log that has `part` in it.
    fn line(&self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|why| panic!("no line with {part:?}: {why}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// What a caller hears that trusts `pair` alone, or why it hears nothing.
    fn ask(
        &self,
        pair: &Pair,
        version: &'static SupportedProtocolVersion,
    ) -> Result<String, String> {
        let mut roots = RootCertStore::empty();
        roots.add(pair.der.clone()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = self.connect();
        let mut stream = StreamOwned::new(connection, stream);
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).map_err(|why| why.to_string())?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .map_err(|why| why.to_string())?;
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(answer.to_ascii_lowercase())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    fn shows(&self, pair: &Pair) -> bool {
        match self.ask(pair, &TLS13) {
            Ok(answer) => {
                assert!(answer.starts_with("http/1.1 200"), "{answer}");
                true
            }
            Err(why) => {
                assert!(why.contains("certificate"), "{why}");
                false
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answers_come_over_tls_and_plain_http_does_no_harm() {
    let pair = Pair::make();
    let files = Files::lay(&pair);
    let server = Server::start(&files);
    for version in [&TLS12, &TLS13] {
        let answer = server.ask(&pair, version).expect("an answer");
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(
            answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"),
            "{answer}"
        );
    }
    assert!(!server.shows(&Pair::make()), "a stranger's certificate");

    let mut plain = server.connect();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    // Whether the end comes as an end or as a reset, there is no HTTP in it.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(server.shows(&pair));
}

#[test]
fn a_changed_pair_is_shown_and_a_broken_one_is_not() {
    let (old, new) = (Pair::make(), Pair::make());
    let files = Files::lay(&old);
    let server = Server::start(&files);
    assert!(server.shows(&old));

    // Half of the change: the old pair stays.
    files.write("cert.pem", &new.certificate);
    let line = server.line("\"level\":\"ERROR\"");
    assert!(
        line.contains("the key in key.pem is not that of the first certificate in cert.pem"),
        "{line}"
    );
    assert!(server.shows(&old) && !server.shows(&new));

    // The other half.
    files.write("key.pem", &new.key);
    server.line("the TLS certificate was renewed");
    assert!(server.shows(&new) && !server.shows(&old));

    // A key that is cut off in its middle.
    let secret = &new.key[..new.key.len() / 2];
    files.write("key.pem", secret);
    let line = server.line("\"level\":\"ERROR\"");
    assert!(line.contains("an -----END line is missing"), "{line}");
    let inner = secret.lines().nth(1).expect("a line of the key");
    assert!(!line.contains(inner), "key material in {line}");
    assert!(server.shows(&new));

    // A hangup has the files read at once, and says again what is wrong with them.
    let pid = i32::try_from(server.child.id()).expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    let hangup = rustix::process::Signal::HUP;
    rustix::process::kill_process(pid, hangup).expect("it is told");
    server.line("told to read again");
    let line = server.line("\"level\":\"ERROR\"");
    assert!(line.contains("an -----END line is missing"), "{line}");
    assert!(server.shows(&new));

    // No file at all, and then all is well again.
    std::fs::remove_file(files.at("key.pem")).expect("removed");
    let line = server.line("\"level\":\"ERROR\"");
    assert!(
        line.contains("the TLS key file key.pem cannot be read"),
        "{line}"
    );
    assert!(server.shows(&new));
    files.write("key.pem", &old.key);
    files.write("cert.pem", &old.certificate);
    server.line("the TLS certificate was renewed");
    assert!(server.shows(&old) && !server.shows(&new));
}

#[test]
fn a_pair_that_does_not_fit_is_refused_at_start() {
    let pair = Pair::make();
    let files = Files::lay(&pair);
    files.write("other.pem", &Pair::make().key);
    files.write("empty.pem", "");
    let cut = &pair.certificate[..pair.certificate.len() / 2];
    files.write("cut.pem", cut);
    let cases = [
        (
            "cert.pem",
            "other.pem",
            "the key in other.pem is not that of the first certificate in cert.pem",
        ),
        (
            "missing.pem",
            "key.pem",
            "the TLS certificate file missing.pem cannot be read: No such file",
        ),
        (
            "empty.pem",
            "key.pem",
            "the TLS certificate file empty.pem has no certificate",
        ),
        (
            "cut.pem",
            "key.pem",
            "the TLS certificate file cut.pem is not PEM: an -----END line is missing",
        ),
        (
            "cert.pem",
            "cert.pem",
            "the TLS key file cert.pem has no private key",
        ),
    ];
    for (certificate, key, expected) in cases {
        let Output { status, stderr, .. } = files
            .command(certificate, key)
            .output()
            .expect("portico runs");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert!(!Path::new(&files.at("kept")).exists());
}
