mod webhook;

use std::fmt;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use cqrs::{Flapping, Limits, Pace};
use secrecy::SecretString;
use service::config::{DatabaseArgs, KafkaArgs};

pub use webhook::WebhookArgs;

/// Settings of the notifier.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    pub telegram: TelegramArgs,
    /// Most rules of one user, 1 to 10000: for the bot's /watch.
    #[arg(long, env = "MAX_RULES_PER_USER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_rules_per_user: u32,
    /// Most rules in all; none: no limit. Set by `stockalert up`, whose log holds no more.
    #[arg(skip)]
    pub rules_in_all: Option<u32>,
    /// How long an instance may take over one send before another takes it for dead. Longer than a send's time limit.
    #[arg(skip = CLAIM_TIMEOUT)]
    pub claim_timeout: Duration,
    /// When a message that failed is tried again.
    #[arg(skip)]
    pub retries: Retries,
    /// When changes of one rule are told together.
    #[arg(skip)]
    pub flapping: Flapping,
}

/// When a message that the messenger did not take is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Pause after the first failure; doubled with each.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// A message that could not be sent for so long is no longer news.
    pub give_up_after: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5 * 60),
            give_up_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// More than a send can take: half of it for its turn, then the request's time limit of 8 s. So long waits a message that a
/// killed instance had in hand.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(20);

impl Config {
    /// What the command line gives when only the required settings are set.
    #[must_use]
    pub fn new(database: DatabaseArgs, kafka: KafkaArgs, telegram: TelegramArgs) -> Self {
        Self {
            database,
            kafka,
            telegram,
            max_rules_per_user: Limits::default().rules_per_user,
            rules_in_all: None,
            claim_timeout: CLAIM_TIMEOUT,
            retries: Retries::default(),
            flapping: Flapping::default(),
        }
    }

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            rules_per_user: self.max_rules_per_user,
            rules_in_all: self.rules_in_all,
        }
    }
}

/// The address of Telegram's own Bot API.
const OFFICIAL_API: &str = "https://api.telegram.org";

/// Telegram's published limits: to all chats, to one, and to a group (20 a minute).
const MESSAGES_PER_SECOND: u32 = 30;
const PER_CHAT: Duration = Duration::from_secs(1);
const GROUPS_SHARE: u32 = 3;

/// Settings of Telegram.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Telegram")]
pub struct TelegramArgs {
    /// From @BotFather, such as 123456:AAF... Messages go to the terminal when not set.
    #[arg(
        long = "telegram-bot-token",
        env = "TELEGRAM_BOT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        value_parser = BotTokenParser
    )]
    pub bot_token: Option<SecretString>,
    /// The Bot API: a server of your own, or a stand-in for tests.
    #[arg(
        long = "telegram-api-url",
        env = "TELEGRAM_API_URL",
        value_name = "URL",
        default_value = OFFICIAL_API,
        value_parser = api_url
    )]
    pub api_url: reqwest::Url,
    /// Most messages a second to all chats, 1 to 1000. Telegram takes 30, and more from those who pay for it.
    #[arg(
        long = "telegram-messages-per-second",
        env = "TELEGRAM_MESSAGES_PER_SECOND",
        value_name = "N",
        default_value_t = MESSAGES_PER_SECOND,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub messages_per_second: u32,
    /// Shortest time between two messages to one chat.
    #[arg(skip = PER_CHAT)]
    pub per_chat: Duration,
    #[command(flatten)]
    pub webhook: WebhookArgs,
}

impl TelegramArgs {
    /// No Telegram: messages go to the terminal.
    ///
    /// # Errors
    /// Never: the address is a constant.
    pub fn terminal() -> Result<Self, String> {
        Ok(Self {
            bot_token: None,
            api_url: api_url(OFFICIAL_API)?,
            messages_per_second: MESSAGES_PER_SECOND,
            per_chat: PER_CHAT,
            webhook: WebhookArgs::default(),
        })
    }

    /// This bot, at this Bot API.
    ///
    /// # Errors
    /// What is wrong with the token or the address, without the token.
    pub fn bot(token: &str, api: &str) -> Result<Self, String> {
        Ok(Self {
            bot_token: Some(bot_token(token)?),
            api_url: api_url(api)?,
            messages_per_second: MESSAGES_PER_SECOND,
            per_chat: PER_CHAT,
            webhook: WebhookArgs::default(),
        })
    }

