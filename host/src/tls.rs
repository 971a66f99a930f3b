//! TLS from files in PEM: the identity of a server, and the authorities that a client trusts.
//!
//! ```text
//!  --tls-certificate, --tls-key ──> Identity ──> serve
//!  [registry] ca                ──> Trusted  ──> registry::Client
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heddle_core::explain::Explain;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, CertificateError, RootCertStore, ServerConfig};
use ureq::tls::{Certificate, RootCerts};

/// The reason why TLS cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file of the {what} cannot be read: {cause}")]
    File {
        /// The expected content.
        what: &'static str,
        /// Its path.
        file: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A file does not hold the expected content.
    #[error("the file holds no {what}: {cause}")]
    Content {
        /// The expected content.
        what: &'static str,
        /// Its path.
        file: PathBuf,
        /// The fault.
        cause: String,
    },
    /// The certificate and the key cannot be used together.
    #[error("the certificate does not match the key: {cause}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The mismatch.
        cause: rustls::Error,
    },
}

impl Explain for TlsError {
    fn place(&self) -> Option<String> {
        Some(match self {
            Self::File { file, .. } | Self::Content { file, .. } => file.display().to_string(),
            Self::Pair { certificate, key, .. } => format!("{} and {}", certificate.display(), key.display()),
        })
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::File { .. } => "name a file in PEM that Heddle may read",
            Self::Content { .. } => "put it there in PEM, with its `-----BEGIN …-----` and `-----END …-----`",
            Self::Pair { .. } => {
                "name the key of the first certificate in the file: that is the server's own, followed by those of its authorities"
            }
        };
        Some(remedy.to_owned())
    }
}

/// A server's certificates, with the key of the first one.
#[derive(Clone)]
pub struct Identity(pub(crate) TlsAcceptor);

impl Identity {
    /// Reads the certificates and the key from two files.
    ///
    /// # Errors
    /// If a file is missing or broken, or the two do not match.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate, "certificate")?;
        let secret = PrivateKeyDer::from_pem_slice(&bytes(key, "key")?).map_err(|cause| match cause {
            pem::Error::NoItemsFound => lacks("key", key, &"there is no `-----BEGIN PRIVATE KEY-----` in it"),
            cause => lacks("key", key, &cause),
        })?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
        let config = config.map_err(|cause| match cause {
            rustls::Error::InvalidCertificate(cause) => lacks("certificate", certificate, &cause),
            cause => TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), cause },
        })?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// The authorities that a client trusts, instead of the public ones.
#[derive(Clone)]
pub struct Trusted(pub(crate) RootCerts);

impl Trusted {
    /// Reads the authorities from a file.
    ///
    /// # Errors
    /// If the file is missing, or holds no valid certificate.
    pub fn read(file: &Path) -> Result<Self, TlsError> {
        const WHAT: &str = "authority's certificate";
        let roots = certificates(file, WHAT)?;
        for root in &roots {
            // The client would drop this certificate silently.
            RootCertStore::empty().add(root.clone()).map_err(|cause| lacks(WHAT, file, &cause))?;
        }
        Ok(Self(roots.iter().map(|root| Certificate::from_der(root).to_owned()).into()))
    }
}

/// The remedy if the authority is not known.
const NAME_AUTHORITY: &str = "name the file of its authority's certificate in [registry] ca (HEDDLE_REGISTRY_CA), and use a host name of the certificate";

/// The reason why a certificate is not trusted.
#[derive(Debug)]
pub(crate) struct Distrust {
    /// The fault.
    pub(crate) cause: String,
    /// The remedy.
    pub(crate) remedy: &'static str,
}

/// Returns the fault in a server's certificate, if that is the reason for the error. The most frequent faults have
/// their own texts.
pub(crate) fn fault(error: &ureq::Error) -> Option<Distrust> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    let rustls::Error::InvalidCertificate(cause) = error else { return None };
    let (words, remedy) = match cause {
        CertificateError::UnknownIssuer => ("no authority that is trusted signed it", NAME_AUTHORITY),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("it is for another name", "use a host name of the certificate in [registry] url (HEDDLE_REGISTRY_URL)")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("it has expired", "renew the registry's certificate; if it is new, check this machine's clock")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("it is not valid yet, by this machine's clock", "check this machine's clock, then the certificate")
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => (
            "it is an authority's (CA:TRUE), not a server's",
            "give the registry a certificate that the authority has signed",
        ),
        other => return Some(Distrust { cause: other.to_string(), remedy: NAME_AUTHORITY }),
    };
    Some(Distrust { cause: words.to_owned(), remedy })
}

/// The certificates in a file, at least one.
fn certificates(file: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(file, what)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|cause| lacks(what, file, &cause))?;
    if found.is_empty() {
        Err(lacks(what, file, &"there is no `-----BEGIN CERTIFICATE-----` in it"))
    } else {
        Ok(found)
    }
}

fn lacks(what: &'static str, file: &Path, cause: &impl ToString) -> TlsError {
    TlsError::Content { what, file: file.to_owned(), cause: cause.to_string() }
}

fn bytes(file: &Path, what: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|cause| TlsError::File { what, file: file.to_owned(), cause })
}
