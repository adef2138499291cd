//! The rows of a CSV file of prices.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use cqrs::domain::{Price, Quote, Ticker, Timestamp};

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

/// Longest line, in bytes: several times what a row can need.
const MAX_LINE: u64 = 1_024;

/// A file's rows, in its order. Fields are separated by commas and not quoted: none of them can hold a comma.
#[derive(Debug)]
pub struct Rows<R> {
    reader: R,
    buffer: Vec<u8>,
    line: u64,
    failed: bool,
}

impl Rows<BufReader<File>> {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// If it can't be read or has another header.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let path_text = path.display().to_string();
        let file = File::open(path).map_err(|error| ReplayError::Unreadable {
            path: path_text.clone(),
            reason: error.to_string(),
        })?;
        Rows::new(BufReader::with_capacity(64 * 1024, file), &path_text)
    }
}

impl<R: BufRead> Rows<R> {
    /// Reads from `reader`, which errors call `path`.
    ///
    /// # Errors
    /// If the first line can't be read or is not the header.
    pub fn new(reader: R, path: &str) -> Result<Self, ReplayError> {
        let mut rows = Self {
            reader,
            buffer: Vec::new(),
            line: 0,
            failed: false,
        };
        rows.read_line().map_err(|error| ReplayError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        // Some programs put a byte order mark in front.
        let header = String::from_utf8_lossy(&rows.buffer);
        let header = header.trim_start_matches('\u{feff}').trim_end();
        if header == HEADER {
            return Ok(rows);
        }
        Err(ReplayError::Header {
            path: path.to_owned(),
            header: header.chars().take(100).collect(),
        })
    }

    /// Reads the next line into the buffer; false at the end.
    fn read_line(&mut self) -> std::io::Result<bool> {
        self.buffer.clear();
        let read = self
            .reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.buffer)?;
        if self.buffer.len() as u64 == MAX_LINE && !self.buffer.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
        }
        self.line += 1;
        Ok(read > 0)
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Quote, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.failed {
                return None;
            }
            let quote = match self.read_line() {
                Ok(false) => return None,
                Ok(true) if self.buffer.trim_ascii().is_empty() => continue,
                Ok(true) => quote_of(self.buffer.trim_ascii_end()),
                Err(error) => {
                    self.failed = true;
                    Err(format!("the file can't be read any further: {error}"))
                }
            };
            return Some(quote.map_err(|reason| RowError {
                line: self.line,
                reason,
            }));
        }
    }
}

/// `ingest_time` is set when the quote is published.
fn quote_of(row: &[u8]) -> Result<Quote, String> {
    if row.len() as u64 == MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes"));
    }
    let row = std::str::from_utf8(row).map_err(|_| "it is not UTF-8 text")?;
    let fields: Vec<&str> = row.split(',').collect();
    let [time, ticker, price, volume] = fields[..] else {
        return Err(format!("it has {} fields instead of 4", fields.len()));
    };
    let event_time: Timestamp = time.parse().map_err(|error| format!("{error}"))?;
    if event_time < Timestamp::EPOCH {
        return Err(format!("the time {event_time} is before 1970"));
    }
    let ticker: Ticker = ticker.parse().map_err(|error| format!("{error}"))?;
    let price: Price = price.parse().map_err(|error| format!("{error}"))?;
    Ok(Quote {
        ticker,
        price,
        currency: String::new(),
        volume: volume_of(volume)?,
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
        let file = "\u{feff}timestamp,ticker,price,volume\n\
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
        assert_eq!(reasons[5], "line 8: it has 3 fields instead of 4");
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
    fn a_line_without_end_costs_one_row() {
        let long = "x".repeat(10_000);
        let file = format!("{HEADER}\n{long}\n2013-10-07T08:00:00Z,A,1,\n");
        let seen = rows(&file);
        assert!(
            seen[0]
                .as_ref()
                .unwrap_err()
                .to_string()
                .starts_with("line 2: it is longer than")
        );
        assert!(seen[1].is_ok() && seen.len() == 2);
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
