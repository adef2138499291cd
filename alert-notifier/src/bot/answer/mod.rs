//! What the bot answers. Knows nothing of Telegram but a chat's id.

mod account;
mod holds;
mod known;
mod press;
mod prices;
mod released;
mod rules;
mod state;
mod suspended;
mod transfer;

use std::sync::Arc;

use cqrs::domain::{ChatId, Language, Timestamp, User};
use cqrs::{Caller, CommandError, Commands, Idempotency, Ledger, Queries, StoreError};
use service::test_alerts::TestAlerts;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::command::Command;
use super::incoming::Incoming;
use super::parse::Wrong;
use super::reply::{Press, Reply};
use super::request::{MAX_CHARACTERS, Request, Table};
use super::text::{Reader, help, refusals, transfer as transfer_text};
use crate::buttons::{Action, Keyboard, ParseActionError};
use crate::text::rich::Text;

/// Charts drawn at once: each takes a thread for a moment.
const CHARTS_AT_ONCE: usize = 2;

/// Answers people, each with the rights of the user whose chat it comes from.
#[derive(Debug)]
pub(crate) struct Desk {
    commands: Commands,
    queries: Queries,
    ledger: Ledger,
    tests: TestAlerts,
    /// Shown to users.
    rules_per_user: u32,
    charts: Arc<Semaphore>,
}

/// Who asks, in a chat that is linked.
#[derive(Debug, Clone)]
struct Asker {
    caller: Caller,
    user: User,
    reader: Reader,
    /// Names the request: it is not carried out twice.
    update: u32,
}

/// Why something was not done.
#[derive(Debug)]
enum Failure {
    /// The chat is not linked.
    NotLinked,
    /// What follows the command can't be read.
    Wrong(Command, Wrong),
    /// The command was refused.
    Refused(CommandError),
    /// In these words.
    Told(Text),
    /// One of several rules can't be made, so that none was.
    OfMany(Box<Failure>),
}

impl Failure {
    /// Of one rule, where several were to be made.
    fn of_many(self) -> Self {
        if matches!(self, Self::Refused(CommandError::Store(_))) {
            // Whether anything was done is not known.
            self
        } else {
            Self::OfMany(Box::new(self))
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(CommandError::Store(error))
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Refused(error)
    }
}

type Replies = Result<Vec<Reply>, Failure>;

impl Desk {
    pub(crate) fn new(
        commands: Commands,
        queries: Queries,
        ledger: Ledger,
        tests: TestAlerts,
        rules_per_user: u32,
    ) -> Self {
        Self {
            commands,
            queries,
            ledger,
            tests,
            rules_per_user,
            charts: Arc::new(Semaphore::new(CHARTS_AT_ONCE)),
        }
    }

    /// Answers what was written. A file that is a table has been read: `file` is what is in it.
    pub(super) async fn answer(
        &self,
        incoming: &Incoming,
        request: &Request,
        file: Option<&[u8]>,
    ) -> Vec<Reply> {
        let asker = match self.asker(incoming).await {
            Ok(asker) => asker,
            Err(error) => return vec![failed(error.into(), &stranger(incoming)).into()],
        };
        let reader = asker
            .as_ref()
            .map_or_else(|| stranger(incoming), |asker| asker.reader.clone());
        let carried_out = self.carry_out(incoming, asker.as_ref(), &reader, request, file);
        let mut replies = match carried_out.await {
            Ok(replies) => replies,
            Err(failure) => vec![failed(failure, &reader).into()],
        };
        if let Some(asker) = &asker {
            suspended::end(&mut replies, request, asker);
        }
        replies
    }

    /// Answers a pressed button. `keyboard`: those it stands among.
    pub(super) async fn press(&self, incoming: &Incoming, data: &str, keyboard: &Keyboard) -> Press {
        let asker = match self.asker(incoming).await {
            Ok(Some(asker)) => asker,
            Ok(None) => return told(failed(Failure::NotLinked, &stranger(incoming))),
            Err(error) => return told(failed(error.into(), &stranger(incoming))),
        };
        let action: Action = match data.parse() {
            Ok(action) => action,
            Err(ParseActionError) => {
                return Press {
                    notice: refusals::old_button(asker.reader.language).to_owned(),
                    ..Press::default()
                };
            }
        };
        let mut press = match self.try_press(&asker, action, keyboard).await {
            Ok(press) => press,
            Err(failure) => told(failed(failure, &asker.reader)),
        };
        suspended::end_press(&mut press, &asker);
        press
    }

    /// The language to write to the chat's user in. None: it is not linked, or nobody can say.
    pub(super) async fn users_language(&self, incoming: &Incoming) -> Option<Language> {
        let asker = self.asker(incoming).await.ok()??;
        Some(asker.reader.language)
    }

    /// The language to write to this chat in, where there is nothing else to look up.
    pub(super) async fn language(&self, incoming: &Incoming) -> Language {
        let users = self.users_language(incoming).await;
        users.or(incoming.language).unwrap_or_default()
    }

