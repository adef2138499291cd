use std::collections::{BTreeMap, VecDeque};

use cqrs::domain::Timestamp;
use service::kafka::dead_letters::DeadLetter;

use super::args::{FilterArgs, ListArgs};
use super::{counted, failure, open, short, view};
use crate::failure::Failure;
use crate::screen::{Screen, Style};
use crate::table::{Cell, Table};

/// Errors may name values, so that each letter has one of its own: so many are told apart.
const MAX_KINDS: usize = 1_000;
/// So many kinds are shown, the most frequent.
const SHOWN_KINDS: usize = 10;

/// What was read, without the records themselves.
#[derive(Debug, Default)]
struct Listing {
    /// The newest that match, oldest first.
    newest: VecDeque<DeadLetter>,
    /// Offsets of all that match.
    matching: Vec<i64>,
    all: usize,
    /// Letters by topic and error.
    kinds: BTreeMap<(String, String), usize>,
}

pub(super) async fn run(screen: &Screen, args: ListArgs) -> Result<(), Failure> {
    let reader = open(args.kafka.as_ref()).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let earliest = args.since.map(|since| Timestamp::now().minus(since));
    let filter = args.filter;
    let reading = reader.read(Listing::default(), move |listing, letter| {
        listing.take(letter, &filter, earliest, limit);
    });
    let reading = reading.await.map_err(failure)?;
    let listing = reading.state;
    let letter = |letter| view::Letter::new(letter, reading.replays.get(&letter.offset));
    let letters: Vec<view::Letter> = listing.newest.iter().rev().map(letter).collect();
    let replayed = listing
        .matching
        .iter()
        .filter(|offset| reading.replays.contains_key(offset))
        .count();
    screen.result(&letters, || text(screen, &letters, &listing, replayed))
}

impl Listing {
    fn take(
        &mut self,
        mut letter: DeadLetter,
        filter: &FilterArgs,
        earliest: Option<Timestamp>,
        limit: usize,
    ) {
        self.all += 1;
        // A letter without a time is shown rather than forgotten.
        let early = letter
            .set_aside
            .zip(earliest)
            .is_some_and(|(time, earliest)| time < earliest);
        if early || !filter.matches(&letter) {
            return;
        }
        self.matching.push(letter.offset);
        let topic = letter.origin.as_ref().map_or("", |origin| &origin.topic);
        let mut kind = (topic.to_owned(), letter.error.clone());
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind = (String::new(), "(others)".to_owned());
        }
        *self.kinds.entry(kind).or_default() += 1;
        letter.payload = None;
        self.newest.push_back(letter);
        if self.newest.len() > limit {
            self.newest.pop_front();
        }
    }
}

fn text(screen: &Screen, letters: &[view::Letter], listing: &Listing, replayed: usize) -> String {
    if listing.all == 0 {
        return "There are no dead letters: every record could be handled.\n".to_owned();
    }
    if letters.is_empty() {
        let all = counted(listing.all, "dead letter");
        return format!("No dead letter matches; there are {all} in all.\n").replace("are 1 ", "is 1 ");
    }
    let mut text = table(screen, letters);
    if listing.matching.len() > 1 {
        text.push('\n');
        text.push_str(&summary(screen, letters.len(), listing, replayed));
    }
    text
}

fn table(screen: &Screen, letters: &[view::Letter]) -> String {
    let mut table = Table::new([">LETTER", "SET ASIDE", "RECORD", "GROUP", "REPLAYED", "~ERROR"]);
    for letter in letters {
        let time = letter.set_aside_time.map(|time| screen.time(time));
        let origin = letter.origin.as_ref().map_or_else(
            || "unknown".to_owned(),
            |o| format!("{}/{}/{}", short(&o.topic), o.partition, o.offset),
        );
        let replayed = letter.replayed_to.as_ref().map(|_| "yes").unwrap_or_default();
        table.row([
            Cell::styled(letter.offset.to_string(), Style::Strong),
            time.unwrap_or_default().into(),
            origin.into(),
            letter.group.as_str().into(),
            Cell::styled(replayed, Style::Green),
            letter.error.as_str().into(),
        ]);
    }
    screen.render(&table)
}

/// How many of what kind there are, with the errors in full.
fn summary(screen: &Screen, listed: usize, listing: &Listing, replayed: usize) -> String {
    let mut text = counted(listing.matching.len(), "dead letter");
    text.push_str(&match replayed {
        0 => ", none of them replayed".to_owned(),
        some => format!(", {some} of them replayed"),
    });
    if listed < listing.matching.len() {
        text.push_str(&format!("; the newest {listed} are listed, --limit lists more"));
    }
    text.push_str(".\n");
    let mut kinds: Vec<_> = listing.kinds.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut table = Table::new([">COUNT", "TOPIC", "ERROR"]);
    for ((topic, error), count) in kinds.iter().take(SHOWN_KINDS) {
        table.row([
            count.to_string().into(),
            short(topic).into(),
            error.as_str().into(),
        ]);
    }
    text.push_str(&screen.render(&table));
    if let Some(more) = kinds.len().checked_sub(SHOWN_KINDS).filter(|more| *more > 0) {
        text.push_str(&format!("and {} more.\n", counted(more, "other kind")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, error: String) -> DeadLetter {
        DeadLetter {
            offset,
            set_aside: Some(Timestamp::from_micros(offset)),
            origin: None,
            origin_time: None,
            group: String::new(),
            error,
            key: None,
            payload: Some(vec![0; 9]),
            headers: Vec::new(),
        }
    }

    #[test]
    fn however_many_letters_there_are_only_the_newest_are_kept_and_all_are_counted() {
        let mut listing = Listing::default();
        let filter = FilterArgs {
            topic: None,
            group: None,
        };
        for offset in 0..5_000 {
            let earliest = Some(Timestamp::from_micros(1_000));
            listing.take(letter(offset, format!("error {offset}")), &filter, earliest, 20);
        }
        assert_eq!((listing.all, listing.matching.len()), (5_000, 4_000));
        assert_eq!((listing.newest.len(), listing.newest[0].offset), (20, 4_980));
        assert!(listing.newest.iter().all(|letter| letter.payload.is_none()));
        assert_eq!(listing.kinds.len(), MAX_KINDS + 1);
        assert_eq!(listing.kinds.values().sum::<usize>(), 4_000);
    }
}
