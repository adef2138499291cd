use std::time::Duration;

use clap::{Args, Subcommand};
use service::config::KafkaArgs;
use service::kafka::dead_letters::DeadLetter;
use service::topics::{ALL, DEAD_LETTERS};

/// The commands that read the broker, not the server.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List letters, newest first, and count them by topic and error
    List(ListArgs),
    /// Show one letter: where its record was, what was wrong, and what the record holds
    Show(ShowArgs),
    /// Append records to the topics that they came from, once what was wrong with them is put right
    Replay(ReplayArgs),
}

// Nothing is created here, so that the partitions of new topics are no question; and that no broker is named is told
// better than clap does it, which knows flags only.
#[derive(Debug, Args)]
#[command(mut_arg("partitions", |arg| arg.hide(true)), mut_arg("bootstrap_servers", |arg| arg.required(false)))]
#[command(after_help = "\
LETTER is what `show` and `replay` take, RECORD where the record was: TOPIC/PARTITION/OFFSET.

Examples:
  stockalert dead-letters list --since 2h
  stockalert dead-letters list --topic rules --group alert-system --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only letters that were set aside in this time until now, such as 30m, 2h or 7d
    #[arg(long, value_name = "DURATION", value_parser = service::config::duration)]
    pub since: Option<Duration>,
    /// At most so many; all are counted
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

#[derive(Debug, Args)]
#[command(mut_arg("partitions", |arg| arg.hide(true)), mut_arg("bootstrap_servers", |arg| arg.required(false)))]
pub(crate) struct ShowArgs {
    /// Offset of the letter, from `dead-letters list`
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: i64,
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

#[derive(Debug, Args)]
#[command(mut_arg("partitions", |arg| arg.hide(true)), mut_arg("bootstrap_servers", |arg| arg.required(false)))]
// Who names letters has chosen them.
#[command(mut_arg("topic", |arg| arg.conflicts_with("offsets")), mut_arg("group", |arg| arg.conflicts_with("offsets")))]
#[command(after_help = "\
A record that still can't be decoded is refused, and so is one of which its topic has a newer version already.
Each record is appended to the partition that it was in, with a header `replayed-from`, and its letter is marked.

Examples:
  stockalert dead-letters replay 41 42
  stockalert dead-letters replay --all --topic quotes --dry-run
  stockalert dead-letters replay --all --yes")]
pub(crate) struct ReplayArgs {
    /// Offsets of letters, from `dead-letters list`
    #[arg(value_name = "OFFSET", required_unless_present = "all", conflicts_with = "all",
          value_parser = clap::value_parser!(i64).range(0..))]
    pub offsets: Vec<i64>,
    /// All letters that were not replayed yet, oldest first
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Also letters that were replayed already
    #[arg(long, conflicts_with = "all")]
    pub again: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

/// Which letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Only records of this topic: rules, quotes, alerts, tickers or feeds, or its full name
    #[arg(long, value_parser = topic)]
    pub topic: Option<&'static str>,
    /// Only records that this consumer group set aside, such as alert-system
    #[arg(long)]
    pub group: Option<String>,
}

impl FilterArgs {
    pub(super) fn matches(&self, letter: &DeadLetter) -> bool {
        let topic = letter.origin.as_ref().map(|origin| origin.topic.as_str());
        self.topic.is_none_or(|name| topic == Some(name))
            && self.group.as_ref().is_none_or(|group| *group == letter.group)
    }
}

/// The full name of a topic whose records can be letters.
fn topic(text: &str) -> Result<&'static str, String> {
    ALL.into_iter()
        .filter(|topic| *topic != DEAD_LETTERS)
        .map(|topic| topic.name)
        .find(|name| *name == text || super::short(name) == text)
        .ok_or_else(|| {
            "give rules, quotes, alerts, tickers or feeds, or a full name such as stockalert.rules.v1".into()
        })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: DeadLettersCommand,
    }

    fn accepts(line: &str) -> bool {
        let words = ["x"].into_iter().chain(line.split(' '));
        let broker = ["--kafka-bootstrap-servers", "localhost:9092"];
        Program::try_parse_from(words.chain(broker)).is_ok()
    }

    #[test]
    fn what_is_replayed_is_named_or_all_but_not_both() {
        assert!(accepts("replay 1 2"));
        assert!(accepts("replay 1 --again"));
        assert!(accepts("replay --all"));
        assert!(accepts(
            "replay --all --topic stockalert.quotes.v1 --group alert-system"
        ));
        assert!(!accepts("replay"));
        assert!(!accepts("replay 1 --all"));
        assert!(!accepts("replay 1 --topic quotes"));
        assert!(!accepts("replay --all --again"));
        assert!(!accepts("replay -- -1"));
    }

    #[test]
    fn a_topic_is_named_in_full_or_in_short() {
        assert_eq!(topic("quotes"), Ok("stockalert.quotes.v1"));
        assert_eq!(topic("stockalert.rules.v1"), Ok("stockalert.rules.v1"));
        assert!(topic("dead-letters").is_err());
        assert!(topic("quote").is_err());
    }
}
