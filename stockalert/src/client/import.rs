use std::io::Read as _;
use std::path::Path;

use proto::v1;

use super::{Session, dry_run_note, request_id};
use crate::failure::{Exit, Failure};
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

/// The most that the server creates at once.
const MOST: usize = 1_000;

/// More than 1,000 lines with long notes; what is longer is another file.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

/// Adds the rules of a file, each on its own.
pub(super) async fn run(session: &Session, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let lines = parse(&read(file)?)?;
    let connection = session.connect().await?;
    let request = v1::BatchCreateRulesRequest {
        rules: lines.iter().map(|(_, rule)| rule.clone()).collect(),
        request_id: request_id(),
        validate_only: dry_run,
    };
    let answer = connection.idempotent(|| {
        let (mut rules, request) = (connection.rules(), request.clone());
        async move { rules.batch_create_rules(request).await }
    });
    let mut results: Vec<view::BatchResult> = answer.await?.results.into_iter().map(Into::into).collect();
    if dry_run {
        for rule in results.iter_mut().filter_map(|result| result.rule.as_mut()) {
            // They belong to no rule.
            rule.id.clear();
            rule.etag.clear();
        }
    }
    session.screen.result(&results, || {
        table(session, &lines, &results, dry_run) + dry_run_note(dry_run)
    })?;
    match results.iter().filter(|result| result.error.is_some()).count() {
        0 => Ok(()),
        refused => Err(some_refused(refused, results.len() - refused, dry_run)),
    }
}

fn some_refused(refused: usize, others: usize, dry_run: bool) -> Failure {
    let count = |count: usize, thing: &str| match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    };
    let (refused, others) = (count(refused, "line"), count(others, "rule"));
    if dry_run {
        Failure::new(
            Exit::Refused,
            format!("{refused} would be refused, and {others} added"),
        )
        .remedy("correct what is refused before you import the file")
    } else {
        Failure::new(Exit::Refused, format!("refused {refused}, and added {others}"))
            .remedy("correct what was refused and import it alone")
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Io, format!("{} could not be read: {error}", file.display()))
    };
    let mut bytes = Vec::new();
    // One byte more than there may be tells that a file is too long.
    let read = if file == Path::new("-") {
        std::io::stdin().take(MOST_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| failure(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
        let limit = MOST_BYTES / (1024 * 1024);
        return Err(Failure::new(
            Exit::Misuse,
            format!(
                "{} is longer than {limit} MiB, the most that is imported at once",
                file.display()
            ),
        )
        .remedy(format!(
            "split it into files of at most {MOST} lines, and import one after the other"
        )));
    }
    String::from_utf8(bytes).map_err(|_| {
        failure(&"it is not UTF-8 text").remedy("write it as UTF-8 (CSV UTF-8, in a spreadsheet)")
    })
}

/// The rules with the numbers of their lines. Empty lines and those that begin with # say nothing.
fn parse(text: &str) -> Result<Vec<(usize, v1::NewRule)>, Failure> {
    let mut rules = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // A note may have commas.
        let mut parts = line.splitn(4, ',').map(str::trim);
        let ticker = parts.next().unwrap_or_default().to_ascii_uppercase();
        let mut threshold = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (low, high) = (threshold(), threshold());
        let rule = v1::NewRule {
            ticker,
            low,
            high,
            note: parts.next().unwrap_or_default().to_owned(),
            ..Default::default()
        };
        rules.push((index + 1, rule));
    }
    match rules.len() {
        0 => Err(Failure::new(Exit::Misuse, "there is no line with a rule")
            .remedy("give lines TICKER,LOW,HIGH,NOTE, such as AAPL,170,200.50,sell half")),
        1..=MOST => Ok(rules),
        count => Err(
            Failure::new(Exit::Misuse, format!("{count} rules are too many at once"))
                .remedy(format!("import at most {MOST} at a time")),
        ),
    }
}

fn table(
    session: &Session,
    lines: &[(usize, v1::NewRule)],
    results: &[view::BatchResult],
    dry_run: bool,
) -> String {
    let mut table = Table::new([">LINE", "TICKER", "OUTCOME", "RULE OR REASON"]);
    for ((number, line), result) in lines.iter().zip(results) {
        let (outcome, style, more) = match (&result.rule, &result.error) {
            (Some(_), _) if dry_run => ("would be added", Style::Green, String::new()),
            (Some(rule), _) => ("added", Style::Green, rule.id.clone()),
            (None, Some(error)) => ("refused", Style::Red, reason(error)),
            (None, None) => ("not known", Style::Plain, String::new()),
        };
        table.row([
            number.to_string().into(),
            Cell::styled(&line.ticker, Style::Strong),
            Cell::styled(outcome, style),
            more.into(),
        ]);
    }
    session.screen.render(&table)
}

fn reason(error: &view::BatchError) -> String {
    if error.fields.is_empty() {
        return error.message.clone();
    }
    let fields = error.fields.iter();
    let fields: Vec<_> = fields
        .map(|v| format!("{}: {}", v.field, v.description))
        .collect();
    fields.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rules_with_their_numbers() {
        let text = "# ticker,low,high,note\naapl, 170 ,200.50,sell half, or all\n\nMSFT,,450\nIBM\n";
        let rules = parse(text).unwrap();
        let some = |text: &str| Some(text.to_owned());
        let shown: Vec<_> = rules
            .into_iter()
            .map(|(line, rule)| (line, rule.ticker, rule.low, rule.high, rule.note))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    2,
                    "AAPL".into(),
                    some("170"),
                    some("200.50"),
                    "sell half, or all".into()
                ),
                (4, "MSFT".into(), None, some("450"), String::new()),
                // The server says that a threshold is missing.
                (5, "IBM".into(), None, None, String::new()),
            ]
        );
        assert_eq!(parse("\n#\n").unwrap_err().exit, Exit::Misuse);
        assert_eq!(parse(&"A,1\n".repeat(1_001)).unwrap_err().exit, Exit::Misuse);
    }
}
