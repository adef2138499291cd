//! From the settings to the providers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::binance::Binance;
use super::finnhub::Finnhub;
use super::limit::Rate;
use super::live::{BinanceWire, FinnhubWire, Live, Timing};
use super::synthetic::Synthetic;
use super::twelvedata::TwelveData;
use super::yahoo::{Chart, Quotes};
use super::{ApiKey, Provider};
use crate::config::{FallbackKind, ProviderArgs, ProviderKind, SourceArgs};

/// The provider that `args` name and its fallbacks, in order of preference, each endpoint once. None for a replay.
///
/// # Errors
/// If a key is missing, or TLS can't be set up.
pub(crate) fn providers(args: &SourceArgs) -> anyhow::Result<Vec<Box<dyn Provider>>> {
    let mut providers: Vec<Box<dyn Provider>> = Vec::new();
    let first = match args.quote_provider {
        ProviderKind::Replay => return Ok(providers),
        ProviderKind::Synthetic => {
            providers.push(Box::new(Synthetic::new(args.synthetic_seed)));
            None
        }
        ProviderKind::Yahoo => Some(FallbackKind::Yahoo),
        ProviderKind::YahooBatch => Some(FallbackKind::YahooBatch),
        ProviderKind::Finnhub => Some(FallbackKind::Finnhub),
        ProviderKind::Twelvedata => Some(FallbackKind::Twelvedata),
        ProviderKind::Binance => Some(FallbackKind::Binance),
        ProviderKind::FinnhubLive => Some(FallbackKind::FinnhubLive),
        ProviderKind::BinanceLive => Some(FallbackKind::BinanceLive),
    };
    let fallbacks = args.providers.quote_fallback.iter().copied();
    for kind in first.into_iter().chain(fallbacks) {
        for provider in endpoints(kind, args).with_context(|| format!("{kind:?} can't be asked"))? {
            let is_new = providers
                .iter()
                .all(|other| (other.name(), other.endpoint()) != (provider.name(), provider.endpoint()));
            if is_new {
                providers.push(provider);
            }
        }
    }
    Ok(providers)
}

fn endpoints(kind: FallbackKind, args: &SourceArgs) -> anyhow::Result<Vec<Box<dyn Provider>>> {
    let (yahoo, others) = (&args.quote_provider_url, &args.providers);
    let a_minute = |budget| Rate {
        budget,
        per: Duration::from_secs(60),
    };
    let chart = || -> anyhow::Result<Chart> {
        Ok(Chart::new(yahoo.clone())?.limited_to(a_minute(others.yahoo_calls)))
    };
    let endpoints: Vec<Box<dyn Provider>> = match kind {
        FallbackKind::Yahoo => vec![Box::new(chart()?)],
        FallbackKind::YahooBatch => {
            let quotes = Quotes::new(yahoo.clone(), others.yahoo_cookie_url.clone())?;
            vec![
                Box::new(quotes.limited_to(a_minute(others.yahoo_calls))),
                Box::new(chart()?),
            ]
        }
        FallbackKind::Finnhub => {
            let provider = Finnhub::new(others.finnhub_url.clone(), finnhub_key(others)?)?;
            vec![Box::new(provider.limited_to(a_minute(others.finnhub_calls)))]
        }
        FallbackKind::Twelvedata => {
            let key = others.twelvedata_api_key.as_ref();
            let key = key.context("TWELVEDATA_API_KEY is not set")?;
            let provider = TwelveData::new(others.twelvedata_url.clone(), key)?;
            vec![Box::new(provider.limited_to(a_minute(others.twelvedata_credits)))]
        }
        FallbackKind::Binance => vec![Box::new(Binance::new(others.binance_url.clone())?)],
        FallbackKind::FinnhubLive => {
            let wire = FinnhubWire::new(others.finnhub_live_url.clone(), finnhub_key(others)?);
            let mut all: Vec<Box<dyn Provider>> =
                vec![Box::new(Live::start(Arc::new(wire), Timing::default()))];
            all.extend(endpoints(FallbackKind::Finnhub, args)?);
            all
        }
        FallbackKind::BinanceLive => {
            let wire = BinanceWire::new(others.binance_live_url.clone());
            let mut all: Vec<Box<dyn Provider>> =
                vec![Box::new(Live::start(Arc::new(wire), Timing::default()))];
            all.extend(endpoints(FallbackKind::Binance, args)?);
            all
        }
    };
    Ok(endpoints)
}

fn finnhub_key(args: &ProviderArgs) -> anyhow::Result<&ApiKey> {
    let key = args.finnhub_api_key.as_ref();
    key.context("FINNHUB_API_KEY is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(first: ProviderKind, fallback: &[FallbackKind]) -> Vec<String> {
        let mut args = SourceArgs::synthetic(1, Duration::from_secs(1)).unwrap();
        args.quote_provider = first;
        args.providers.quote_fallback = fallback.to_vec();
        args.providers.finnhub_api_key = Some("a-key-of-8".parse().unwrap());
        providers(&args)
            .unwrap()
            .iter()
            .map(|provider| format!("{} {}", provider.name(), provider.endpoint()))
            .collect()
    }

    #[test]
    fn each_endpoint_is_there_once_in_the_order_of_the_settings() {
        assert_eq!(opened(ProviderKind::Yahoo, &[]), ["yahoo chart"]);
        assert_eq!(
            opened(
                ProviderKind::Binance,
                &[
                    FallbackKind::YahooBatch,
                    FallbackKind::Yahoo,
                    FallbackKind::Finnhub
                ]
            ),
            ["binance price", "yahoo quote", "yahoo chart", "finnhub quote"]
        );
        assert_eq!(
            opened(ProviderKind::Synthetic, &[]),
            ["synthetic trades"],
            "made-up prices are never a fallback"
        );
        assert!(opened(ProviderKind::Replay, &[FallbackKind::Yahoo]).is_empty());
    }

    #[tokio::test]
    async fn live_prices_come_before_those_that_are_asked_for() {
        assert_eq!(
            opened(
                ProviderKind::BinanceLive,
                &[FallbackKind::FinnhubLive, FallbackKind::Binance]
            ),
            ["binance live", "binance price", "finnhub live", "finnhub quote"]
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        let mut args = SourceArgs::synthetic(1, Duration::from_secs(1)).unwrap();
        args.providers.quote_fallback = vec![FallbackKind::Twelvedata];
        let error = format!("{:#}", providers(&args).unwrap_err());
        assert!(error.contains("TWELVEDATA_API_KEY"), "{error}");
    }
}
