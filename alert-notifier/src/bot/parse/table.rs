//! Rules as CSV, out and in.

use cqrs::domain::{Language, NewRule, Note, Price, Range, Rule, Timestamp};

use super::{TableFault, Wrong, price, ticker};

/// The first line.
const COLUMNS: [&str; 6] = ["ticker", "low", "high", "note", "paused", "expires_at"];
/// Most rules in a table: more than anybody is allowed to have.
const MOST: usize = 10_000;
/// What spreadsheets put before text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// All rules, one a line, below a line of names.
pub(in crate::bot) fn export(rules: &[Rule]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let price = |price: Option<Price>| price.map(|price| price.to_string()).unwrap_or_default();
    // Writing to memory does not fail.
    let _ = writer.write_record(COLUMNS);
    for rule in rules {
        let _ = writer.write_record([
            rule.ticker.as_str(),
            &price(rule.range.low()),
            &price(rule.range.high()),
            &cell_of(rule.note.as_str()),
            if rule.paused { "true" } else { "false" },
            &rule.expires_at.map(|at| at.to_string()).unwrap_or_default(),
        ]);
    }
    writer.into_inner().unwrap_or_default()
}

/// What spreadsheets take for a formula begins with one of these.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// Whether it begins with a sign of formulas, or with quotes and then one.
fn is_like_formula(note: &str) -> bool {
    note.trim_start_matches('\'').starts_with(FORMULA)
}

/// A note as text for spreadsheets too: they do not calculate what a quote stands before.
fn cell_of(note: &str) -> String {
    if is_like_formula(note) {
        format!("'{note}")
    } else {
        note.to_owned()
    }
}

/// The note that [`cell_of`] made this of.
fn note_of(cell: &str) -> &str {
    cell.strip_prefix('\'')
        .filter(|note| is_like_formula(note))
        .unwrap_or(cell)
}

/// Reads what [`export`] writes, and what spreadsheets make of it: columns in any order, `;` or tabs between them, those
/// that may be empty left out.
pub(in crate::bot) fn import(bytes: &[u8]) -> Result<Vec<NewRule>, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Table(TableFault::Unreadable))?;
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim_start();
    let names = text.lines().next().unwrap_or_default();
    let delimiter = [b';', b'\t']
        .into_iter()
        .find(|delimiter| names.contains(char::from(*delimiter)))
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let unreadable = |_| Wrong::Table(TableFault::Unreadable);
    let columns = Columns::of(reader.headers().map_err(unreadable)?, delimiter)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(columns.row(&record).map_err(|wrong| wrong.at_line(line))?);
        if rows.len() > MOST {
            return Err(Wrong::TooMany { most: MOST });
        }
    }
    if rows.is_empty() {
        return Err(Wrong::Table(TableFault::Empty));
    }
    Ok(rows)
}

/// Where each value stands in a line.
struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    /// How prices are written: where no comma stands between values, it may stand in them.
    prices: Language,
}

impl Columns {
    fn of(names: &csv::StringRecord, delimiter: u8) -> Result<Self, Wrong> {
        let place = |column: &str| names.iter().position(|name| name.eq_ignore_ascii_case(column));
        let places = COLUMNS.map(place);
        match COLUMNS
            .iter()
            .zip(places)
            .take(3)
            .find(|(_, place)| place.is_none())
        {
            Some((column, _)) => Err(Wrong::Table(TableFault::NoColumn(column))),
            None => Ok(Self {
                places,
                prices: if delimiter == b',' {
                    Language::En
                } else {
                    Language::It
                },
            }),
        }
    }

