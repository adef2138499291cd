use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use service::kafka::dead_letters::{
    DeadLetter, DeadLetterReader, Destination, Obstacle, Place, ReplayError, Replayer,
};

use super::args::ReplayArgs;
use super::view::{Outcome, Replay, Replayed};
use super::{Found, counted, failure, find, open};
use crate::failure::{Exit, Failure};
use crate::screen::{Screen, Style};
use crate::table::{Cell, Table};

/// So many letters are taken into memory at once.
const MAX_LETTERS: usize = 100_000;

type Plan = Vec<Result<Destination, Obstacle>>;

pub(super) async fn run(screen: &Screen, args: ReplayArgs) -> Result<(), Failure> {
    let asks = !args.yes && !args.dry_run;
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let message = "replaying asks before it appends anything, and there is no terminal to ask at";
        return Err(Failure::new(Exit::Misuse, message)
            .remedy("give --yes to go ahead, or --dry-run to see what would be done"));
    }
    let reader = open(args.kafka.as_ref()).await?;
    let mut found = select(&reader, &args).await?;
    if args.again {
        found.replays.clear();
    }
    let plan = reader
        .plan(&found.letters, &found.replays)
        .await
        .map_err(failure)?;
    let appendable = plan.iter().filter(|plan| plan.is_ok()).count();
    if args.dry_run || appendable == 0 {
        let letters = found.letters.iter().zip(plan);
        let outcomes = letters.map(|(letter, plan)| planned(letter, plan)).collect();
        return report(screen, &args, outcomes);
    }
    if !asks {
        let outcomes = append(
            &reader.replayer().map_err(|e| failure(e.into()))?,
            &found.letters,
            plan,
        )
        .await;
        return report(screen, &args, outcomes);
    }
    let question = format!("Append {}? [y/N] ", counted(appendable, "record"));
    let letters = found.letters.iter().zip(plan);
    let outcomes: Vec<Replayed> = letters.map(|(letter, plan)| planned(letter, plan)).collect();
    if !screen.json {
        screen.print(&table(screen, &outcomes))?;
    }
    if !confirmed(&question)? {
        return screen.print(if screen.json {
            ""
        } else {
            "Nothing was appended.\n"
        });
    }
    // The answer may have taken minutes: what the topics hold now counts.
    let plan = reader
        .plan(&found.letters, &found.replays)
        .await
        .map_err(failure)?;
    let outcomes = append(
        &reader.replayer().map_err(|e| failure(e.into()))?,
        &found.letters,
        plan,
    )
    .await;
    report(screen, &args, outcomes)
}

async fn select(reader: &DeadLetterReader, args: &ReplayArgs) -> Result<Found, Failure> {
    if !args.all {
        return find(reader, &args.offsets).await;
    }
    let filter = args.filter.clone();
    let reading = reader.read(Vec::new(), move |letters, letter| {
        if letters.len() <= MAX_LETTERS && filter.matches(&letter) {
            letters.push(letter);
        }
    });
    let reading = reading.await.map_err(failure)?;
    let mut letters = reading.state;
    if letters.len() > MAX_LETTERS {
        let message = format!("more than {MAX_LETTERS} letters match, too many at once");
        return Err(Failure::new(Exit::Refused, message)
            .remedy("choose some with --topic and --group, or name their offsets"));
    }
    letters.retain(|letter| !reading.replays.contains_key(&letter.offset));
    Ok(Found {
        letters,
        replays: BTreeMap::new(),
    })
}

/// One after the other, each acknowledged; stops where one fails.
async fn append(replayer: &Replayer, letters: &[DeadLetter], plan: Plan) -> Vec<Replayed> {
    let mut outcomes = Vec::with_capacity(letters.len());
    let mut failed = false;
    for (letter, plan) in letters.iter().zip(plan) {
        let outcome = match plan {
            Err(_) => planned(letter, plan),
            Ok(_) if failed => Replayed::without_place(letter.offset, Outcome::NotTried, None),
            Ok(destination) => appended(letter, replayer.replay(letter, destination).await),
        };
        failed |= outcome.outcome == Outcome::Failed;
        outcomes.push(outcome);
    }
    outcomes
}

