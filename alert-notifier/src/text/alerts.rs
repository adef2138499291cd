//! The messages that users get without asking.

use cqrs::domain::Timestamp;
use cqrs::{ClaimedMessage, DeliveryKind, Heading, MessageItem};

use super::phrases::{self, Phrases, Section};
use super::rich::{Line, Text};
use crate::buttons::Keyboard;

mod restated;
#[cfg(test)]
mod tests;

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What it says.
    pub text: Text,
    /// The buttons under it.
    pub keyboard: Keyboard,
}

/// How much a digest says about each rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    OneLine,
}

/// What a message says. `now`: when it is sent.
#[must_use]
pub fn render(message: &ClaimedMessage, now: Timestamp) -> Outgoing {
    match message.items.as_slice() {
        [item] => single(message, item, now),
        items => {
            let full = digest(message, items, now, Detail::Full);
            Outgoing {
                text: if full.fits() {
                    full
                } else {
                    digest(message, items, now, Detail::OneLine)
                },
                keyboard: Keyboard::none(),
            }
        }
    }
}

fn phrases<'a>(message: &'a ClaimedMessage, item: &'a MessageItem) -> Phrases<'a> {
    Phrases {
        facts: &item.facts,
        zone: &message.recipient.time_zone,
        language: message.recipient.language,
    }
}

fn single(message: &ClaimedMessage, item: &MessageItem, now: Timestamp) -> Outgoing {
    let language = message.recipient.language;
    let phrases = phrases(message, item);
    let mut text = Text::new(language);
    if let Some(heading) = phrases::heading(message.heading, language) {
        text.push(heading);
        text.blank();
    }
    text.push(phrases.headline());
    let mut keyboard = Keyboard::none();
    match item.facts.kind {
        DeliveryKind::Breach | DeliveryKind::Jump => {
            text.push_more(phrases.price());
            push_if_any(&mut text, phrases.crossings());
            // How long a message was held back on purpose is no time to delivery.
            text.push_more(phrases.quote(now, message.heading == Heading::Plain));
            keyboard = Keyboard::of_breach(item.rule_id, language);
        }
        DeliveryKind::Reminder => {
            text.push_more(phrases.price());
            push_if_any(&mut text, phrases.stay());
            text.push_more(phrases.quote(now, false));
            keyboard = Keyboard::of_breach(item.rule_id, language);
        }
        DeliveryKind::BackInRange | DeliveryKind::CameAndWent => {
            text.push_more(phrases.price());
            push_if_any(&mut text, phrases.stay());
            push_if_any(&mut text, phrases.crossings());
            text.push_more(phrases.quote(now, false));
        }
        DeliveryKind::Test => phrases
            .test(now)
            .into_iter()
            .for_each(|line| text.push_more(line)),
        DeliveryKind::FeedStale => phrases
            .stale(now)
            .into_iter()
            .for_each(|line| text.push_more(line)),
        DeliveryKind::FeedBack => push_if_any(&mut text, phrases.missing()),
        DeliveryKind::Restated => {
            if let Some(restated) = &item.facts.restated {
                restated::details(&mut text, phrases, restated, now);
                keyboard = restated::keyboard(restated, language);
            }
        }
    }
    push_if_any(&mut text, phrases.note());
    if message.may_be_repeat {
        text.push_more(phrases::repeat(language));
    }
    Outgoing { text, keyboard }
}

fn digest(message: &ClaimedMessage, items: &[MessageItem], now: Timestamp, detail: Detail) -> Text {
    let language = message.recipient.language;
    let mut text = Text::new(language);
    if let Some(heading) = phrases::heading(message.heading, language) {
        text.push(heading);
    } else {
        text.push(Line::new().bold(phrases::several(items.len(), language)));
    }
    if message.may_be_repeat {
        text.push_more(phrases::repeat(language));
    }
    for section in Section::ALL {
        let of_section = || {
            items
                .iter()
                .filter(|item| Section::of(item.facts.kind) == section)
        };
        for (at, item) in of_section().enumerate() {
            let phrases = phrases(message, item);
            // A section's title stays with its first item when what is too long is cut.
            if at == 0 {
                text.blank();
                text.push(Line::new().bold(section.title(language)));
                text.push_more(phrases.titled_headline());
            } else {
                text.push(phrases.titled_headline());
            }
            if detail == Detail::Full {
                details(&mut text, phrases, now);
            }
        }
    }
    text
}

/// The second line of a digest's item, and its note.
fn details(text: &mut Text, phrases: Phrases<'_>, now: Timestamp) {
    let second = match phrases.facts.kind {
        DeliveryKind::Breach | DeliveryKind::Jump => {
            format!("{}; {}", phrases.short_price(), phrases.since(now))
        }
        DeliveryKind::Reminder => phrases.short_price(),
        DeliveryKind::BackInRange | DeliveryKind::CameAndWent => phrases.price(),
        DeliveryKind::Test => phrases.test(now).join(" "),
        DeliveryKind::FeedStale => phrases.stale(now).join(" "),
        DeliveryKind::FeedBack => phrases.missing().unwrap_or_default(),
        // Always a message of its own.
        DeliveryKind::Restated => String::new(),
    };
    let indented = |line: String| Line::from(format!("    {line}"));
    if !second.is_empty() {
        text.push_more(indented(second));
    }
    match phrases.facts.kind {
        DeliveryKind::Reminder | DeliveryKind::BackInRange | DeliveryKind::CameAndWent => {
            push_if_any(text, phrases.stay().map(indented));
        }
        DeliveryKind::Breach
        | DeliveryKind::Jump
        | DeliveryKind::Test
        | DeliveryKind::FeedStale
        | DeliveryKind::FeedBack
        | DeliveryKind::Restated => {}
    }
    push_if_any(text, phrases.crossings().map(indented));
    push_if_any(text, phrases.short_note());
}

fn push_if_any(text: &mut Text, line: Option<impl Into<Line>>) {
    if let Some(line) = line {
        text.push_more(line);
    }
}
