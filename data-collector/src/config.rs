mod providers;

pub use providers::{FallbackKind, ProviderArgs};

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use cqrs::domain::Ticker;
use reqwest::Url;
use service::config::KafkaArgs;

use crate::provider::yahoo;
use crate::replay::Rows;
use crate::staleness::SILENT_FOR;

/// Settings of the collector. All that can be wrong in them is found when they are parsed, before anything connects.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Where quotes go to and rules come from.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Where quotes come from.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Where quotes come from.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Market data")]
pub struct SourceArgs {
    /// Where prices come from. There is no default: made-up prices must be somebody's choice.
    #[arg(long, env = "QUOTE_PROVIDER", value_enum)]
    pub quote_provider: ProviderKind,
    /// yahoo: where it answers, such as a proxy's address.
    #[arg(long, env = "QUOTE_PROVIDER_URL", value_name = "URL", default_value = yahoo::DEFAULT_URL,
          value_parser = provider_url, hide_env_values = true)]
    pub quote_provider_url: Url,
    /// How often each ticker is polled, 100ms to 1h.
    #[arg(long, env = "QUOTE_POLL_INTERVAL", value_name = "DURATION", default_value = "15s", value_parser = poll_interval)]
    pub quote_poll_interval: Duration,
    /// How long a provider may give no answer for a ticker in an open market before users are told, 1s to 1d; but at least
    /// three polls.
    #[arg(long, env = "QUOTE_STALE_AFTER", value_name = "DURATION", default_value = "2m", value_parser = stale_after)]
    pub quote_stale_after: Duration,
    /// Tickers to poll whatever rules exist, one per line; text after # is a comment.
    #[arg(long, env = "TICKER_FILE", value_name = "FILE", value_parser = ticker_file)]
    pub ticker_file: Option<PathBuf>,
    /// synthetic: the same seed makes the same prices.
    #[arg(long, env = "SYNTHETIC_SEED", value_name = "NUMBER", default_value_t = DEFAULT_SEED)]
    pub synthetic_seed: u64,
    /// replay: a CSV file of timestamp,ticker,price,volume.
    #[arg(long, env = "REPLAY_FILE", value_name = "FILE", required_if_eq("quote_provider", "replay"),
          value_parser = replay_file)]
    pub replay_file: Option<PathBuf>,
    /// replay: how many times faster than it happened; 0 is as fast as possible.
    #[arg(long, env = "REPLAY_SPEED", value_name = "FACTOR", default_value_t = 1.0, value_parser = replay_speed)]
    pub replay_speed: f64,
    /// Other providers, and what they need.
    #[command(flatten)]
    pub providers: ProviderArgs,
}

/// A source of prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProviderKind {
    /// Made-up prices.
    Synthetic,
    /// Past prices from a file.
    Replay,
    /// Yahoo Finance, one ticker a call.
    Yahoo,
    /// Yahoo Finance, a hundred tickers a call; what is missing there, one a call.
    YahooBatch,
    /// Finnhub: shares of the USA, and crypto.
    Finnhub,
    /// Twelve Data: shares of the USA, currencies and crypto.
    Twelvedata,
    /// Binance: crypto.
    Binance,
    /// Finnhub over a websocket; what has not come yet, one a call.
    FinnhubLive,
    /// Binance over a websocket; what has not come yet, a hundred a call.
    BinanceLive,
}

const DEFAULT_SEED: u64 = 1;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);
const SHORTEST_STALE: Duration = Duration::from_secs(1);
const LONGEST_STALE: Duration = Duration::from_secs(24 * 60 * 60);

impl SourceArgs {
    /// Made-up prices from `seed`, one per ticker and `interval`, for the tickers that rules name.
    ///
    /// # Errors
    /// If the interval is out of bounds.
    pub fn synthetic(seed: u64, interval: Duration) -> Result<Self, String> {
        Ok(Self {
            quote_provider: ProviderKind::Synthetic,
            quote_provider_url: provider_url(yahoo::DEFAULT_URL)?,
            quote_poll_interval: checked_interval(interval)?,
            quote_stale_after: SILENT_FOR,
            ticker_file: None,
            synthetic_seed: seed,
            replay_file: None,
            replay_speed: 1.0,
            providers: ProviderArgs::none()?,
        })
    }
}

fn provider_url(text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|error| format!("{error}; give a URL such as {}", yahoo::DEFAULT_URL))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(format!(
            "the scheme {:?} is not known; give http://... or https://...",
            url.scheme()
        ))
    }
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    checked_interval(service::config::duration(text)?)
}

fn checked_interval(interval: Duration) -> Result<Duration, String> {
    if (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        Ok(interval)
    } else {
        Err("give 100ms to 1h".into())
    }
}

fn stale_after(text: &str) -> Result<Duration, String> {
    let limit = service::config::duration(text)?;
    if (SHORTEST_STALE..=LONGEST_STALE).contains(&limit) {
        Ok(limit)
    } else {
        Err("give 1s to 1d".into())
    }
}