fn appended(letter: &DeadLetter, result: Result<Place, ReplayError>) -> Replayed {
    match result {
        Ok(place) => Replayed {
            letter: letter.offset,
            outcome: Outcome::Appended,
            topic: Some(place.topic),
            partition: Some(place.partition),
            offset: Some(place.offset),
            reason: None,
        },
        Err(error) => Replayed::without_place(letter.offset, Outcome::Failed, Some(error.to_string())),
    }
}

fn planned(letter: &DeadLetter, plan: Result<Destination, Obstacle>) -> Replayed {
    match plan {
        Ok(destination) => Replayed {
            letter: letter.offset,
            outcome: Outcome::WouldBeAppended,
            topic: Some(destination.topic.to_owned()),
            partition: Some(destination.partition),
            offset: None,
            reason: None,
        },
        Err(obstacle) => {
            let outcome = if obstacle.is_settled() {
                Outcome::Skipped
            } else {
                Outcome::Refused
            };
            let mut reason = obstacle.to_string();
            if matches!(obstacle, Obstacle::Replayed(_)) {
                reason.push_str("; --again appends it once more");
            }
            Replayed::without_place(letter.offset, outcome, Some(reason))
        }
    }
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    let unreadable = |error| Failure::new(Exit::Io, format!("the answer could not be read: {error}"));
    let mut terminal = io::stderr().lock();
    terminal
        .write_all(question.as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(unreadable)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// What became of the letters; a failure where one that was asked for was not replayed.
fn report(screen: &Screen, args: &ReplayArgs, outcomes: Vec<Replayed>) -> Result<(), Failure> {
    let replay = Replay {
        dry_run: args.dry_run,
        letters: outcomes,
    };
    screen.result(&replay, || {
        if replay.letters.is_empty() {
            "There is nothing to replay: no letter matches that was not replayed already.\n".to_owned()
        } else {
            table(screen, &replay.letters)
        }
    })?;
    let count = |wanted| replay.letters.iter().filter(|one| one.outcome == wanted).count();
    if let Some(failed) = replay.letters.iter().find(|one| one.outcome == Outcome::Failed) {
        let reason = failed.reason.as_deref().unwrap_or_default();
        let rest = match count(Outcome::NotTried) {
            0 => String::new(),
            some => format!(", and {} after it not tried", counted(some, "letter")),
        };
        let message = format!("letter {} failed{rest}: {reason}", failed.letter);
        return Err(Failure::new(Exit::Unavailable, message).remedy(
            "check that the broker is well and run the same command again; a record that comes twice changes nothing",
        ));
    }
    // Who asks for all does not ask for letters that are settled.
    let skipped = if args.all { 0 } else { count(Outcome::Skipped) };
    let refused = count(Outcome::Refused) + skipped;
    if refused > 0 {
        let message = match &replay.letters[..] {
            [one] => format!("letter {} can't be replayed", one.letter),
            all => format!("{refused} of {} letters can't be replayed", all.len()),
        };
        return Err(Failure::new(Exit::Refused, message).remedy("see the reasons above"));
    }
    Ok(())
}

fn table(screen: &Screen, outcomes: &[Replayed]) -> String {
    let mut table = Table::new([">LETTER", "OUTCOME", "RECORD OR REASON"]);
    for one in outcomes {
        let (outcome, style) = match one.outcome {
            Outcome::Appended => ("appended", Style::Green),
            Outcome::WouldBeAppended => ("would be appended", Style::Plain),
            Outcome::Skipped => ("skipped", Style::Faint),
            Outcome::Refused => ("refused", Style::Red),
            Outcome::Failed => ("failed", Style::Red),
            Outcome::NotTried => ("not tried", Style::Faint),
        };
        let place = one.topic.as_ref().zip(one.partition).map(|(topic, partition)| {
            let offset = one.offset.map(|offset| format!(", offset {offset}"));
            format!("{topic}, partition {partition}{}", offset.unwrap_or_default())
        });
        let explanation = place.or_else(|| one.reason.clone()).unwrap_or_default();
        table.row([
            Cell::styled(one.letter.to_string(), Style::Strong),
            Cell::styled(outcome, style),
            explanation.into(),
        ]);
    }
    screen.render(&table)
}
