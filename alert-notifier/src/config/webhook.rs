use std::fmt;
use std::net::SocketAddr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use secrecy::SecretString;

/// How Telegram's own calls come here, in place of asking Telegram for updates.
#[derive(Clone, Default, clap::Args)]
pub struct WebhookArgs {
    /// Public HTTPS address that Telegram calls, with a path; updates are asked for when not set.
    #[arg(
        long = "telegram-webhook-url",
        env = "TELEGRAM_WEBHOOK_URL",
        value_name = "URL",
        value_parser = webhook_url,
        requires = "webhook_listen"
    )]
    pub webhook_url: Option<reqwest::Url>,
    /// Where those calls arrive, such as 0.0.0.0:8443. Plain HTTP: a proxy before it does TLS.
    #[arg(
        long = "telegram-webhook-listen",
        env = "TELEGRAM_WEBHOOK_LISTEN",
        value_name = "ADDRESS",
        requires = "webhook_url"
    )]
    pub webhook_listen: Option<SocketAddr>,
    /// What Telegram shows with each call, 1 to 256 of A-Z, a-z, 0-9, _ and -; made from the bot's token when not set.
    #[arg(
        long = "telegram-webhook-secret",
        env = "TELEGRAM_WEBHOOK_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        value_parser = SecretParser,
        requires = "webhook_url"
    )]
    pub webhook_secret: Option<SecretString>,
}

impl fmt::Debug for WebhookArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookArgs")
            // Its path may be all that keeps strangers away, and there may be a password before its host.
            .field(
                "webhook_url",
                &self
                    .webhook_url
                    .as_ref()
                    .map(|url| url.origin().ascii_serialization()),
            )
            .field("webhook_listen", &self.webhook_listen)
            .field("webhook_secret", &self.webhook_secret.as_ref().map(|_| "hidden"))
            .finish()
    }
}

fn webhook_url(text: &str) -> Result<reqwest::Url, String> {
    let remedy = "give an address such as https://alerts.example.org/telegram";
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}; {remedy}"))?;
    // Telegram itself takes only https; a Bot API server of one's own takes http too.
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("only http:// and https:// are known here; {remedy}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("it has a query or a fragment; {remedy}"));
    }
    // What axum would take for a pattern. (Braces are encoded by now.)
    if url.path().contains(['*', ':']) {
        return Err(format!(
            "its path has characters other than letters, digits, / - and _; {remedy}"
        ));
    }
    Ok(url)
}

/// A value parser whose errors do not repeat the value, as clap's own do: it is a secret.
#[derive(Debug, Clone, Copy)]
struct SecretParser;

impl TypedValueParser for SecretParser {
    type Value = SecretString;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<SecretString, clap::Error> {
        let text = value.to_string_lossy();
        let fits = (1..=256).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if fits {
            return Ok(text.into_owned().into());
        }
        let reason = "TELEGRAM_WEBHOOK_SECRET (--telegram-webhook-secret) is not one that Telegram takes; give 1 to 256 of \
                      A-Z, a-z, 0-9, _ and -, or leave it unset to have one made\n";
        Err(clap::Error::raw(ErrorKind::ValueValidation, reason).with_cmd(command))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        webhook: WebhookArgs,
    }

    fn parse(arguments: &[&str]) -> Result<WebhookArgs, String> {
        Arguments::try_parse_from([&["x"], arguments].concat())
            .map(|arguments| arguments.webhook)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_and_a_place_to_listen_belong_together() {
        let (url, listen) = (
            ["--telegram-webhook-url", "https://example.org/hook"],
            ["--telegram-webhook-listen", "127.0.0.1:8443"],
        );
        assert!(parse(&[]).unwrap().webhook_url.is_none());
        assert!(parse(&url).unwrap_err().contains("--telegram-webhook-listen"));
        assert!(parse(&listen).unwrap_err().contains("--telegram-webhook-url"));
        let both = parse(&[url, listen].concat()).unwrap();
        assert_eq!(both.webhook_url.unwrap().path(), "/hook");
        for wrong in [
            "example.org",
            "ftp://x/",
            "https://x/?a=b",
            "https://x/*a",
            "https://x/:a",
        ] {
            assert!(
                parse(&[&["--telegram-webhook-url", wrong], &listen[..]].concat()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn of_the_address_only_where_it_leads_is_shown() {
        let args = parse(&[
            "--telegram-webhook-url",
            "https://ada:hunter2@example.org:8443/hunter3",
            "--telegram-webhook-listen",
            "127.0.0.1:8443",
        ]);
        let shown = format!("{:?}", args.unwrap());
        assert!(
            shown.contains("\"https://example.org:8443\"") && !shown.contains("hunter"),
            "{shown}"
        );
    }

    #[test]
    fn a_secret_is_checked_and_never_shown() {
        let with = |secret: &str| {
            parse(&[
                "--telegram-webhook-url",
                "https://example.org/hook",
                "--telegram-webhook-listen",
                "127.0.0.1:8443",
                "--telegram-webhook-secret",
                secret,
            ])
        };
        let args = with("hunter_2-X").unwrap();
        assert_eq!(
            args.webhook_secret.as_ref().unwrap().expose_secret(),
            "hunter_2-X"
        );
        assert!(!format!("{args:?}").contains("hunter"));
        for secret in ["", "hunter 2", "hunter\u{fc}", &"hunter".repeat(50)] {
            let error = with(secret).unwrap_err();
            assert!(
                error.contains("TELEGRAM_WEBHOOK_SECRET") && !error.contains("hunter"),
                "{error}"
            );
        }
    }
}
