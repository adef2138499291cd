use std::collections::HashMap;
use std::time::Duration;

use cqrs::domain::{Quote, Ticker};
use proto::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::cursor::QuotesCursor;
use super::{Authority, HEARTBEAT, Place, Streams, spawn};
use crate::guard::holder_of;
use crate::status::of_store;
use crate::wire::{self, Fields};

/// Most tickers of a stream; its cursor holds something of each.
const MOST_TICKERS: usize = 200;

/// How often the caller's rules are read, for a stream of their tickers.
const RULES_INTERVAL: Duration = Duration::from_secs(5);

type Answers = mpsc::Sender<Result<v1::WatchQuotesResponse, Status>>;

/// The latest prices, and then each new one; to a slow reader, the newest of each ticker.
pub(crate) async fn watch(
    streams: &Streams,
    request: Request<v1::WatchQuotesRequest>,
) -> Result<Response<BoxStream<v1::WatchQuotesResponse>>, Status> {
    let holder = holder_of(&request)?;
    let caller = holder.caller;
    let authority = Authority::new(holder, streams.0.queries.clone());
    let message = request.into_inner();
    let mut fields = Fields::default();
    let cursor = match message.cursor.as_str() {
        "" => Some(QuotesCursor::default()),
        text => fields.take("cursor", QuotesCursor::read(text)),
    };
    let own = message.tickers.is_empty();
    let tickers = named(&mut fields, &message.tickers);
    let (cursor, tickers) = fields.finish(cursor.zip(tickers))?;
    let place = streams.place(caller.0)?;
    let mut follower = Follower {
        own,
        tickers: Vec::new(),
        seen: HashMap::new(),
        cursor,
        rules_read: Instant::now(),
        streams: streams.clone(),
        authority,
        _place: place,
    };
    let tickers = if own {
        follower.tickers_of_rules().await?
    } else {
        tickers
    };
    follower.change_to(tickers)?;
    // One: what waits longer than that is replaced by what is newer.
    Ok(spawn(streams, 1, |answers| follower.follow(answers)))
}

fn named(fields: &mut Fields, given: &[String]) -> Option<Vec<Ticker>> {
    if given.len() > MOST_TICKERS {
        let count = given.len();
        fields.refuse(
            "tickers",
            format!("{count} are too many; name at most {MOST_TICKERS}, and open another stream for more"),
        );
        return None;
    }
    let mut tickers = Vec::with_capacity(given.len());
    for (index, ticker) in given.iter().enumerate() {
        tickers.extend(fields.take(format!("tickers[{index}]"), ticker.parse::<Ticker>()));
    }
    tickers.sort_unstable();
    tickers.dedup();
    Some(tickers)
}

struct Follower {
    /// The tickers are those of the caller's rules, whatever these are at the time.
    own: bool,
    tickers: Vec<Ticker>,
    /// The number of the last price looked at, in this server's count.
    seen: HashMap<Ticker, u64>,
    cursor: QuotesCursor,
    rules_read: Instant,
    streams: Streams,
    authority: Authority,
    _place: Place,
}

impl Follower {
    async fn follow(mut self, answers: Answers) -> Status {
        let mut news = self.streams.0.prices.news();
        self.tell(&answers, None, 0).await;
        let mut told = Instant::now();
        loop {
            news.mark_unchanged();
            if self.tell_new(&answers).await {
                told = Instant::now();
            }
            let pause = if self.own { RULES_INTERVAL } else { HEARTBEAT };
            // The sender is this server's and stays, so the wait ends with news or with the time.
            let _ = tokio::time::timeout(pause, news.changed()).await;
            if let Err(status) = self.look_around().await {
                return status;
            }
            if told.elapsed() >= HEARTBEAT {
                self.tell(&answers, None, 0).await;
                told = Instant::now();
            }
        }
    }

    /// Whether there were any. Each price is taken when there is room for it, so it is the newest then.
    async fn tell_new(&mut self, answers: &Answers) -> bool {
        let mut any = false;
        for ticker in self.tickers.clone() {
            let seen = self.seen.get(&ticker).copied();
            if self.newer(&ticker, seen).is_none() {
                continue;
            }
            // A caller who is gone ends the whole task.
            let Ok(room) = answers.reserve().await else {
                return any;
            };
            let Some(newest) = self.newer(&ticker, seen) else {
                continue;
            };
            let skipped = seen.map_or(0, |seen| newest.number.saturating_sub(seen + 1));
            self.seen.insert(ticker, newest.number);
            if self.cursor.has(&newest.quote) {
                continue;
            }
            self.cursor.take(&newest.quote);
            room.send(Ok(self.answer(Some(&newest.quote), skipped)));
            any = true;
        }
        any
    }

