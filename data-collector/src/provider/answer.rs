//! What a provider answers: for one ticker, and for many in one call.

use std::collections::HashMap;

use cqrs::domain::{Quote, Ticker};

use super::error::{Disposition, ProviderError};
use crate::staleness::Trading;

/// A provider's answer for one ticker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The price.
    pub quote: Quote,
    /// When the ticker is traded, as far as the answer says it.
    pub trading: Trading,
    /// Whether it was traded when the answer was made, as far as the answer says it.
    pub market: Market,
}

/// Whether a market is open, in the provider's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Market {
    /// The answer does not say.
    #[default]
    Unknown,
    /// Its regular hours.
    Open,
    /// Before or after them: there may be trades, which are not in the price.
    Extended,
    /// It is closed.
    Closed,
}

/// A provider's answer to one call for several tickers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(HashMap<Ticker, Result<Fetched, ProviderError>>);

impl Answers {
    /// The answer for `ticker`, taken out. One that is not there is a symbol that the provider does not know: in a batch
    /// such symbols are just missing.
    ///
    /// # Errors
    /// Why there is no price.
    pub fn take(&mut self, ticker: &Ticker) -> Result<Fetched, ProviderError> {
        self.0.remove(ticker).unwrap_or(Err(ProviderError::UnknownSymbol))
    }

    /// The answer for `ticker`. None: the provider does not know the symbol.
    #[must_use]
    pub fn get(&self, ticker: &Ticker) -> Option<&Result<Fetched, ProviderError>> {
        self.0.get(ticker)
    }

    /// Those that are prices.
    pub(super) fn prices_mut(&mut self) -> impl Iterator<Item = &mut Fetched> {
        self.0.values_mut().filter_map(|answer| answer.as_mut().ok())
    }

    /// Whether any of them is a price.
    #[must_use]
    pub fn has_price(&self) -> bool {
        self.0.values().any(Result::is_ok)
    }

    /// How many tickers have an answer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error among the answers that is about the provider and not about one symbol: a limit that was reached half-way
    /// before anything else. A breaker has to hear of it although the call as a whole went well.
    #[must_use]
    pub fn trouble(&self) -> Option<&ProviderError> {
        let errors = || self.0.values().filter_map(|answer| answer.as_ref().err());
        let of = |wanted| errors().find(|error| error.disposition() == wanted);
        of(Disposition::LeaveAlone).or_else(|| of(Disposition::Provider))
    }
}

/// Asks an endpoint that answers one ticker a call. What stops one of the calls stops those behind it.
pub(super) async fn one_by_one<'a, F>(
    tickers: &'a [Ticker],
    ask: impl Fn(&'a Ticker) -> F,
) -> Result<Answers, ProviderError>
where
    F: Future<Output = Result<Fetched, ProviderError>>,
{
    let mut answers = Answers::default();
    for (index, ticker) in tickers.iter().enumerate() {
        let answer = ask(ticker).await;
        let trouble = answer.as_ref().err().filter(|error| !error.is_about_symbol());
        match trouble.cloned() {
            None => answers.extend([(ticker.clone(), answer)]),
            Some(error) if answers.is_empty() => return Err(error),
            Some(error) => {
                let rest = tickers[index..].iter().cloned();
                answers.extend(rest.map(|ticker| (ticker, Err(error.clone()))));
                break;
            }
        }
    }
    Ok(answers)
}

impl FromIterator<(Ticker, Result<Fetched, ProviderError>)> for Answers {
    fn from_iter<I: IntoIterator<Item = (Ticker, Result<Fetched, ProviderError>)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}

impl Extend<(Ticker, Result<Fetched, ProviderError>)> for Answers {
    fn extend<I: IntoIterator<Item = (Ticker, Result<Fetched, ProviderError>)>>(&mut self, answers: I) {
        self.0.extend(answers);
    }
}

impl IntoIterator for Answers {
    type Item = (Ticker, Result<Fetched, ProviderError>);
    type IntoIter = std::collections::hash_map::IntoIter<Ticker, Result<Fetched, ProviderError>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(errors: &[(&str, ProviderError)]) -> Answers {
        errors
            .iter()
            .map(|(name, error)| (name.parse().unwrap(), Err(error.clone())))
            .collect()
    }

    #[test]
    fn what_is_missing_in_a_batch_is_unknown() {
        let mut answers = answers(&[("A", ProviderError::NoPrice { reason: "x".into() })]);
        assert_eq!(
            answers.take(&"B".parse().unwrap()),
            Err(ProviderError::UnknownSymbol)
        );
        assert!(matches!(
            answers.take(&"A".parse().unwrap()),
            Err(ProviderError::NoPrice { .. })
        ));
        assert!(answers.is_empty());
    }

    #[tokio::test]
    async fn what_stops_one_call_stops_those_behind_it_and_is_the_answer_for_their_tickers() {
        let tickers: Vec<Ticker> = ["A", "B", "C"].map(|name| name.parse().unwrap()).into();
        let limited = ProviderError::RateLimited { retry_after: None };
        for (first_bad, calls) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
            let asked = std::cell::Cell::new(0);
            let answers = one_by_one(&tickers, |ticker| {
                asked.set(asked.get() + 1);
                let is_bad = tickers.iter().position(|other| other == ticker).unwrap() >= first_bad;
                let error = if is_bad {
                    limited.clone()
                } else {
                    ProviderError::UnknownSymbol
                };
                std::future::ready(Err(error))
            })
            .await;
            assert_eq!(asked.get(), calls);
            if first_bad == 0 {
                assert_eq!(answers, Err(limited.clone()));
                continue;
            }
            let answers = answers.unwrap();
            for (index, ticker) in tickers.iter().enumerate() {
                let error = answers.get(ticker).unwrap().as_ref().unwrap_err();
                assert_eq!(*error == limited, index >= first_bad);
            }
        }
    }

    #[test]
    fn a_limit_reached_half_way_is_the_first_thing_to_know() {
        let down = ProviderError::Unavailable { reason: "x".into() };
        let limited = ProviderError::RateLimited { retry_after: None };
        assert_eq!(answers(&[("A", ProviderError::UnknownSymbol)]).trouble(), None);
        assert_eq!(
            answers(&[("A", ProviderError::UnknownSymbol), ("B", down.clone())]).trouble(),
            Some(&down)
        );
        assert_eq!(
            answers(&[
                ("A", down),
                ("B", limited.clone()),
                ("C", ProviderError::UnknownSymbol)
            ])
            .trouble(),
            Some(&limited)
        );
    }
}
