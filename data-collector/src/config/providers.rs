//! Which providers are asked, where, and with what keys.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use reqwest::Url;

use super::provider_url;
use crate::provider::binance::Binance;
use crate::provider::finnhub::Finnhub;
use crate::provider::live::{BinanceWire, FinnhubWire};
use crate::provider::twelvedata::TwelveData;
use crate::provider::{ApiKey, yahoo};

/// Providers besides the first, and what they need.
#[derive(Debug, Clone, clap::Args)]
pub struct ProviderArgs {
    /// Who is asked, in this order, for what QUOTE_PROVIDER has no price of: because it does not know the ticker, or because
    /// it fails.
    #[arg(
        long,
        env = "QUOTE_FALLBACK",
        value_enum,
        value_name = "PROVIDERS",
        value_delimiter = ','
    )]
    pub quote_fallback: Vec<FallbackKind>,
    /// yahoo-batch: where it gives its cookies, such as a proxy's address.
    #[arg(long, env = "YAHOO_COOKIE_URL", value_name = "URL", default_value = yahoo::COOKIE_URL,
          value_parser = provider_url, hide_env_values = true)]
    pub yahoo_cookie_url: Url,
    /// yahoo, yahoo-batch: most calls a minute to each of its endpoints. Yahoo does not say how many it allows.
    #[arg(long, env = "YAHOO_CALLS", value_name = "NUMBER", default_value_t = 120,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub yahoo_calls: u32,
    /// finnhub: where it answers.
    #[arg(long, env = "FINNHUB_URL", value_name = "URL", default_value = Finnhub::DEFAULT_URL,
          value_parser = provider_url, hide_env_values = true)]
    pub finnhub_url: Url,
    /// finnhub: the key of your account. Better set in the environment than written here.
    #[arg(long, env = "FINNHUB_API_KEY", value_name = "KEY", hide_env_values = true, value_parser = KeyParser,
          required_if_eq_any([("quote_provider", "finnhub"), ("quote_fallback", "finnhub"),
                               ("quote_provider", "finnhub-live"), ("quote_fallback", "finnhub-live")]))]
    pub finnhub_api_key: Option<ApiKey>,
    /// finnhub: most calls a minute, as your plan allows them.
    #[arg(long, env = "FINNHUB_CALLS", value_name = "NUMBER", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub finnhub_calls: u32,
    /// twelvedata: where it answers.
    #[arg(long, env = "TWELVEDATA_URL", value_name = "URL", default_value = TwelveData::DEFAULT_URL,
          value_parser = provider_url, hide_env_values = true)]
    pub twelvedata_url: Url,
    /// twelvedata: the key of your account. Better set in the environment than written here.
    #[arg(long, env = "TWELVEDATA_API_KEY", value_name = "KEY", hide_env_values = true, value_parser = KeyParser,
          required_if_eq_any([("quote_provider", "twelvedata"), ("quote_fallback", "twelvedata")]))]
    pub twelvedata_api_key: Option<ApiKey>,
    /// twelvedata: credits that your plan has for a minute; each ticker costs one.
    #[arg(long, env = "TWELVEDATA_CREDITS", value_name = "NUMBER", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub twelvedata_credits: u32,
    /// binance: where it answers.
    #[arg(long, env = "BINANCE_URL", value_name = "URL", default_value = Binance::DEFAULT_URL,
          value_parser = provider_url, hide_env_values = true)]
    pub binance_url: Url,
    /// finnhub-live: where it listens.
    #[arg(long, env = "FINNHUB_LIVE_URL", value_name = "URL", default_value = FinnhubWire::DEFAULT_URL,
          value_parser = live_url, hide_env_values = true)]
    pub finnhub_live_url: Url,
    /// binance-live: where it listens.
    #[arg(long, env = "BINANCE_LIVE_URL", value_name = "URL", default_value = BinanceWire::DEFAULT_URL,
          value_parser = live_url, hide_env_values = true)]
    pub binance_live_url: Url,
}

/// A provider that others can fall back on. Made-up prices are not among them: nobody must get them by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FallbackKind {
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

impl ProviderArgs {
    /// No fallback, no keys.
    ///
    /// # Errors
    /// Never: the addresses are constants.
    pub(super) fn none() -> Result<Self, String> {
        Ok(Self {
            quote_fallback: Vec::new(),
            yahoo_cookie_url: provider_url(yahoo::COOKIE_URL)?,
            yahoo_calls: 120,
            finnhub_url: provider_url(Finnhub::DEFAULT_URL)?,
            finnhub_api_key: None,
            finnhub_calls: 60,
            twelvedata_url: provider_url(TwelveData::DEFAULT_URL)?,
            twelvedata_api_key: None,
            twelvedata_credits: 8,
            binance_url: provider_url(Binance::DEFAULT_URL)?,
            finnhub_live_url: live_url(FinnhubWire::DEFAULT_URL)?,
            binance_live_url: live_url(BinanceWire::DEFAULT_URL)?,
        })
    }
}

fn live_url(text: &str) -> Result<Url, String> {
    match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "ws" | "wss") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err(format!("give a URL such as {}", BinanceWire::DEFAULT_URL)),
    }
}

/// A value parser whose errors do not repeat the value, as clap's own do: it is a secret.
#[derive(Debug, Clone, Copy)]
struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = ApiKey;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<ApiKey, clap::Error> {
        value.to_string_lossy().parse::<ApiKey>().map_err(|reason| {
            let variable = arg.and_then(Arg::get_env).unwrap_or_default().to_string_lossy();
            let flag = arg.map(ToString::to_string).unwrap_or_default();
            clap::Error::raw(
                ErrorKind::ValueValidation,
                format!("{variable} ({flag}): {reason}\n"),
            )
            .with_cmd(command)
        })
    }
}