    fn newer(&self, ticker: &Ticker, seen: Option<u64>) -> Option<super::prices::Numbered> {
        let newest = self.streams.0.prices.newest(ticker)?;
        (seen != Some(newest.number)).then_some(newest)
    }

    /// The token may have been revoked, and the rules may be others.
    async fn look_around(&mut self) -> Result<(), Status> {
        self.authority.check().await?;
        if self.own && self.rules_read.elapsed() >= RULES_INTERVAL {
            self.rules_read = Instant::now();
            let tickers = self.tickers_of_rules().await?;
            self.change_to(tickers)?;
        }
        Ok(())
    }

    async fn tickers_of_rules(&self) -> Result<Vec<Ticker>, Status> {
        let (queries, caller) = (&self.streams.0.queries, self.authority.holder.caller);
        let (mut tickers, mut token) = (Vec::new(), None);
        loop {
            let page = queries.rules(caller, token.as_deref(), 200).await;
            let page = page.map_err(|error| of_store(&error))?;
            tickers.extend(page.items.into_iter().map(|rule| rule.ticker));
            tickers.sort_unstable();
            tickers.dedup();
            tickers.truncate(MOST_TICKERS);
            token = page.next;
            if token.is_none() {
                return Ok(tickers);
            }
        }
    }

    fn change_to(&mut self, tickers: Vec<Ticker>) -> Result<(), Status> {
        let prices = &self.streams.0.prices;
        prices.follow(&tickers)?;
        prices.leave(&self.tickers);
        self.seen.retain(|ticker, _| tickers.contains(ticker));
        self.cursor.retain(&tickers);
        self.tickers = tickers;
        Ok(())
    }

    async fn tell(&self, answers: &Answers, quote: Option<&Quote>, skipped: u64) {
        let _ = answers.send(Ok(self.answer(quote, skipped))).await;
    }

    fn answer(&self, quote: Option<&Quote>, skipped: u64) -> v1::WatchQuotesResponse {
        v1::WatchQuotesResponse {
            quote: quote.map(wire::quote),
            cursor: self.cursor.write(),
            skipped_count: i64::try_from(skipped).unwrap_or(i64::MAX),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.streams.0.prices.leave(&self.tickers);
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Timestamp, UserId};
    use cqrs::{Caller, Store, StoreSettings};
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn quote(ticker: &str, price: u32) -> Quote {
        Quote {
            ticker: ticker.parse().unwrap(),
            price: price.to_string().parse().unwrap(),
            currency: String::new(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(price.into()),
            ingest_time: Timestamp::from_micros(6),
            source: "test".into(),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_prices_and_hears_how_many_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            url: format!("sqlite://{}", folder.path().join("x.db").display()),
            read_url: None,
            max_connections: 1,
            connect_timeout: Duration::from_secs(30),
        };
        let store = Store::open(&settings).await.unwrap();
        let streams = Streams::start(&store, store.queries(), CancellationToken::new());
        let caller = Caller(UserId::generate());
        let mut follower = Follower {
            own: false,
            tickers: Vec::new(),
            seen: HashMap::new(),
            cursor: QuotesCursor::default(),
            rules_read: Instant::now(),
            authority: Authority::new(caller.into(), store.queries()),
            _place: streams.place(caller.0).unwrap(),
            streams: streams.clone(),
        };
        let prices = &streams.0.prices;
        let tickers = vec!["AAPL".parse().unwrap(), "MSFT".parse().unwrap()];
        follower.change_to(tickers).unwrap();
        prices.take(vec![quote("AAPL", 1), quote("MSFT", 1)]);
        let (answers, mut reader) = mpsc::channel(1);
        let following = tokio::spawn(follower.follow(answers));
        let mut next = async || {
            let answer = reader.recv().await.unwrap().unwrap();
            let quote = answer.quote.map(|quote| (quote.ticker, quote.price));
            (quote, answer.skipped_count)
        };
        let price = |ticker: &str, price: &str| Some((ticker.to_owned(), price.to_owned()));
        assert_eq!(next().await, (None, 0));
        assert_eq!(next().await, (price("AAPL", "1"), 0));
        assert_eq!(next().await, (price("MSFT", "1"), 0));
        // Nobody reads. One answer fits in between; what comes after it is the newest at the time when there is room.
        for number in 2..=60 {
            prices.take(vec![quote("AAPL", number), quote("MSFT", number)]);
            prices.wake();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut of = HashMap::new();
        while of.get("AAPL") != Some(&"60".to_owned()) || of.get("MSFT") != Some(&"60".to_owned()) {
            let (quote, skipped) = next().await;
            let (ticker, price) = quote.unwrap();
            of.insert(format!("{ticker} skipped"), skipped.to_string());
            of.insert(ticker, price);
        }
        assert_eq!(of["MSFT skipped"], "58", "{of:?}");
        following.abort();
    }
}
