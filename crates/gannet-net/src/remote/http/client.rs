//! Connections to servers, kept alive and shared.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;

/// Connections to any number of servers, of which idle ones are used again.
///
/// Clones share them. When the last clone is dropped they are closed.
#[derive(Clone, Debug)]
pub struct HttpClient(pub(in crate::remote) Client);

/// How connections are made.
#[derive(Clone, Debug)]
pub struct HttpClientOptions {
    /// How long making one may take.
    pub connect: Duration,
    /// How many idle ones are kept for each server.
    pub idle_max: usize,
    /// Certificates that are trusted besides those that the system trusts.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Connections cannot be made at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP: {0}")]
pub struct BadHttpClient(String);

impl Default for HttpClientOptions {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), idle_max: 16, trusted: Vec::new() }
    }
}

impl HttpClient {
    /// # Errors
    /// When the certificates cannot be read.
    pub fn new(options: HttpClientOptions) -> Result<Self, BadHttpClient> {
        let bad = |error: &dyn std::error::Error| BadHttpClient(error.to_string());
        let mut builder = Client::builder()
            .connect_timeout(options.connect)
            // Servers close idle connections too; a request must not be sent into a closed one.
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(options.idle_max)
            .tcp_nodelay(true)
            // One connection for one transfer: they do not slow each other down.
            .http1_only()
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("gannet/", env!("CARGO_PKG_VERSION")));
        for certificate in options.trusted {
            let certificate = reqwest::Certificate::from_der(&certificate).map_err(|e| bad(&e))?;
            builder = builder.tls_certs_merge([certificate]);
        }
        install_provider();
        builder.build().map(Self).map_err(|error| bad(&error))
    }
}

/// The cryptography of this process is chosen by whoever comes first; all choose the same.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let provider: Result<(), Arc<_>> =
            rustls::crypto::ring::default_provider().install_default();
        if provider.is_err() {
            tracing::debug!("another thread has just chosen the cryptography");
        }
    }
}

const IDLE: Duration = Duration::from_secs(15);
