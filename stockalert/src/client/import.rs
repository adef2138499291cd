use std::io::Read as _;
use std::path::Path;

use proto::v1;

use super::{Session, request_id};
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
    let results: Vec<view::BatchResult> = answer.await?.results.into_iter().map(Into::into).collect();
    session
        .screen
        .result(&results, || table(session, &lines, &results))?;
    let refused = results.iter().filter(|result| result.error.is_some()).count();
    if refused == 0 {
        return Ok(());
    }
    let added = results.len() - refused;
    Err(Failure::new(
        Exit::Refused,
        format!("{refused} lines were refused, and {added} rules added"),
    )
    .remedy("correct these lines and import them alone"))
}

fn read(file: &Path) -> Result<String, Failure> {
    let failure = |error: std::io::Error| {
        Failure::new(Exit::Io, format!("{} could not be read: {error}", file.display()))
    };
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
    };
    read.map_err(failure)?;
    Ok(text)
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

fn table(session: &Session, lines: &[(usize, v1::NewRule)], results: &[view::BatchResult]) -> String {
    let mut table = Table::new([">LINE", "TICKER", "OUTCOME", "RULE OR REASON"]);
    for ((number, line), result) in lines.iter().zip(results) {
        let (outcome, style, more) = match (&result.rule, &result.error) {
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
