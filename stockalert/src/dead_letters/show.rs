use service::kafka::dead_letters::DeadLetter;

use super::args::ShowArgs;
use super::{counted, failure, find, open, view};
use crate::failure::Failure;
use crate::screen::{Screen, Style};
use crate::table::{Cell, Table};

/// So much of a value is shown; `--json` gives all of it.
const SHOWN_BYTES: usize = 256;
/// Headers that are shown under names of their own.
const KNOWN_HEADERS: [&str; 6] = ["topic", "partition", "offset", "timestamp", "group", "error"];

pub(super) async fn run(screen: &Screen, args: ShowArgs) -> Result<(), Failure> {
    let reader = open(args.kafka.as_ref()).await?;
    let found = find(&reader, &[args.offset]).await?;
    let plan = reader
        .plan(&found.letters, &found.replays)
        .await
        .map_err(failure)?;
    for (letter, plan) in found.letters.iter().zip(plan) {
        let obstacle = plan.err().map(|obstacle| obstacle.to_string());
        let whole = view::WholeLetter {
            letter: view::Letter::new(letter, found.replays.get(&letter.offset)),
            origin_time: letter.origin_time.and_then(view::time),
            key: letter.key.as_ref().map(|key| key.escape_ascii().to_string()),
            value_size: letter.payload.as_ref().map(Vec::len),
            value_hex: letter.payload.as_deref().map(hex),
            fields: letter.fields().map(|fields| fields.into_iter().collect()),
            replayable: obstacle.is_none(),
            obstacle,
            headers: letter.headers.iter().cloned().map(view::Header::from).collect(),
        };
        screen.result(&whole, || text(screen, letter, &whole))?;
    }
    Ok(())
}

impl From<(String, String)> for view::Header {
    fn from((name, value): (String, String)) -> Self {
        Self { name, value }
    }
}

fn text(screen: &Screen, letter: &DeadLetter, whole: &view::WholeLetter) -> String {
    let mut text = about(screen, whole);
    if let Some(fields) = letter.fields() {
        let mut table = Table::new(["FIELD", "CONTENT"]);
        for (name, content) in fields {
            table.row([name.into(), content.unwrap_or_default().into()]);
        }
        text.push('\n');
        text.push_str(&screen.render(&table));
    }
    if let Some(payload) = letter.payload.as_deref().filter(|payload| !payload.is_empty()) {
        text.push('\n');
        text.push_str(&screen.paint("VALUE", Style::Strong));
        text.push('\n');
        text.push_str(&hexdump(payload));
    }
    text
}

fn about(screen: &Screen, whole: &view::WholeLetter) -> String {
    let time = |time: Option<jiff::Timestamp>| {
        time.map(|time| {
            let zoned = time.to_zoned(screen.zone.clone());
            zoned.strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()
        })
    };
    let place = |place: &view::Origin| {
        let view::Origin {
            topic,
            partition,
            offset,
        } = place;
        format!("{topic}, partition {partition}, offset {offset}")
    };
    let letter = &whole.letter;
    let value = match whole.value_size {
        None => "none (a tombstone)".to_owned(),
        Some(size) => counted(size, "byte"),
    };
    let replayable = match &whole.obstacle {
        None => "yes".to_owned(),
        Some(obstacle) => format!("no: {obstacle}"),
    };
    let mut rows = vec![
        ("Letter", letter.offset.to_string()),
        ("Set aside", time(letter.set_aside_time).unwrap_or_default()),
        ("By group", letter.group.clone()),
        ("Error", letter.error.clone()),
        (
            "Record",
            letter.origin.as_ref().map_or_else(|| "unknown".to_owned(), place),
        ),
        ("Written", time(whole.origin_time).unwrap_or_default()),
        ("Key", whole.key.clone().unwrap_or_else(|| "none".to_owned())),
        ("Value", value),
        (
            "Replayed",
            letter
                .replayed_to
                .as_ref()
                .map_or_else(|| "no".to_owned(), |to| format!("to {}", place(to))),
        ),
        ("Replayable", replayable),
    ];
    for header in &whole.headers {
        if !KNOWN_HEADERS.contains(&header.name.as_str()) {
            rows.push(("Header", format!("{}: {}", header.name, header.value)));
        }
    }
    let mut table = Table::new(["ABOUT", "CONTENT"]);
    for (name, content) in rows {
        table.row([Cell::from(name), content.into()]);
    }
    screen.render(&table)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sixteen bytes a line, with the printable ones beside.
fn hexdump(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let mut text = String::new();
    for (number, line) in shown.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| {
            if (b' '..=b'~').contains(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        };
        let ascii: String = line.iter().map(printable).collect();
        text.push_str(&format!("{:04x}  {:<47}  {ascii}\n", number * 16, hex.join(" ")));
    }
    if bytes.len() > shown.len() {
        let more = bytes.len() - shown.len();
        text.push_str(&format!("and {more} bytes more; --json gives all.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_the_first_bytes_and_never_steers_the_terminal() {
        let mut bytes = b"\x1b[2J not a quote\xff\n".to_vec();
        insta::assert_snapshot!(hexdump(&bytes), @r"
        0000  1b 5b 32 4a 20 6e 6f 74 20 61 20 71 75 6f 74 65  .[2J not a quote
        0010  ff 0a                                            ..
        ");
        bytes.resize(1_000, 0);
        let dump = hexdump(&bytes);
        assert_eq!(dump.lines().count(), SHOWN_BYTES / 16 + 1);
        assert!(
            dump.ends_with("and 744 bytes more; --json gives all.\n"),
            "{dump}"
        );
    }
}