fn replay_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("give 0 (as fast as possible) or a factor above 0, such as 10".into()),
    }
}

fn replay_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    Rows::open(&path).map(|_| path).map_err(|error| error.to_string())
}

fn ticker_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    read_tickers(&path).map(|_| path)
}

/// The tickers of a file, in its order.
///
/// # Errors
/// Which line is no ticker, or that the file can't be read.
pub fn read_tickers(path: &Path) -> Result<Vec<Ticker>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("TICKER_FILE={} can't be read: {error}", path.display()))?;
    let mut tickers: Vec<Ticker> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.is_empty() {
            continue;
        }
        let ticker = name
            .parse()
            .map_err(|error| format!("TICKER_FILE={}, line {}: {error}", path.display(), index + 1))?;
        if !tickers.contains(&ticker) {
            tickers.push(ticker);
        }
    }
    Ok(tickers)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn parse(arguments: &[&str]) -> Result<SourceArgs, String> {
        Arguments::try_parse_from([&["x"], arguments].concat())
            .map(|arguments| arguments.source)
            .map_err(|error| error.to_string())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn defaults_are_yahoos_host_15_seconds_and_two_minutes() {
        let source = parse(&["--quote-provider", "yahoo"]).unwrap();
        assert_eq!(
            source.quote_provider_url.as_str(),
            "https://query1.finance.yahoo.com/"
        );
        assert_eq!(source.quote_poll_interval, Duration::from_secs(15));
        assert_eq!(source.quote_stale_after, Duration::from_secs(120));
    }

    #[test]
    fn a_bad_setting_is_refused_with_what_is_allowed() {
        let empty = file("");
        let empty = empty.path().to_str().unwrap();
        let bad_ticker = file("AAPL\n# comment\nmsft\n");
        for (arguments, expected) in [
            (vec![], "--quote-provider <QUOTE_PROVIDER>"),
            (vec!["--quote-provider", "bloomberg"], "synthetic, replay, yahoo"),
            (vec!["--quote-provider", "replay"], "--replay-file <FILE>"),
            (
                vec!["--quote-provider", "replay", "--replay-file", "/no/such/file"],
                "can't be read",
            ),
            (
                vec!["--quote-provider", "replay", "--replay-file", "/"],
                "directory",
            ),
            (
                vec!["--quote-provider", "replay", "--replay-file", empty],
                "timestamp,ticker,price,volume",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-provider-url", "ftp://x"],
                "http://",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-provider-url", "x"],
                "give a URL",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-poll-interval", "99ms"],
                "100ms to 1h",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-poll-interval", "61m"],
                "100ms to 1h",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-poll-interval", "soon"],
                "500ms",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-stale-after", "999ms"],
                "1s to 1d",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-stale-after", "25h"],
                "1s to 1d",
            ),
            (vec!["--quote-provider", "finnhub"], "--finnhub-api-key <KEY>"),
            (
                vec![
                    "--quote-provider",
                    "yahoo",
                    "--quote-fallback",
                    "binance,twelvedata",
                ],
                "--twelvedata-api-key <KEY>",
            ),
            (
                vec!["--quote-provider", "yahoo", "--quote-fallback", "synthetic"],
                "yahoo, yahoo-batch, finnhub, twelvedata, binance, finnhub-live, binance-live",
            ),
            (
                vec!["--quote-provider", "binance", "--binance-url", "ftp://x"],
                "http://",
            ),
            (
                vec!["--quote-provider", "finnhub-live"],
                "--finnhub-api-key <KEY>",
            ),
            (
                vec!["--quote-provider", "yahoo", "--binance-live-url", "https://x"],
                "wss://",
            ),
            (vec!["--quote-provider", "yahoo", "--replay-speed=-1"], "give 0"),
            (
                vec!["--quote-provider", "yahoo", "--replay-speed", "inf"],
                "give 0",
            ),
            (
                vec!["--quote-provider", "yahoo", "--replay-speed", "NaN"],
                "give 0",
            ),
            (
                vec![
                    "--quote-provider",
                    "synthetic",
                    "--ticker-file",
                    bad_ticker.path().to_str().unwrap(),
                ],
                "line 3: \"msft\" is not a ticker",
            ),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_being_shown() {
        let arguments = ["--quote-provider", "finnhub", "--finnhub-api-key", "my secret!"];
        let error = parse(&arguments).unwrap_err();
        assert!(
            error.contains("--finnhub-api-key") && error.contains("8 to 256"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
        let arguments = ["--quote-provider", "finnhub", "--finnhub-api-key", "my-SECRET"];
        assert!(!format!("{:?}", parse(&arguments).unwrap()).contains("SECRET"));
    }

    #[test]
    fn a_ticker_file_has_one_ticker_per_line_and_comments() {
        let file = file("# mine\nAAPL\n\n  EURUSD=X  # euro\nAAPL\n");
        let names: Vec<String> = read_tickers(file.path())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["AAPL", "EURUSD=X"]);
    }
}
