//! The commands that call a server. Each is: build the request, call, show the answer.

mod alert;
mod quote;
mod rule;
mod system;
mod user;
mod watch;

use crate::cli::{ClientCommand, GlobalArgs, RuleCommand, TokenCommand, UserCommand};
use crate::connection::Connection;
use crate::failure::{Exit, Failure, HOW_TO_AUTHENTICATE};
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
    profile: ProfileFile,
    screen: Screen,
}

/// Runs a command that calls a server.
pub(crate) async fn run(command: ClientCommand, global: GlobalArgs) -> Result<(), Failure> {
    let session = Session::new(global)?;
    match command {
        ClientCommand::Register(args) => user::register(&session, args).await,
        ClientCommand::Settings { reminders, email } => user::settings(&session, reminders, email).await,
        ClientCommand::Link => user::link(&session).await,
        ClientCommand::Token(TokenCommand::Rotate) => user::rotate_token(&session).await,
        ClientCommand::User(UserCommand::Rm { yes: _ }) => user::delete(&session).await,
        ClientCommand::Rule(RuleCommand::Add {
            ticker,
            low,
            high,
            note,
            paused,
            expires,
        }) => {
            let expire_time = expires.map(rule::wire_time);
            rule::add(
                &session,
                proto::v1::NewRule {
                    ticker,
                    low,
                    high,
                    note,
                    paused,
                    expire_time,
                },
            )
            .await
        }
        ClientCommand::Rule(RuleCommand::List) => rule::list(&session).await,
        ClientCommand::Rule(RuleCommand::Edit(args)) => rule::edit(&session, *args).await,
        ClientCommand::Rule(RuleCommand::Rm { id }) => rule::delete(&session, id).await,
        ClientCommand::Price { ticker } => quote::price(&session, ticker).await,
        ClientCommand::Average(args) => quote::average(&session, args).await,
        ClientCommand::Alerts { rule, limit } => alert::list(&session, rule, limit).await,
        ClientCommand::Status => system::status(&session).await,
        ClientCommand::Watch => watch::run(&session).await,
    }
}

impl Session {
    fn new(global: GlobalArgs) -> Result<Self, Failure> {
        let profile = ProfileFile::locate(global.profile)?;
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (server, token) = (named(global.server), named(global.token));
        // An explicit server and token need no profile, not even a readable one.
        let saved = if server.is_some() && token.is_some() {
            None
        } else {
            profile.read()?
        };
        let server = match (server, &saved) {
            (Some(server), _) => server,
            (None, Some(saved)) => saved.server.clone(),
            (None, None) => DEFAULT_SERVER.to_owned(),
        };
        let saved_token = saved
            .filter(|saved| saved.server == server)
            .map(|saved| saved.token);
        let token_from_profile = token.is_none() && saved_token.is_some();
        let token = token.or(saved_token);
        Ok(Self {
            server,
            token,
            token_from_profile,
            profile,
            screen: Screen::detect(global.json),
        })
    }

    /// A connection that may lack a token.
    async fn connect_as_anyone(&self) -> Result<Connection, Failure> {
        Connection::open(&self.server, self.token.as_deref()).await
    }

    /// A connection as a user.
    async fn connect(&self) -> Result<Connection, Failure> {
        if self.token.is_none() {
            return Err(
                Failure::new(Exit::Denied, format!("there is no token for {}", self.server))
                    .remedy(HOW_TO_AUTHENTICATE),
            );
        }
        self.connect_as_anyone().await
    }

    fn save(&self, token: &str) -> Result<(), Failure> {
        self.profile.write(&Profile {
            server: self.server.clone(),
            token: token.to_owned(),
        })
    }
}

/// A server that answers without the thing asked for is not ours.
fn required<T>(part: Option<T>, name: &str) -> Result<T, Failure> {
    part.ok_or_else(|| Failure::new(Exit::Internal, format!("the server's answer has no {name}")))
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
