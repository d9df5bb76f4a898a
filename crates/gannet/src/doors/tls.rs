//! TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a connection began.
pub(crate) enum Greeted {
    /// With TLS.
    Secure(Box<TlsStream<TcpStream>>),
    /// With a letter, as plain HTTP does. Nothing has been read.
    Plain(TcpStream),
}

/// What is wrong with the files that TLS needs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTls {
    /// A file could not be read, or is not what it should be.
    #[error("cannot read a {what} from `{}`", path.display())]
    File {
        /// Certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The two are valid, but not together.
    #[error("the certificate in `{}` and the key in `{}` cannot be used", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Reads certificate, key and chain from PEM files.
///
/// # Errors
/// [`BadTls`], which names the file.
pub(crate) fn acceptor(
    certificate: &Path,
    key: &Path,
    chain: &[PathBuf],
) -> Result<TlsAcceptor, BadTls> {
    let mut certificates = read_certificates(certificate)?;
    for path in chain {
        certificates.extend(read_certificates(path)?);
    }
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|source| BadTls::File {
        what: "private key",
        path: key.to_owned(),
        source,
    })?;
    let unusable =
        |source| BadTls::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, private_key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Begins a connection.
///
/// # Errors
/// When the client does not speak TLS properly, or leaves.
pub(crate) async fn greet(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<Greeted> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0].is_ascii_alphabetic() {
        return Ok(Greeted::Plain(stream));
    }
    tls.accept(stream).await.map(|stream| Greeted::Secure(Box::new(stream)))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let unreadable = |source| BadTls::File { what: "certificate", path: path.to_owned(), source };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let found = found.map_err(unreadable)?;
    if found.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_bad_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let absent = root.path().join("absent.pem");
        let empty = root.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let broken = root.path().join("broken.pem");
        let text = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        fs::write(&broken, text).unwrap();
        for path in [&absent, &empty, &broken] {
            let error = acceptor(path, &absent, &[]).err().unwrap().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
            assert!(error.contains("certificate"), "{error}");
        }
    }
}
