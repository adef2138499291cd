//! The rows of a CSV file of prices.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cqrs::domain::{Price, Quote, Ticker, Timestamp};
use csv::StringRecord;

use super::NAME;

/// The first line of a file.
pub const HEADER: &str = "timestamp,ticker,price,volume";

/// The file can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It can't be read.
    #[error("REPLAY_FILE={path} can't be read: {reason}; give a CSV file that this process may read")]
    Unreadable {
        /// As given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It starts with another line.
    #[error("REPLAY_FILE={path} starts with \"{header}\"; its first line must be \"{HEADER}\"")]
    Header {
        /// As given.
        path: String,
        /// Its first line, cut to 100 characters.
        header: String,
    },
}

/// A row that is no quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RowError {
    /// Counted from 1, the header's.
    pub line: u64,
    /// What is wrong with it, with the value.
    pub reason: String,
}

/// A file's rows, in its order.
#[derive(Debug)]
pub struct Rows<R> {
    reader: csv::Reader<R>,
    record: StringRecord,
}

impl Rows<File> {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// If it can't be read or has another header.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let unreadable = |reason: String| ReplayError::Unreadable {
            path: path.display().to_string(),
            reason,
        };
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(unreadable("it is a folder".into()));
        }
        Rows::new(file, &path.display().to_string())
    }
}

impl<R: Read> Rows<R> {
    /// Reads from `source`, which errors call `path`.
    ///
    /// # Errors
    /// If the first line can't be read or is not the header.
    pub fn new(source: R, path: &str) -> Result<Self, ReplayError> {
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(64 * 1024)
            .from_reader(source);
        let header = reader
            .headers()
            .map_err(|error| ReplayError::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            })?
            .iter()
            .collect::<Vec<_>>()
            .join(",");
        if header == HEADER {
            Ok(Self {
                reader,
                record: StringRecord::new(),
            })
        } else {
            Err(ReplayError::Header {
                path: path.to_owned(),
                header: header.chars().take(100).collect(),
            })
        }
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Quote, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.reader.position().line();
        match self.reader.read_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.line_of(start);
                Some(quote_of(&self.record).map_err(|reason| RowError { line, reason }))
            }
            Err(error) => {
                let line = self.line_of(start);
                let reason = match error.kind() {
                    csv::ErrorKind::UnequalLengths {
                        expected_len, len, ..
                    } => {
                        format!("{len} fields instead of {expected_len}")
                    }
                    _ => error.to_string(),
                };
                Some(Err(RowError { line, reason }))
            }
        }
    }
}

impl<R: Read> Rows<R> {
    /// The line of the row just read. `start` is where reading began, before blank lines that were passed over.
    fn line_of(&self, start: u64) -> u64 {
        start.max(self.reader.position().line().saturating_sub(1))
    }
}

/// `ingest_time` is set when the quote is published.
fn quote_of(row: &StringRecord) -> Result<Quote, String> {
    let field = |index: usize| row.get(index).unwrap_or_default();
    let event_time: Timestamp = field(0).parse().map_err(|error| format!("{error}"))?;
    if event_time < Timestamp::EPOCH {
        return Err(format!("the time {event_time} is before 1970"));
    }
    let ticker: Ticker = field(1).parse().map_err(|error| format!("{error}"))?;
    let price: Price = field(2).parse().map_err(|error| format!("{error}"))?;
    Ok(Quote {
        ticker,
        price,
        currency: String::new(),
        volume: volume_of(field(3))?,
        trade_side: None,
        event_time,
        ingest_time: Timestamp::EPOCH,
        source: NAME.into(),
    })
}