    pub(crate) const fn pace(&self) -> Pace {
        Pace {
            per_second: self.messages_per_second,
            per_chat: self.per_chat,
            per_group: self.per_chat.saturating_mul(GROUPS_SHARE),
        }
    }
}

impl fmt::Debug for TelegramArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramArgs")
            .field("bot_token", &self.bot_token.as_ref().map(|_| "hidden"))
            .field("api_url", &self.api_url.as_str())
            .field("messages_per_second", &self.messages_per_second)
            .field("webhook", &self.webhook)
            .finish()
    }
}

fn bot_token(text: &str) -> Result<SecretString, String> {
    let fits = text.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_digit())
            && !secret.is_empty()
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    });
    if fits {
        Ok(text.into())
    } else {
        Err("TELEGRAM_BOT_TOKEN (--telegram-bot-token) does not have the form of a bot's token; give DIGITS:LETTERS as \
             @BotFather shows it, or leave it unset to write messages to the terminal"
            .to_owned())
    }
}

fn api_url(text: &str) -> Result<reqwest::Url, String> {
    let remedy = "give an address such as https://api.telegram.org";
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}; {remedy}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("only http:// and https:// are known here; {remedy}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("it has a query or a fragment; {remedy}"));
    }
    Ok(url)
}

/// A value parser whose errors do not repeat the value, as clap's own do: it is a secret.
#[derive(Debug, Clone, Copy)]
struct BotTokenParser;

impl TypedValueParser for BotTokenParser {
    type Value = SecretString;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<SecretString, clap::Error> {
        bot_token(&value.to_string_lossy()).map_err(|reason| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{reason}\n")).with_cmd(command)
        })
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
        config: Config,
    }

    fn parse(extra: &[&str]) -> Result<Config, String> {
        let required = [
            "x",
            "--database-url",
            "sqlite://x.db",
            "--kafka-bootstrap-servers",
            "localhost:9092",
        ];
        Arguments::try_parse_from([&required, extra].concat())
            .map(|arguments| arguments.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_token_messages_go_to_the_terminal() {
        let config = parse(&[]).unwrap();
        assert!(config.telegram.bot_token.is_none());
        assert_eq!(config.telegram.api_url.as_str(), "https://api.telegram.org/");
        assert_eq!(config.claim_timeout, CLAIM_TIMEOUT);
    }

    #[test]
    fn telegrams_limits_are_kept_unless_set_otherwise() {
        let pace = parse(&[]).unwrap().telegram.pace();
        let (second, three) = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(
            (pace.per_second, pace.per_chat, pace.per_group),
            (30, second, three)
        );
        let pace = parse(&["--telegram-messages-per-second", "500"]).unwrap();
        assert_eq!(pace.telegram.pace().per_second, 500);
        for wrong in ["0", "1001", "many"] {
            assert!(parse(&["--telegram-messages-per-second", wrong]).is_err());
        }
    }

    #[test]
    fn a_token_is_taken_and_never_shown() {
        let config = parse(&["--telegram-bot-token", "123:AbC-d_e"]).unwrap();
        assert_eq!(
            config.telegram.bot_token.as_ref().unwrap().expose_secret(),
            "123:AbC-d_e"
        );
        assert!(!format!("{config:?}").contains("AbC"));
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        for token in ["", "hunter2", "123:", ":hunter2", "hunter2:x", "123:hunter2/x"] {
            let error = parse(&["--telegram-bot-token", token]).unwrap_err();
            assert!(
                error.contains("TELEGRAM_BOT_TOKEN") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_address_of_a_bot_api_is_refused() {
        for (url, reason) in [
            ("api.telegram.org", "relative URL"),
            ("ftp://x", "only http"),
            ("https://x/?a=b", "query"),
            ("", "relative URL"),
        ] {
            let error = parse(&["--telegram-api-url", url]).unwrap_err();
            assert!(
                error.contains(reason) && error.contains("https://api.telegram.org"),
                "{error}"
            );
        }
    }
}
