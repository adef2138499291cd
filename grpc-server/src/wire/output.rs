use cqrs::domain::{
    Alert, BreakerState, Etag, FeedState, Quote, Restatement, Rule, RuleState, Side, Snooze, Split,
    TickerFeed, Timestamp, User,
};
use cqrs::{IssuedLink, OpenRange};
use proto::v1;

/// A moment on the wire.
pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos,
    }
}

/// A user as its owner sees it.
pub(crate) fn user(user: &User) -> v1::User {
    v1::User {
        id: user.id.to_string(),
        email: user.email.as_str().to_owned(),
        telegram_linked: user.telegram_linked,
        reminder_interval_seconds: user
            .reminder_interval
            .map(cqrs::domain::ReminderInterval::as_secs),
        create_time: Some(timestamp(user.created_at)),
        etag: Etag::of_user(user).to_string(),
    }
}

/// A rule as its owner sees it. `hold`: what it waits for, if it is on hold.
pub(crate) fn rule(rule: &Rule, hold: Option<&Restatement>) -> v1::Rule {
    v1::Rule {
        id: rule.id.to_string(),
        ticker: rule.ticker.to_string(),
        low: rule.range.low().map(|price| price.to_string()),
        high: rule.range.high().map(|price| price.to_string()),
        note: rule.note.as_str().to_owned(),
        paused: rule.paused,
        expire_time: rule.expires_at.map(timestamp),
        version: rule.version.get(),
        create_time: Some(timestamp(rule.created_at)),
        update_time: Some(timestamp(rule.updated_at)),
        hold: hold.map(restating),
        etag: Etag::of_rule(rule).to_string(),
        snooze: rule
            .snooze
            .filter(|snooze| snooze.holds(Timestamp::now()))
            .map(snooze),
        state: match rule.state() {
            RuleState::Active => v1::rule::State::Active,
            RuleState::Paused => v1::rule::State::Paused,
            RuleState::OnHold => v1::rule::State::OnHold,
            RuleState::Expired => v1::rule::State::Expired,
        }
        .into(),
        episode: None,
    }
}

fn snooze(snooze: Snooze) -> v1::Snooze {
    let end = match snooze {
        Snooze::Until(until) => v1::snooze::End::UntilTime(timestamp(until)),
        Snooze::UntilBack => v1::snooze::End::UntilBack(true),
    };
    v1::Snooze { end: Some(end) }
}

/// That a rule's price is out of range.
pub(crate) fn episode(open: &OpenRange) -> v1::Episode {
    v1::Episode {
        side: side(open.side).into(),
        start_time: Some(timestamp(open.opened_at)),
        price: open.price.to_string(),
    }
}

/// A side on the wire.
pub(crate) const fn side(side: Side) -> v1::Side {
    match side {
        Side::In => v1::Side::In,
        Side::Above => v1::Side::Above,
        Side::Below => v1::Side::Below,
    }
}

/// Prices that are counted anew.
fn restating(restatement: &Restatement) -> v1::Restating {
    let shares = |of: fn(Split) -> u32| {
        let shares = restatement.split.map_or(0, of);
        i32::try_from(shares).unwrap_or(i32::MAX)
    };
    v1::Restating {
        restate_time: Some(timestamp(restatement.restated_at)),
        from_price: restatement.from.to_string(),
        to_price: restatement.to.to_string(),
        new_shares: shares(Split::new_shares),
        old_shares: shares(Split::old_shares),
        event_time: Some(timestamp(restatement.event_time)),
    }
}

/// A ticker whose prices are counted anew.
pub(crate) fn restatement(restatement: &Restatement) -> v1::TickerRestatement {
    v1::TickerRestatement {
        ticker: restatement.ticker.to_string(),
        restating: Some(restating(restatement)),
    }
}

/// How a data collector gets on with its provider. `gone`: it has said nothing for long.
pub(crate) fn feed(feed: FeedState, gone: bool) -> v1::Feed {
    let breaker = match feed.breaker {
        BreakerState::Closed => v1::feed::Breaker::Closed,
        BreakerState::Open => v1::feed::Breaker::Open,
        BreakerState::HalfOpen => v1::feed::Breaker::HalfOpen,
    };
    v1::Feed {
        provider: feed.provider,
        instance: feed.instance,
        breaker: breaker.into(),
        reason: feed.reason.unwrap_or_default(),
        ticker_count: i64::try_from(feed.tickers).unwrap_or(i64::MAX),
        last_success_time: feed.last_success_at.map(timestamp),
        update_time: Some(timestamp(feed.updated_at)),
        gone,
    }
}

/// A ticker whose prices stopped.
pub(crate) fn stale_ticker(feed: &TickerFeed) -> v1::StaleTicker {
    v1::StaleTicker {
        ticker: feed.ticker.to_string(),
        stale_time: feed.stale_since.map(timestamp),
    }
}

/// A one-time link. The URL needs the bot's name, which is known once a bot has run.
pub(crate) fn link(link: &IssuedLink) -> v1::TelegramLink {
    let token = link.token.expose();
    v1::TelegramLink {
        token: token.to_owned(),
        url: link
            .bot_username
            .as_ref()
            .map(|bot| format!("https://t.me/{bot}?start={token}"))
            .unwrap_or_default(),
        expire_time: Some(timestamp(link.expires_at)),
    }
}

/// A price as recorded.
pub(crate) fn quote(quote: &Quote) -> v1::Quote {
    v1::Quote {
        ticker: quote.ticker.to_string(),
        price: quote.price.to_string(),
        currency: quote.currency.clone(),
        event_time: Some(timestamp(quote.event_time)),
        ingest_time: Some(timestamp(quote.ingest_time)),
        source: quote.source.clone(),
    }
}

/// An alert as its owner sees it.
pub(crate) fn alert(alert: &Alert) -> v1::Alert {
    v1::Alert {
        id: format!("{}.{}", alert.rule_id, alert.position),
        rule_id: alert.rule_id.to_string(),
        rule_version: alert.position.version.get(),
        ticker: alert.ticker.to_string(),
        side: side(alert.side).into(),
        price: alert.price.to_string(),
        threshold: alert.threshold.to_string(),
        quote_time: Some(timestamp(alert.quote_time)),
        raise_time: Some(timestamp(alert.raised_at)),
        already_outside: alert.already_outside,
        currency: alert.currency.clone(),
    }
}