fn volume_of(text: &str) -> Result<Option<i64>, String> {
    let is_zero = text.contains('0') && text.trim_matches('0').trim_matches('.').is_empty();
    match text {
        "" => Ok(None),
        _ if is_zero => Ok(Some(0)),
        // A volume above 0 has the range and the decimals of a price.
        _ => text
            .parse::<Price>()
            .map(|amount| Some(amount.units()))
            .map_err(|error| format!("the volume {:?} can't be used: {}", error.value, error.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Result<Quote, RowError>> {
        Rows::new(text.as_bytes(), "test.csv").unwrap().collect()
    }

    #[test]
    fn rows_come_in_the_order_of_the_file_with_volumes_as_written() {
        let rows = rows(
            "timestamp,ticker,price,volume\n\
             2013-10-07T08:00:00.688Z,AIG,49.18,300\n\
             2013-10-07T07:59:59+00:00,BTC-USD,4652.69,6.63487803\n\
             2013-10-07T08:00:01Z,EURUSD=X,1.386915,\r\n\
             2013-10-07T08:00:02Z,AET.L,0.1455,0\n",
        );
        let seen: Vec<_> = rows
            .into_iter()
            .map(|row| row.unwrap())
            .map(|q| {
                (
                    q.event_time.to_string(),
                    q.ticker.to_string(),
                    q.price.to_string(),
                    q.volume,
                )
            })
            .collect();
        let row = |time: &str, ticker: &str, price: &str, volume| {
            (time.into(), ticker.into(), price.into(), volume)
        };
        assert_eq!(
            seen,
            [
                row("2013-10-07T08:00:00.688Z", "AIG", "49.18", Some(30_000_000_000)),
                row("2013-10-07T07:59:59Z", "BTC-USD", "4652.69", Some(663_487_803)),
                row("2013-10-07T08:00:01Z", "EURUSD=X", "1.386915", None),
                row("2013-10-07T08:00:02Z", "AET.L", "0.1455", Some(0)),
            ]
        );
    }

    #[test]
    fn a_bad_row_names_its_line_and_the_next_row_is_read() {
        let file = "timestamp,ticker,price,volume\n\
             yesterday,AIG,49.18,300\n\
             \n\
             2013-10-07T08:00:00Z,aig,49.18,300\n\
             2013-10-07T08:00:00Z,AIG,0,300\n\
             2013-10-07T08:00:00Z,AIG,NaN,300\n\
             2013-10-07T08:00:00Z,AIG,49.18,-1\n\
             2013-10-07T08:00:00Z,AIG,49.18\n\
             1969-10-07T08:00:00Z,AIG,49.18,1\n\
             2013-10-07T08:00:00Z,AIG,49.18,.\n\
             2013-10-07T08:00:00Z,AIG,49.18,1\n";
        let seen: Vec<(u64, bool)> = rows(file)
            .into_iter()
            .map(|row| row.map_or_else(|e| (e.line, false), |_| (0, true)))
            .collect();
        let bad = |line| (line, false);
        assert_eq!(
            seen,
            [
                bad(2),
                bad(4),
                bad(5),
                bad(6),
                bad(7),
                bad(8),
                bad(9),
                bad(10),
                (0, true)
            ]
        );
        let reasons: Vec<String> = rows(file)
            .into_iter()
            .filter_map(Result::err)
            .map(|e| e.to_string())
            .collect();
        assert!(
            reasons[0].contains("\"yesterday\" is not a time"),
            "{}",
            reasons[0]
        );
        assert!(reasons[1].contains("\"aig\" is not a ticker"), "{}", reasons[1]);
        assert_eq!(reasons[5], "line 8: 3 fields instead of 4");
    }

    #[test]
    fn lines_are_counted_with_either_ending_and_without_the_last() {
        for text in [
            "H\nbad\n\nbad\nbad",
            "H\r\nbad\r\n\r\nbad\r\nbad",
            "H\nbad\n\nbad\nbad\n\n",
        ] {
            let lines: Vec<u64> = rows(&text.replace('H', HEADER))
                .into_iter()
                .filter_map(Result::err)
                .map(|e| e.line)
                .collect();
            assert_eq!(lines, [2, 4, 5], "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_cost_one_row() {
        let mut file = b"timestamp,ticker,price,volume\n2013-10-07T08:00:00Z,A\xff,1,\n".to_vec();
        file.extend_from_slice(b"2013-10-07T08:00:00Z,A,1,\n");
        let rows: Vec<_> = Rows::new(file.as_slice(), "x").unwrap().collect();
        assert_eq!(rows.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn another_header_is_refused() {
        for text in [
            "",
            "a,b\n",
            "ticker,timestamp,price,volume\n2013-10-07T08:00:00Z,A,1,\n",
        ] {
            let error = Rows::new(text.as_bytes(), "x.csv").unwrap_err().to_string();
            assert!(
                error.contains("REPLAY_FILE=x.csv") && error.contains(HEADER),
                "{error}"
            );
        }
    }
}
