use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::failure::{Exit, Failure};

/// More than any chain of certificates has.
const MOST_BYTES: u64 = 1024 * 1024;

/// Files for a server that the system's authorities don't vouch for, or that asks who calls. Paths, never their content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TlsFiles {
    /// Certificates of those who vouch for the server; none: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<PathBuf>,
    /// Of `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

impl TlsFiles {
    /// As they were named; an empty name is as good as none. Made absolute: the profile is read from other folders too.
    pub(crate) fn named(
        ca: Option<PathBuf>,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let path = |path: Option<PathBuf>| {
            path.filter(|path| !path.as_os_str().is_empty())
                .map(|path| std::path::absolute(&path).unwrap_or(path))
        };
        let files = Self {
            ca: path(ca),
            cert: path(cert),
            key: path(key),
        };
        if files.cert.is_some() == files.key.is_some() {
            Ok(files)
        } else {
            Err(Failure::new(
                Exit::Misuse,
                "a certificate and its key go together, and one is missing",
            )
            .remedy("give both --cert (STOCKALERT_CERT) and --key (STOCKALERT_KEY), or neither"))
        }
    }

    /// What is not named here is as in `others`.
    pub(crate) fn or(self, others: Self) -> Self {
        let (cert, key) = if self.cert.is_some() {
            (self.cert, self.key)
        } else {
            (others.cert, others.key)
        };
        Self {
            ca: self.ca.or(others.ca),
            cert,
            key,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How to connect with them.
    pub(super) fn config(&self) -> Result<ClientTlsConfig, Failure> {
        let mut tls = match &self.ca {
            Some(ca) => {
                let authorities = read(ca, "CERTIFICATE", "the certificates of --ca")?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let cert = read(cert, "CERTIFICATE", "the certificate of --cert")?;
            let key = read(key, "PRIVATE KEY", "the private key of --key")?;
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        Ok(tls)
    }
}

fn read(file: &Path, kind: &str, what: &str) -> Result<String, Failure> {
    let failure = |reason: &str| {
        Failure::new(
            Exit::Io,
            format!("{what} can't be read from {}: {reason}", file.display()),
        )
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
        .map_err(|error| failure(&error.to_string()).remedy("give a PEM file that you can read"))?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(failure("the key has a passphrase")
            .remedy("write it without one: openssl pkey -in KEY -out NEW_KEY"));
    }
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.contains(kind);
    if text.lines().any(begins) {
        Ok(text)
    } else {
        Err(failure(&format!("it has no line -----BEGIN {kind}-----"))
            .remedy("give a PEM file; of a DER file, openssl makes one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn a_certificate_and_its_key_are_named_together() {
        assert!(TlsFiles::named(None, path("/c"), None).is_err());
        assert!(TlsFiles::named(None, None, path("/k")).is_err());
        assert!(TlsFiles::named(path(""), path(""), path("")).unwrap().is_empty());
    }

    #[test]
    fn what_is_named_goes_before_what_was_kept() {
        let kept = TlsFiles::named(path("/ca"), path("/c"), path("/k")).unwrap();
        let own = TlsFiles::named(None, path("/c2"), path("/k2")).unwrap();
        let both = own.or(kept.clone());
        assert_eq!(
            (both.ca, both.cert, both.key),
            (path("/ca"), path("/c2"), path("/k2"))
        );
        assert_eq!(TlsFiles::default().or(kept.clone()), kept);
    }

    #[test]
    fn a_relative_path_is_kept_as_an_absolute_one() {
        let files = TlsFiles::named(path("ca.pem"), None, None).unwrap();
        assert!(files.ca.unwrap().is_absolute());
    }
}
