//! The certificate that the server shows, and its renewal while serving.
//!
//! Guarantee: a certificate and a key that do not go together are never in force: they are refused at start, and later the last good pair stays. No message
//! repeats what is in either file.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use sha2::{Digest as _, Sha256};

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// Bytes of either file at most: a long chain of certificates has some ten thousand.
const FILE_MAX_BYTES: u64 = 1_024 * 1_024;

/// What is spoken inside TLS. There is no HTTP/2 here.
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate with its key, as it lies in two files.
pub struct Certificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
    provider: Arc<CryptoProvider>,
    in_force: RwLock<Arc<CertifiedKey>>,
    /// Of the files that it was read from.
    in_force_digest: RwLock<[u8; 32]>,
    /// Of the files as they were last seen, good or not.
    seen: RwLock<[u8; 32]>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("certificate_file", &self.certificate_file)
            .finish_non_exhaustive()
    }
}

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.certificate.len().to_le_bytes());
        hasher.update(&self.certificate);
        hasher.update(&self.key);
        hasher.finalize().into()
    }
}

impl Certificate {
    /// Reads both files, in PEM: the certificate with those that lead to its issuer, and the private key.
    ///
    /// # Errors
    /// In words, when either cannot be read or they do not go together.
    pub fn open(certificate_file: &Path, key_file: &Path) -> Result<Arc<Self>, String> {
        let provider = Arc::new(ring::default_provider());
        let contents = read(certificate_file, key_file)?;
        let pair = pair(certificate_file, key_file, &contents, &provider)?;
        Ok(Arc::new(Self {
            certificate_file: certificate_file.to_owned(),
            key_file: key_file.to_owned(),
            provider,
            in_force: RwLock::new(Arc::new(pair)),
            in_force_digest: RwLock::new(contents.digest()),
            seen: RwLock::new(contents.digest()),
        }))
    }

    /// What a TLS server is set up with: TLS 1.2 and 1.3, and whatever pair is in force when a caller comes.
    ///
    /// # Errors
    /// In words, when the cryptography cannot do that.
    pub(crate) fn server(self: &Arc<Self>) -> Result<ServerConfig, String> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| format!("TLS cannot be set up: {why}"))?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }

    /// Puts the pair in force that lies in the files now, if it is another one.
    ///
    /// # Errors
    /// In words, when what is there now is not good; the pair in force stays. Said once for each change.
    fn reload(&self) -> Result<bool, String> {
        let contents = match read(&self.certificate_file, &self.key_file) {
            Ok(contents) => contents,
            Err(why) if self.is_news([0; 32]) => return Err(why),
            Err(_) => return Ok(false),
        };
        if !self.is_news(contents.digest()) {
            return Ok(false);
        }
        let pair = pair(
            &self.certificate_file,
            &self.key_file,
            &contents,
            &self.provider,
        )?;
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *in_force = Arc::new(pair);
        *self
            .in_force_digest
            .write()
            .unwrap_or_else(PoisonError::into_inner) = contents.digest();
        Ok(true)
    }

    /// Whether the files were last seen in another state; from now on, in this.
    fn is_news(&self, digest: [u8; 32]) -> bool {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, digest) != digest
    }

    /// Looks at the files from time to time, for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            self.clone().look().await;
        }
    }

    /// Looks at the files now, and says what is wrong with them though it has been said before.
    pub async fn renew(self: Arc<Self>) {
        let in_force = self.in_force_digest();
        self.is_news(in_force);
        self.look().await;
    }

    async fn look(self: Arc<Self>) {
        match tokio::task::spawn_blocking(move || self.reload()).await {
            Ok(Ok(true)) => tracing::info!("the TLS certificate was renewed"),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(why)) => {
                tracing::error!(
                    why,
                    "the TLS certificate could not be renewed; the one in force stays"
                );
            }
        }
    }

    fn in_force_digest(&self) -> [u8; 32] {
        *self
            .in_force_digest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Some(in_force.clone())
    }
}

fn read(certificate_file: &Path, key_file: &Path) -> Result<Contents, String> {
    let read = |what: &str, path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|why| format!("the {what} file {} cannot be read: {why}", path.display()))?;
        // The first line is then none of PEM's.
        if [&[0xEF, 0xBB, 0xBF][..], &[0xFF, 0xFE], &[0xFE, 0xFF]]
            .iter()
            .any(|mark| bytes.starts_with(mark))
        {
            return Err(format!(
                "the {what} file {} begins with a byte order mark; save it as UTF-8 without one",
                path.display()
            ));
        }
        Ok::<_, String>(bytes)
    };
    Ok(Contents {
        certificate: read("TLS certificate", certificate_file)?,
        key: read("TLS key", key_file)?,
    })
}

fn pair(
    certificate_file: &Path,
    key_file: &Path,
    contents: &Contents,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let (certificate_file, key_file) = (certificate_file.display(), key_file.display());
    let chain = CertificateDer::pem_slice_iter(&contents.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| {
            format!(
                "the TLS certificate file {certificate_file} is not PEM: {}",
                told(&why)
            )
        })?;
    if chain.is_empty() {
        return Err(format!(
            "the TLS certificate file {certificate_file} has no certificate (-----BEGIN CERTIFICATE-----) in it"
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|why| match why {
        pem::Error::NoItemsFound => format!(
            "the TLS key file {key_file} has no private key (-----BEGIN PRIVATE KEY-----) in it that is not encrypted"
        ),
        why => format!("the TLS key file {key_file} is not PEM: {}", told(&why)),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|why| match why {
        rustls::Error::InconsistentKeys(_) => format!(
            "the key in {key_file} is not that of the first certificate in {certificate_file}"
        ),
        rustls::Error::InvalidCertificate(_) => format!(
            "the first certificate in {certificate_file} cannot be read"
        ),
        _ => format!(
            "the key in {key_file} cannot be used: RSA of 2048 bits or more, ECDSA on P-256 or P-384, and Ed25519 can"
        ),
    })
}

/// What is wrong with a PEM file. The parser's own words may repeat a line of it.
fn told(why: &pem::Error) -> &'static str {
    match why {
        pem::Error::MissingSectionEnd { .. } => "an -----END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is broken",
        pem::Error::Base64Decode(_) => "what is between BEGIN and END is not Base64",
        _ => "it cannot be read",
    }
}
