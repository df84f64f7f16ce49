//! TLS in front of HTTP: the certificate, which can be replaced, and the handshake with its deadline.
//!
//! Owns the settings of rustls. It must not know requests or sessions: what comes out is a stream of bytes.

use std::{fmt, io, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A connection whose TLS ends here.
pub(crate) type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// TLS for [`ServeConfig::tls`](crate::ServeConfig::tls). Clones share one certificate: keep one to replace it.
///
/// ```no_run
/// use kentongan::{ServeConfig, Tls};
///
/// let read = || Ok::<_, std::io::Error>((std::fs::read("chain.pem")?, std::fs::read("key.pem")?));
/// let (chain, key) = read()?;
/// let tls = Tls::from_pem(&chain, &key)?;
/// let mut config = ServeConfig::default();
/// config.tls = Some(tls.clone());
/// // Later, after a renewal, while the server runs:
/// let (chain, key) = read()?;
/// tls.replace_pem(&chain, &key)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
    handshake_timeout: Duration,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate, or no private key, in the text.
    #[error("{what} cannot be read: {source}")]
    Pem {
        /// Which of the two.
        what: &'static str,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// rustls does not take them, for example because the key is that of another certificate.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
}

impl TlsError {
    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "tls_pem",
            Self::Certificate(_) => "tls_certificate",
        }
    }
}

impl Tls {
    /// The default of [`Tls::with_handshake_timeout`]: 5 s.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

    /// TLS 1.2 and 1.3 with this certificate chain and private key, both as PEM.
    ///
    /// # Errors
    /// [`TlsError`], when they cannot be read or do not fit each other.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::from_config(read_pem(chain, key)?))
    }

    /// TLS as the application wants it: client certificates, other providers, a resolver by name. What the config says of
    /// ALPN is replaced: this server speaks `http/1.1`.
    #[must_use]
    pub fn from_config(config: ServerConfig) -> Self {
        Self {
            current: Arc::new(RwLock::new(prepare(config))),
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
        }
    }

    /// How long a handshake may take from the accepted connection on; then it is cut. Half a handshake costs a descriptor
    /// and memory.
    #[must_use]
    pub fn with_handshake_timeout(mut self, handshake_timeout: Duration) -> Self {
        self.handshake_timeout = handshake_timeout;
        self
    }

    /// Uses another certificate from the next handshake on, in all clones. Open connections keep theirs.
    ///
    /// # Errors
    /// As [`Tls::from_pem`]; then the old certificate stays.
    pub fn replace_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.replace(read_pem(chain, key)?);
        Ok(())
    }

    /// Uses another config from the next handshake on, in all clones.
    pub fn replace(&self, config: ServerConfig) {
        let config = prepare(config);
        *self.current.write() = config;
    }

    /// Does the handshake on a fresh connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<TlsStream, Unfinished> {
        let current = Arc::clone(&self.current.read());
        let handshake = TlsAcceptor::from(current).accept(stream).into_fallible();
        match tokio::time::timeout(self.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((error, mut stream))) => {
                tracing::debug!(%error, "TLS handshake failed");
                // rustls has sent its alert; an end in order lets the client read it.
                let _ = stream.shutdown().await;
                Err(if error.kind() == io::ErrorKind::UnexpectedEof {
                    Unfinished::Gone
                } else {
                    Unfinished::Failed
                })
            }
            Err(_) => {
                tracing::debug!("TLS handshake took too long");
                Err(Unfinished::Late)
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the config: it holds the private key.
        f.debug_struct("Tls")
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a handshake led to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// The peer left: a look whether the port is open, for example.
    Gone,
    /// What it sent was no TLS, or nothing that both sides can do.
    Failed,
    Late,
}

impl Unfinished {
    /// Whether it is counted as a refusal.
    pub(crate) fn is_fault(self) -> bool {
        self != Self::Gone
    }
}

fn read_pem(chain: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem {
            what: "the certificate chain",
            source,
        })?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem {
        what: "the private key",
        source,
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(config)
}

fn prepare(mut config: ServerConfig) -> Arc<ServerConfig> {
    // HTTP/2 has no `Upgrade`, and nothing here speaks it: a client that knows only h2 is told so in the handshake.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Data of a first flight can be replayed by anybody.
    config.max_early_data_size = 0;
    Arc::new(config)
}