    fn row(&self, record: &csv::StringRecord) -> Result<NewRule, Wrong> {
        let [symbol, low, high, note, paused, expires_at] = self
            .places
            .map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
        let threshold = |text: &str| match text {
            "" | "-" => Ok(None),
            text => price(text, self.prices).map(Some),
        };
        let moment = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<Timestamp>().map(Some).map_err(Wrong::Time),
        };
        Ok(NewRule {
            ticker: ticker(symbol)?,
            range: Range::new(threshold(low)?, threshold(high)?)?,
            note: note_of(note).parse::<Note>()?,
            paused: match paused.to_lowercase().as_str() {
                "" | "false" | "no" | "0" => false,
                "true" | "yes" | "1" | "si" | "sì" => true,
                _ => return Err(Wrong::Table(TableFault::NotYesOrNo)),
            },
            expires_at: moment(expires_at)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{RuleId, RuleVersion, UserId};

    use super::*;

    fn rule(row: NewRule) -> Rule {
        let now = Timestamp::EPOCH;
        Rule {
            id: RuleId::generate(),
            user_id: UserId::generate(),
            ticker: row.ticker,
            range: row.range,
            note: row.note,
            paused: row.paused,
            expired: false,
            expires_at: row.expires_at,
            snooze: None,
            on_hold_since: None,
            version: RuleVersion::FIRST,
            created_at: now,
            updated_at: now,
        }
    }

    #[test]
    fn what_is_exported_is_imported() {
        let text = "ticker,low,high,note,paused,expires_at\n\
                    AAPL,170,200.5,\"sell \"\"half\"\", then wait\",false,\n\
                    ^GSPC,,5000,'=1+1,true,2026-01-31T14:30:00Z\n\
                    EURUSD=X,1.085,1.5,,false,\n\
                    BTC-USD,50000.125,1234567,,false,\n";
        let rows = import(text.as_bytes()).unwrap();
        assert_eq!(rows[0].note.as_str(), "sell \"half\", then wait");
        let rules: Vec<_> = rows.into_iter().map(rule).collect();
        assert_eq!(String::from_utf8(export(&rules)).unwrap(), text);
    }

    #[test]
    fn tables_of_spreadsheets_are_read() {
        let text = "\u{feff}High;LOW;Ticker\r\n200,5;170;aapl\r\n;;\r\n-;1;msft\r\n";
        let rows = import(text.as_bytes()).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ticker.as_str(), "AAPL");
        assert_eq!(rows[0].range.high(), Some("200.5".parse().unwrap()));
        assert_eq!(rows[1].range.high(), None);
    }

    /// Between commas nobody knows whether "1,234" is a little more than one or more than a thousand.
    #[test]
    fn a_comma_in_a_price_stands_for_a_point_only_where_none_stands_between_values() {
        assert!(matches!(
            import(b"ticker,low,high\nNVDA,,\"1,234\"\n"),
            Err(Wrong::Line { line: 2, wrong }) if matches!(*wrong, Wrong::Price(_))
        ));
    }

    #[test]
    fn a_point_that_may_stand_between_thousands_is_not_guessed_at_where_a_comma_may_stand_for_a_point() {
        for delimiter in [";", "\t"] {
            let table = ["ticker,low,high\n", "NVDA,1,50\n", "NVDA,1,50.000\n"].concat();
            let wrong = import(table.replace(',', delimiter).as_bytes()).unwrap_err();
            let value = "50.000".to_owned();
            assert_eq!(wrong, Wrong::Thousands { value }.at_line(3));
        }
    }

    /// A note that begins with a sign of spreadsheets' formulas would be one in them.
    #[test]
    fn spreadsheets_do_not_calculate_notes() {
        for note in [
            "=HYPERLINK(\"http://x\")",
            "+1",
            "-1",
            "@x",
            "'=1",
            "''+",
            "'tis",
            "plain",
        ] {
            let mut rows = import(b"ticker,low,high\nA,1,2\n").unwrap();
            rows[0].note = note.parse().unwrap();
            let table = export(&rows.into_iter().map(rule).collect::<Vec<_>>());
            let text = String::from_utf8(table.clone()).unwrap();
            let cell = text.lines().nth(1).unwrap().split(',').nth(3).unwrap();
            assert!(
                !cell.trim_start_matches('"').starts_with(['=', '+', '-', '@']),
                "{cell}"
            );
            assert_eq!(import(&table).unwrap()[0].note.as_str(), note);
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let head = "ticker,low,high,paused,expires_at,note\n";
        let fails = |line: &str| match import(format!("{head}A,1,2\n{line}\n").as_bytes()) {
            Err(Wrong::Line { line: 3, wrong }) => *wrong,
            other => panic!("{line}: {other:?}"),
        };
        assert!(matches!(fails("ÄPFEL,1,2"), Wrong::Ticker(_)));
        assert!(matches!(fails("A,x,2"), Wrong::Price(_)));
        assert!(matches!(fails("A,2,1"), Wrong::Range(_)));
        assert!(matches!(fails("A"), Wrong::Range(_)));
        assert!(matches!(
            fails("A,1,2,maybe"),
            Wrong::Table(TableFault::NotYesOrNo)
        ));
        assert!(matches!(fails("A,1,2,,tomorrow"), Wrong::Time(_)));
        assert!(matches!(
            fails(&format!("A,1,2,,,{}", "x".repeat(501))),
            Wrong::Note(_)
        ));
    }

    #[test]
    fn what_is_no_table_is_told() {
        for (bytes, fault) in [
            (&b""[..], TableFault::NoColumn("ticker")),
            (b"hello there", TableFault::NoColumn("ticker")),
            (b"ticker,low\nA,1", TableFault::NoColumn("high")),
            (b"ticker,low,high\n", TableFault::Empty),
            (b"ticker,low,high\n\xff,1,2", TableFault::Unreadable),
            (b"\x89PNG\r\n\x1a\n", TableFault::Unreadable),
        ] {
            assert_eq!(import(bytes), Err(Wrong::Table(fault)));
        }
    }
}
