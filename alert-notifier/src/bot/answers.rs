//! What the bot answers. Knows nothing of Telegram but a chat's id.

use std::fmt::Write as _;

use cqrs::domain::{ChatId, Range, ReminderInterval, Rule, Side, Token, User};
use cqrs::{Caller, CommandError, Commands, Idempotency, Ledger, OpenEpisode, Queries, StoreError, UserEdit};
use sha2::{Digest as _, Sha256};
use teloxide::utils::command::BotCommands as _;

use super::command::{Command, parse_watch, sentence};

/// Characters of a note that a list shows.
const SHORT_NOTE: usize = 60;
/// Rules read at once.
const PAGE: u32 = 200;

const NOT_LINKED: &str = "This chat is not linked to an account. Register (stockalert register, or RegisterUser over gRPC) \
                          and open the link that you get, or write /start TOKEN with the token that you got.";

/// Answers commands, each with the rights of the user whose chat it comes from.
#[derive(Debug)]
pub(crate) struct Desk {
    commands: Commands,
    queries: Queries,
    ledger: Ledger,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// The user can do something about it.
    Told(String),
    /// The user can't.
    Internal(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Internal(error)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Store(error) => Self::Internal(error),
            error @ (CommandError::EmailTaken
            | CommandError::RuleNotFound(_)
            | CommandError::UserNotFound
            | CommandError::Range(_)
            | CommandError::ExpiryInPast { .. }
            | CommandError::TooManyRules { .. }
            | CommandError::EmbeddedLogFull { .. }
            | CommandError::RequestIdReused
            | CommandError::LinkInvalid
            | CommandError::PrivateChatsOnly
            | CommandError::RuleInRange { .. }
            | CommandError::SnoozeInPast { .. }
            | CommandError::UnknownTicker(_)) => Self::Told(sentence(&error)),
        }
    }
}

impl Desk {
    pub(crate) const fn new(commands: Commands, queries: Queries, ledger: Ledger) -> Self {
        Self {
            commands,
            queries,
            ledger,
        }
    }

    /// The answer to a command from a private chat. `update` names it: the same command is not carried out twice.
    pub(super) async fn answer(&self, chat: ChatId, update: u32, command: &Command) -> String {
        match self.try_answer(chat, update, command).await {
            Ok(answer) | Err(Failure::Told(answer)) => answer,
            Err(Failure::Internal(error)) => {
                tracing::error!(%error, "a command to the bot failed");
                "Something went wrong here, and nothing was changed. Please try again in a minute.".to_owned()
            }
        }
    }

    async fn try_answer(&self, chat: ChatId, update: u32, command: &Command) -> Result<String, Failure> {
        match command {
            Command::Help => Ok(Command::descriptions().to_string()),
            Command::Start(token) => self.start(chat, token.trim()).await,
            Command::List => self.list(self.caller(chat).await?).await,
            Command::Watch(text) => self.watch(self.caller(chat).await?, update, text).await,
            Command::Set(text) => {
                let caller = self.caller(chat).await?;
                let interval: ReminderInterval = text
                    .trim()
                    .parse()
                    .map_err(|error| Failure::Told(sentence(&error)))?;
                self.remind(caller, Some(interval)).await
            }
            Command::Unset => self.remind(self.caller(chat).await?, None).await,
        }
    }

    async fn caller(&self, chat: ChatId) -> Result<Caller, Failure> {
        self.queries
            .caller_of_chat(chat)
            .await?
            .ok_or_else(|| Failure::Told(NOT_LINKED.to_owned()))
    }

    async fn start(&self, chat: ChatId, token: &str) -> Result<String, Failure> {
        let linked = self.queries.caller_of_chat(chat).await?;
        if token.is_empty() {
            let caller = linked.ok_or_else(|| Failure::Told(NOT_LINKED.to_owned()))?;
            return Ok(format!(
                "This chat is linked to your account.\n{}",
                self.list(caller).await?
            ));
        }
        match self
            .commands
            .link_chat(&Token::presented(token), chat, None)
            .await
        {
            Ok(user) => {
                let reminders = reminders_of(&user);
                let rules = self.list(Caller(user.id)).await?;
                Ok(format!("This chat now gets your alerts. {reminders}\n{rules}"))
            }
            // Telegram shows its start button again and again.
            Err(CommandError::LinkInvalid) if linked.is_some() => Ok(
                "This link does not work (any more), but this chat is linked to an account already."
                    .to_owned(),
            ),
            Err(error) => Err(error.into()),
        }
    }

    async fn remind(&self, caller: Caller, interval: Option<ReminderInterval>) -> Result<String, Failure> {
        let edit = UserEdit {
            reminder_interval: Some(interval),
            ..UserEdit::default()
        };
        let user = self.commands.update_user(caller, edit, None).await?;
        Ok(reminders_of(&user))
    }

    async fn watch(&self, caller: Caller, update: u32, text: &str) -> Result<String, Failure> {
        let rule = parse_watch(text).map_err(Failure::Told)?;
        let idempotency = Idempotency {
            request_id: format!("telegram-update-{update}"),
            fingerprint: hex::encode(Sha256::digest(text.as_bytes())),
        };
        let rule = self.commands.create_rule(caller, rule, Some(idempotency)).await?;
        Ok(format!(
            "Watching {}: you get a message when it is {}.",
            rule.ticker,
            thresholds(rule.range)
        ))
    }

    async fn list(&self, caller: Caller) -> Result<String, Failure> {
        let episodes = self.ledger.open_episodes(caller.0).await?;
        let mut lines = Vec::new();
        let mut page = None;
        loop {
            let rules = self.queries.rules(caller, page.as_deref(), PAGE).await?;
            lines.extend(rules.items.iter().map(|rule| line(rule, &episodes)));
            page = rules.next;
            if page.is_none() {
                break;
            }
        }
        if lines.is_empty() {
            return Ok("You have no rules yet. Make one with /watch AAPL 180 200.50".to_owned());
        }
        Ok(format!("Your rules:\n{}", lines.join("\n")))
    }
}

fn reminders_of(user: &User) -> String {
    match user.reminder_interval {
        Some(interval) => {
            format!("While a price stays out of range, I remind you every {interval} (/set, /unset).")
        }
        None => "I do not remind you while a price stays out of range (/set 15m changes that).".to_owned(),
    }
}

fn thresholds(range: Range) -> String {
    match (range.low(), range.high()) {
        (Some(low), Some(high)) => format!("at or below {low}, or at or above {high}"),
        (Some(low), None) => format!("at or below {low}"),
        (_, high) => format!(
            "at or above {}",
            high.map(|high| high.to_string()).unwrap_or_default()
        ),
    }
}

/// One rule in a list.
fn line(rule: &Rule, episodes: &[OpenEpisode]) -> String {
    let mut line = format!("{}: tell when {}", rule.ticker, thresholds(rule.range));
    let open = episodes
        .iter()
        .find(|open| open.rule_id == rule.id && open.position.version == rule.version);
    if rule.paused {
        line.push_str(" (paused)");
    } else if rule.expired {
        line.push_str(" (expired)");
    } else if let Some(open) = open {
        line.push_str(if open.side == Side::Below {
            " (now below)"
        } else {
            " (now above)"
        });
    }
    let note = rule.note.as_str();
    if !note.is_empty() {
        let short: String = note.chars().take(SHORT_NOTE).collect();
        let dots = if note.chars().count() > SHORT_NOTE {
            "..."
        } else {
            ""
        };
        let _ = write!(line, ": {short}{dots}");
    }
    line
}
