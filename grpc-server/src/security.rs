//! Settings of who is let in, and of how much each may do.

use std::path::PathBuf;
use std::time::Duration;

use crate::operator::OperatorToken;
use crate::proxies::TrustedProxies;

/// Settings of who is let in, and of how much each may do.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Security")]
pub struct SecurityArgs {
    /// What the operator's calls need as their bearer token, 32 to 128 visible ASCII characters. Nobody can make them when
    /// not set.
    #[arg(long, env = "OPERATOR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub operator_token: Option<OperatorToken>,
    /// How long an API token works after it was made, such as 90d. As long as it is not replaced when not set.
    #[arg(long, env = "API_TOKEN_LIFETIME", value_name = "DURATION", value_parser = lifetime)]
    pub api_token_lifetime: Option<Duration>,
    /// The server's certificate and those that vouch for it, PEM. Serves TLS alone when set.
    #[arg(long, env = "GRPC_TLS_CERT", value_name = "FILE", requires = "grpc_tls_key")]
    pub grpc_tls_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM, without a passphrase.
    #[arg(long, env = "GRPC_TLS_KEY", value_name = "FILE", requires = "grpc_tls_cert")]
    pub grpc_tls_key: Option<PathBuf>,
    /// Certificates of those who vouch for clients, PEM. Only clients with such a certificate can connect when set.
    #[arg(
        long,
        env = "GRPC_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "grpc_tls_cert"
    )]
    pub grpc_tls_client_ca: Option<PathBuf>,
    /// Most calls of one user in a second, in the long run; twice as many at once.
    #[arg(long, env = "CALLS_PER_SECOND", default_value_t = 100, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub calls_per_second: u32,
    /// Most registrations from one address (IPv6: one network of 64 bits) in an hour; a third of them at once.
    #[arg(long, env = "REGISTRATIONS_PER_HOUR", default_value_t = 60, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub registrations_per_hour: u32,
    /// Most connections in all; more are closed at once.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 1_024, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections: u32,
    /// Most connections from one address (IPv6: one network of 64 bits), but from a trusted proxy.
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 256, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections_per_address: u32,
    /// Addresses or networks of proxies whose header x-forwarded-for says who calls, such as 10.0.0.2,172.16.0.0/12.
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        default_value = "",
        value_name = "IP[/BITS],..."
    )]
    pub trusted_proxies: TrustedProxies,
}

impl Default for SecurityArgs {
    /// As without any flag.
    fn default() -> Self {
        Self {
            operator_token: None,
            api_token_lifetime: None,
            grpc_tls_cert: None,
            grpc_tls_key: None,
            grpc_tls_client_ca: None,
            calls_per_second: 100,
            registrations_per_hour: 60,
            max_connections: 1_024,
            max_connections_per_address: 256,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

impl SecurityArgs {
    /// Whether the files can be used, before anything connects.
    ///
    /// # Errors
    /// If not: which one, why, and what to do.
    pub fn check(&self) -> Result<(), service::config::BadSetting> {
        crate::tls::of(self).map(drop)
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let shortest = Duration::from_secs(60);
    let longest = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    let lifetime = service::config::duration(text).unwrap_or_default();
    if (shortest..=longest).contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err("give 1m to 10y, such as 12h or 90d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::builder::Resettable;
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        security: SecurityArgs,
    }

    fn parse(arguments: &[&str]) -> Result<SecurityArgs, String> {
        // Whatever the environment of the tests sets.
        Arguments::command()
            .mut_args(|argument| argument.env(Resettable::Reset))
            .try_get_matches_from([&["x"], arguments].concat())
            .and_then(|matches| Arguments::from_arg_matches(&matches))
            .map(|arguments| arguments.security)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_flags() {
        assert_eq!(
            format!("{:?}", parse(&[]).unwrap()),
            format!("{:?}", SecurityArgs::default())
        );
    }

    #[test]
    fn bad_settings_are_refused_with_what_is_allowed() {
        for (arguments, allowed) in [
            (&["--operator-token", "short"][..], "32 to 128"),
            (&["--api-token-lifetime", "0"], "90d"),
            (&["--api-token-lifetime", "1000y"], "90d"),
            (&["--grpc-tls-cert", "/x"], "--grpc-tls-key"),
            (&["--grpc-tls-key", "/x"], "--grpc-tls-cert"),
            (&["--grpc-tls-client-ca", "/x"], "--grpc-tls-cert"),
            (&["--calls-per-second", "0"], "1..=1000000"),
            (&["--registrations-per-hour", "0"], "1..=1000000000"),
            (&["--max-connections", "0"], "1..=65536"),
            (&["--max-connections-per-address", "65537"], "1..=65536"),
            (&["--trusted-proxies", "proxy"], "172.16.0.0/12"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(allowed), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn an_operators_token_that_is_set_is_never_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let security = parse(&["--operator-token", secret]).unwrap();
        assert!(security.operator_token.as_ref().unwrap().is(secret));
        assert!(!format!("{security:?}").contains(secret));
    }
}
