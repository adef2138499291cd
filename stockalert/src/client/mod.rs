//! The commands that call a server. Each is: build the request, call, show the answer.

mod admin;
mod alert;
mod delivery;
mod history;
mod import;
mod operator;
mod preview;
mod quote;
mod rule;
mod system;
mod user;
mod watch;

use proto::v1;

use crate::cli::{AdminArgs, ClientCommand, GlobalArgs, RuleCommand, TokenCommand, UserCommand};
use crate::connection::{Connection, TlsFiles};
use crate::failure::{Caller, Exit, Failure};
use crate::profile::{Profile, ProfileFile};
use crate::screen::Screen;

pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// Which server, as whom, and where the answer goes.
#[derive(Debug)]
struct Session {
    server: String,
    token: Option<String>,
    /// The token is the profile's: a new one has to be kept there.
    token_from_profile: bool,
    caller: Caller,
    tls: TlsFiles,
    profile: ProfileFile,
    screen: Screen,
}

/// Runs a command that calls a server.
pub(crate) async fn run(command: ClientCommand, global: GlobalArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    match command {
        ClientCommand::Register(args) => user::register(&session, args).await,
        ClientCommand::Settings {
            reminders,
            email,
            etag,
            dry_run,
        } => {
            let change = user::Change {
                reminders,
                email,
                etag,
                dry_run,
            };
            user::settings(&session, change).await
        }
        ClientCommand::Link => user::link(&session).await,
        ClientCommand::Token(TokenCommand::Rotate) => user::rotate_token(&session).await,
        ClientCommand::Token(TokenCommand::Revoke { yes: _ }) => user::revoke_token(&session).await,
        ClientCommand::User(UserCommand::Rm { yes: _ }) => user::delete(&session).await,
        ClientCommand::Rule(command) => on_rules(&session, command).await,
        ClientCommand::Price { ticker } => quote::price(&session, ticker).await,
        ClientCommand::Average(args) => quote::average(&session, args).await,
        ClientCommand::Alerts { rule, limit } => alert::list(&session, rule, limit).await,
        ClientCommand::Status => system::status(&session).await,
        ClientCommand::Deliveries(args) => delivery::list(&session, args).await,
        ClientCommand::TestAlert => delivery::test(&session).await,
        ClientCommand::Quotes(args) => history::quotes(&session, args).await,
        ClientCommand::Candles(args) => history::candles(&session, args).await,
        ClientCommand::Tickers { own } => history::tickers(&session, own).await,
        ClientCommand::Watch { lines } => watch::run(&session, lines).await,
    }
}

async fn on_rules(session: &Session, command: RuleCommand) -> Result<(), Failure> {
    match command {
        RuleCommand::Add {
            ticker,
            low,
            high,
            note,
            paused,
            expires,
            dry_run,
        } => {
            let new = v1::NewRule {
                ticker,
                low,
                high,
                note,
                paused,
                expire_time: expires.map(rule::wire_time),
            };
            rule::add(session, new, dry_run).await
        }
        RuleCommand::List(args) => rule::list(session, args).await,
        RuleCommand::Show { id } => rule::get(session, id).await,
        RuleCommand::Edit(args) => rule::edit(session, *args).await,
        RuleCommand::Rm { id, etag } => rule::delete(session, id, etag).await,
        RuleCommand::Import { file, dry_run } => import::run(session, &file, dry_run).await,
        RuleCommand::Snooze { id, until } => rule::snooze(session, id, until).await,
        RuleCommand::Preview {
            ticker,
            low,
            high,
            window,
        } => {
            let rule = v1::NewRule {
                ticker,
                low,
                high,
                ..Default::default()
            };
            preview::run(session, rule, window).await
        }
    }
}

/// Runs an operator's command.
pub(crate) async fn admin(args: AdminArgs, global: GlobalArgs) -> Result<(), Failure> {
    let token = operator::token(args.operator_token_file.as_deref())?;
    // A user's token is of no use here and is not sent.
    let mut session = Session::new(global)?;
    session.token = Some(token);
    session.token_from_profile = false;
    session.caller = Caller::Operator;
    admin::run(&session, args.command).await
}

impl Session {
    fn new(global: GlobalArgs) -> Result<Self, Failure> {
        let profile = ProfileFile::locate(global.profile)?;
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (server, token) = (named(global.server), named(global.token));
        let named_tls = TlsFiles::named(global.ca, global.cert, global.key)?;
        // An explicit server and token need no profile, not even a readable one.
        let saved = if server.is_some() && token.is_some() {
            profile.read().unwrap_or_default()
        } else {
            profile.read()?
        };
        let server = match (server, &saved) {
            (Some(server), _) => server,
            (None, Some(saved)) => saved.server.clone(),
            (None, None) => DEFAULT_SERVER.to_owned(),
        };
        // What belongs to one server is of no use for another.
        let (saved_token, saved_tls) = saved
            .filter(|saved| saved.server == server)
            .map(|saved| (saved.token, saved.tls))
            .unzip();
        let token_from_profile = token.is_none() && saved_token.is_some();
        let token = token.or(saved_token);
        Ok(Self {
            server,
            token,
            token_from_profile,
            caller: Caller::User,
            tls: named_tls.or(saved_tls.unwrap_or_default()),
            profile,
            screen: Screen::detect(global.json),
        })
    }

    /// A connection that may lack a token.
    async fn connect_as_anyone(&self) -> Result<Connection, Failure> {
        Connection::open(&self.server, self.token.as_deref(), self.caller, &self.tls).await
    }

    /// A connection as a user.
    async fn connect(&self) -> Result<Connection, Failure> {
        if self.token.is_none() {
            return Err(
                Failure::new(Exit::Denied, format!("there is no token for {}", self.server))
                    .remedy(self.caller.how_to_authenticate()),
            );
        }
        self.connect_as_anyone().await
    }

    fn save(&self, token: &str) -> Result<(), Failure> {
        self.profile.write(&Profile {
            server: self.server.clone(),
            token: token.to_owned(),
            tls: self.tls.clone(),
        })
    }
}

/// A server that answers without the thing asked for is not ours.
fn required<T>(part: Option<T>, name: &str) -> Result<T, Failure> {
    part.ok_or_else(|| Failure::new(Exit::Internal, format!("the server's answer has no {name}")))
}

/// What is said below an answer that only shows what would be.
const fn dry_run_note(dry_run: bool) -> &'static str {
    if dry_run {
        "\nThis was a dry run: nothing was changed.\n"
    } else {
        ""
    }
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
