//! TLS from files: checked before anything connects, with what to do about a file that can't be used.

use std::error::Error as _;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use service::config::BadSetting;
use tonic::transport::server::ServerTlsConfig;
use tonic::transport::{Certificate, Identity, Server};

use crate::SecurityArgs;

/// Longer than any handshake over a bad line; who takes longer is not greeting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a file: hundreds of certificates.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the settings say of TLS; `None`: the server speaks plain HTTP/2.
///
/// # Errors
/// If a file can't be used: which one, why, and what to do.
pub(crate) fn of(security: &SecurityArgs) -> Result<Option<ServerTlsConfig>, BadSetting> {
    let (Some(cert_file), Some(key_file)) = (&security.grpc_tls_cert, &security.grpc_tls_key) else {
        return Ok(None);
    };
    let cert = certificates("GRPC_TLS_CERT", cert_file)?;
    let key = private_key(key_file)?;
    let mut config = ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .timeout(HANDSHAKE_TIMEOUT);
    check(&config, |reason| {
        format!(
            "GRPC_TLS_CERT={} and GRPC_TLS_KEY={} can't be used together ({reason}); give the private key of the file's \
             first certificate",
            cert_file.display(),
            key_file.display()
        )
    })?;
    if let Some(file) = &security.grpc_tls_client_ca {
        let roots = certificates("GRPC_TLS_CLIENT_CA", file)?;
        config = config.client_ca_root(Certificate::from_pem(roots));
        check(&config, |reason| {
            format!(
                "GRPC_TLS_CLIENT_CA={} can't be used ({reason}); give the certificates, PEM, of those who vouch for clients",
                file.display()
            )
        })?;
    }
    Ok(Some(config))
}

/// Builds what the server will build.
fn check(config: &ServerTlsConfig, say: impl FnOnce(String) -> String) -> Result<(), BadSetting> {
    Server::builder()
        .tls_config(config.clone())
        .map(drop)
        .map_err(|error| {
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            BadSetting(say(reason))
        })
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<u8>, BadSetting> {
    let bytes = read(setting, file)?;
    let unusable = |reason: String| {
        BadSetting(format!(
            "{setting}={} {reason}; give a file with -----BEGIN CERTIFICATE-----, such as fullchain.pem",
            file.display()
        ))
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        certificate.map_err(|error| unusable(format!("is no readable PEM ({error})")))?;
        count += 1;
    }
    if count == 0 {
        return Err(unusable("holds no certificate".to_owned()));
    }
    Ok(bytes)
}

/// The messages show nothing of what is in the file.
fn private_key(file: &Path) -> Result<Vec<u8>, BadSetting> {
    let bytes = read("GRPC_TLS_KEY", file)?;
    let unusable = |reason: &str, remedy: &str| {
        BadSetting(format!("GRPC_TLS_KEY={} {reason}; {remedy}", file.display()))
    };
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    if holds(b"ENCRYPTED") {
        return Err(unusable(
            "is encrypted with a passphrase, which nobody is there to type",
            "write it without one: openssl pkey -in OLD -out NEW, readable for the server alone",
        ));
    }
    if PrivateKeyDer::from_pem_slice(&bytes).is_err() {
        return Err(unusable(
            "holds no private key that can be read",
            "give a PEM file with -----BEGIN PRIVATE KEY-----, such as privkey.pem",
        ));
    }
    Ok(bytes)
}

fn read(setting: &str, file: &Path) -> Result<Vec<u8>, BadSetting> {
    let unusable = |reason: String| {
        BadSetting(format!(
            "{setting}={} can't be read ({reason}); give a PEM file that the user may read whom this program runs as",
            file.display()
        ))
    };
    let opened = std::fs::File::open(file).map_err(|error| unusable(error.to_string()))?;
    let mut bytes = Vec::new();
    opened
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(unusable(format!("it is larger than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}