    async fn carry_out(
        &self,
        incoming: &Incoming,
        asker: Option<&Asker>,
        reader: &Reader,
        request: &Request,
        file: Option<&[u8]>,
    ) -> Replies {
        let language = reader.language;
        let known = || asker.ok_or(Failure::NotLinked);
        let text = |text: Text| Ok(vec![text.into()]);
        match request {
            Request::Command(Command::Start, token) => self.start(incoming, asker, token).await,
            Request::Command(Command::Help, _) => text(help::help(language)),
            Request::Command(command, rest) => self.command(known()?, *command, rest).await,
            Request::Edit { code, text } => self.edit(known()?, code, text).await,
            Request::Table(Table::Text(table)) => self.import(known()?, table.as_bytes()).await,
            Request::Table(Table::File(_)) => match (known()?, file) {
                (asker, Some(file)) => self.import(asker, file).await,
                // Linked only just now.
                (_, None) => text(refusals::broken(language)),
            },
            Request::BareFile => text(transfer_text::bare_file(language)),
            Request::TooLong(characters) => text(refusals::too_long(*characters, MAX_CHARACTERS, language)),
            Request::Unclear(said) => text(refusals::not_understood(said, language)),
        }
    }

    async fn command(&self, asker: &Asker, command: Command, rest: &str) -> Replies {
        match command {
            Command::Watch => self.watch(asker, rest).await,
            Command::List => self.list(asker, rest).await,
            Command::Price => self.price(asker, rest).await,
            Command::Chart => self.chart(asker, rest).await,
            Command::Set => self.set(asker, rest).await,
            Command::Unset => self.remind(asker, None).await,
            Command::Snooze => self.snooze(asker, rest).await,
            Command::Unsnooze => self.unsnooze(asker, rest).await,
            Command::Quiet => self.quiet(asker, rest).await,
            Command::Lang => self.lang(asker, rest).await,
            Command::History => self.history(asker, rest).await,
            Command::Status => self.status(asker).await,
            Command::Test => self.test(asker).await,
            Command::Export => self.export(asker).await,
            Command::Import => Ok(transfer::ask(asker.reader.language)),
            Command::Settings => self.settings(asker).await,
            Command::Stop => self.stop(asker).await,
            // Answered before anybody was asked who they are.
            Command::Start | Command::Help => Ok(vec![help::help(asker.reader.language).into()]),
        }
    }

    /// None: the chat is not linked.
    async fn asker(&self, incoming: &Incoming) -> Result<Option<Asker>, CommandError> {
        let Some(caller) = self.queries.caller_of_chat(incoming.chat).await? else {
            return Ok(None);
        };
        self.commands
            .note_messenger_language(caller, incoming.language)
            .await?;
        let Some(user) = self.queries.user(caller).await? else {
            return Ok(None);
        };
        // What was just written may not be read yet.
        let user = User {
            messenger_language: incoming.language,
            ..user
        };
        Ok(Some(Asker {
            caller,
            reader: reader(&user),
            user,
            update: incoming.update,
        }))
    }
}

impl Asker {
    /// The same update with the same text is carried out once.
    fn idempotency(&self, text: &[u8]) -> Idempotency {
        Idempotency {
            request_id: format!("telegram-update-{}", self.update),
            fingerprint: hex::encode(Sha256::digest(text)),
        }
    }

    fn language(&self) -> Language {
        self.reader.language
    }
}

fn reader(user: &User) -> Reader {
    Reader {
        language: user.language(),
        time_zone: user.time_zone.clone(),
        now: Timestamp::now(),
    }
}

/// Somebody whose settings nobody knows.
fn stranger(incoming: &Incoming) -> Reader {
    Reader {
        language: incoming.language.unwrap_or_default(),
        time_zone: cqrs::domain::TimeZone::UTC,
        now: Timestamp::now(),
    }
}

fn failed(failure: Failure, reader: &Reader) -> Text {
    match failure {
        Failure::NotLinked => refusals::not_linked(reader.language),
        Failure::Wrong(command, wrong) => refusals::wrong(command, &wrong, reader.language),
        Failure::Told(text) => text,
        Failure::OfMany(failure) => failed(*failure, reader).with(refusals::none_made(reader.language)),
        Failure::Refused(error) => refusals::refused(&error, reader).unwrap_or_else(|| {
            tracing::error!(%error, "a command to the bot failed");
            refusals::broken(reader.language)
        }),
    }
}

/// A button's failure: over the chat if it is short enough for that.
fn told(text: Text) -> Press {
    /// Telegram takes 200 characters.
    const NOTICE: usize = 190;
    let plain = text.plain();
    if plain.encode_utf16().count() <= NOTICE {
        Press {
            notice: plain,
            ..Press::default()
        }
    } else {
        Press {
            replies: vec![text.into()],
            ..Press::default()
        }
    }
}

/// The chat that an answer goes to, for what concerns the chat itself.
const fn chat(incoming: &Incoming) -> ChatId {
    incoming.chat
}
