//! Every command, with good and bad arguments, in both languages: what the bot says stands in `snapshots`.

use std::fmt::Write as _;
use std::time::Duration;

use cqrs::domain::{Quote, Timestamp};
use e2e::telegram_stub::{AttachmentKind, SentMessage};

use crate::stage::{Stage, wait_for};

/// Characters of what was said that a transcript shows.
const SAID: usize = 70;

/// In the order in which somebody might write them. `{10k}` stands for ten thousand characters.
const SAID_IN_BOTH: [&str; 76] = [
    "/start",
    "/help",
    "/list",
    "/watch",
    "/watch MSFT 300 400",
    "/watch aapl +5% -3%",
    "/watch GOOGL - 200\nBTC-USD 50000 -, $MSFT +10%",
    "/watch APPL 1 2",
    "/watch APPL +5%",
    "/watch QQQQQQQQ +5%",
    "/watch AAPL 200 170",
    "/watch AAPL - -",
    "/watch AAPL \u{663} 200",
    "/watch AAPL 5% 3%",
    "/watch AAPL +5 -3",
    "/watch AAPL +5% +6%",
    "/watch AAPL -100%",
    "/watch AAPL 0 1",
    "/watch AAPL 99999999999999999999 -",
    "/watch AAPL 170",
    "/watch BTC-USD 50.000 1.234.567",
    "/watch AAPL 1 2 3 4",
    "/watch \u{c4}PFEL 1 2",
    "/watch <b>&amp; 1 2",
    "/watch {10k}",
    "/list",
    "/list msft",
    "/list APPL",
    "/price AAPL msft",
    "/price APPL",
    "/price QQQQQQQQ",
    "/price",
    "/chart",
    "/chart APPL",
    "/chart AAPL 9m",
    "/chart AAPL tomorrow",
    "/chart AAPL 1d",
    "/set 90",
    "/set 2h",
    "/set",
    "/set 5",
    "/set soon",
    "/set \u{663}m",
    "/set 8d",
    "/set 99999999999999999999h",
    "/unset",
    "/snooze AAPL 1h",
    "/snooze AAPL until-back",
    "/snooze all until-back",
    "/snooze",
    "/snooze AAPL \u{663}h",
    "/snooze AAPL 99999999999999999999d",
    "/snooze APPL 1h",
    "/list AAPL",
    "/unsnooze AAPL",
    "/unsnooze",
    "/unsnooze APPL",
    "/quiet",
    "/quiet 22:00 - 07:00 rome",
    "/quiet 25-7",
    "/quiet 22-7 Atlantis",
    "/quiet off",
    "/quiet UTC",
    "/history",
    "/status",
    "/settings",
    "/lang klingon",
    "/lang",
    "/export",
    "/import what is this",
    "/import\nticker,low,high,note\nAAPL,1,2,sell <half>\nAAPL,x,3",
    "/import\nticker;low;high\nBTC-USD;1.234.567;",
    "/import\nticker,low,high,note\nNFLX,1,2,sell <half>\nAAPL,100,200,",
    "/nonsense of mine",
    "hello there",
    "/list@other_bot",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_answered_in_english_and_in_italian() {
    let stage = Stage::set().await;
    stage.user("ada@example.org", Some(42)).await;
    stage.user("bruno@example.org", Some(43)).await;
    stage.telegram.speaks(42, "en-GB");
    stage.telegram.speaks(43, "it");
    record(&stage, "AAPL", "187.23").await;
    record(&stage, "MSFT", "350.5").await;
    let notifier = stage.start();
    for (chat, language) in [(42, "english"), (43, "italian")] {
        let mut transcript = String::new();
        for said in SAID_IN_BOTH {
            let text = said.replace("{10k}", &"x".repeat(10_000));
            let answer = ask(&stage, chat, &text).await;
            write_down(&mut transcript, &text, &answer);
        }
        let last = stage.telegram.say(chat, "/stop");
        stage.telegram.edit(chat, last, "/list");
        let edited = next(&stage, chat, 2).await;
        write_down(&mut transcript, "/stop", &edited[0]);
        write_down(
            &mut transcript,
            "(the message before, changed to /list)",
            &edited[1],
        );
        write_down(&mut transcript, "/list", &ask(&stage, chat, "/list").await);
        insta::assert_snapshot!(language, transcript);
    }
    notifier.stop().await;

    for (code, first) in [
        ("", "watch a price"),
        ("en", "watch a price"),
        ("it", "segui un prezzo"),
    ] {
        let commands = stage.telegram.commands(code);
        assert_eq!(
            (commands.len(), commands[0].description.as_str()),
            (19, first),
            "{code}"
        );
    }
}

pub(crate) async fn record(stage: &Stage, ticker: &str, price: &str) {
    let now = Timestamp::now().minus(Duration::from_secs(2));
    let quote = Quote {
        ticker: ticker.parse().unwrap(),
        price: price.parse().unwrap(),
        currency: "USD".to_owned(),
        volume: None,
        trade_side: None,
        event_time: now,
        ingest_time: now,
        source: "synthetic".to_owned(),
    };
    stage.store.history().record(&[(quote, 1)]).await.unwrap();
}

async fn ask(stage: &Stage, chat: i64, text: &str) -> SentMessage {
    let before = stage.telegram.messages_to(chat).len();
    stage.telegram.say(chat, text);
    let shown: String = text.chars().take(SAID).collect();
    wait_for(&format!("an answer to {shown}"), async || {
        stage.telegram.messages_to(chat).get(before).cloned()
    })
    .await
}

/// The next messages that the chat gets.
async fn next(stage: &Stage, chat: i64, count: usize) -> Vec<SentMessage> {
    let before = stage.telegram.messages_to(chat).len();
    wait_for("answers", async || {
        let messages = stage.telegram.messages_to(chat);
        messages.get(before..before + count).map(<[_]>::to_vec)
    })
    .await
}

fn write_down(transcript: &mut String, said: &str, answer: &SentMessage) {
    let mut shown: String = said.chars().take(SAID).collect();
    if said.chars().count() > SAID {
        shown.push('…');
    }
    for line in shown.lines() {
        let _ = writeln!(transcript, "> {line}");
    }
    if let Some(attachment) = &answer.attachment {
        let kind = match attachment.kind {
            AttachmentKind::Photo => "photo",
            AttachmentKind::Document => "document",
        };
        let _ = writeln!(transcript, "({kind} {})", attachment.file_name);
    }
    for line in answer.text.lines() {
        let _ = writeln!(transcript, "{}", without_time(line));
    }
    for row in answer
        .reply_markup
        .iter()
        .filter_map(|markup| markup["inline_keyboard"].as_array())
        .flatten()
    {
        let labels = row
            .as_array()
            .into_iter()
            .flatten()
            .map(|button| format!("[{}]", button["text"].as_str().unwrap()));
        let _ = writeln!(transcript, "{}", labels.collect::<Vec<_>>().join(" "));
    }
    if answer.asks_for_reply() {
        transcript.push_str("(asks for an answer)\n");
    }
    transcript.push('\n');
}

/// The line without what depends on when it was written: `14:30:05 UTC`, `30 Jan, 14:30 UTC`, `2 s ago`, `2 s fa`.
fn without_time(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        if word.starts_with("UTC") && words.last().is_some_and(|last| last.contains(':')) {
            words.pop();
            if words
                .last()
                .is_some_and(|last| last.ends_with(',') && last.len() == 4)
            {
                words.truncate(words.len() - 2);
                // `al 30 gen`, and `alle 14:30`: an hour from now may be tomorrow.
                if let Some(preposition) = words.last_mut().filter(|word| *word == "al") {
                    *preposition = "alle".to_owned();
                }
            }
            words.push(format!("MOMENT{}", &word[3..]));
        } else if (word.starts_with("ago") || word.starts_with("fa"))
            && words.last().is_some_and(|last| last == "s")
        {
            words.truncate(words.len() - 2);
            words.push(format!("SECONDS {word}"));
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}
