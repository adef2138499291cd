use cqrs::domain::ReminderInterval;
use proto::v1;

use super::{Session, dry_run_note, request_id, required};
use crate::cli::{OrCleared, RegisterArgs};
use crate::failure::{Exit, Failure};
use crate::screen::Style;
use crate::table::Table;
use crate::view;

pub(super) async fn register(session: &Session, args: RegisterArgs) -> Result<(), Failure> {
    // Before anything is done: the server shows a token once, so the profile may hold the only copy of another.
    if !args.no_save && !args.replace && session.profile.read()?.is_some() {
        let message = format!(
            "{} keeps another registration already",
            session.profile.path().display()
        );
        return Err(Failure::new(Exit::Misuse, message)
            .remedy("give --profile OTHER_FILE, --no-save, or --replace if its token is no longer needed"));
    }
    let connection = session.connect_as_anyone().await?;
    let request = v1::RegisterUserRequest {
        email: args.email,
        rules: args.rules,
        request_id: request_id(),
    };
    let response = connection
        .idempotent(|| {
            let (mut users, request) = (connection.users(), request.clone());
            async move { users.register_user(request).await }
        })
        .await?;
    // The user exists now: the token is shown whatever becomes of the file.
    let saved = if args.no_save {
        Ok(())
    } else {
        session.save(&response.api_token)
    };
    let profile = (!args.no_save && saved.is_ok()).then(|| session.profile.path().display().to_string());
    let registration = view::Registration {
        user: required(response.user, "user")?.into(),
        telegram_link: required(response.telegram_link, "Telegram link")?.into(),
        rules: response.rules.into_iter().map(Into::into).collect(),
        api_token: response.api_token,
        profile,
    };
    session
        .screen
        .result(&registration, || registered(session, &registration))?;
    saved
}

fn registered(session: &Session, registration: &view::Registration) -> String {
    let mut text = format!("Registered {}.\n\n", registration.user.email);
    if !registration.rules.is_empty() {
        text.push_str(&super::rule::table(session, &registration.rules));
        text.push('\n');
    }
    text.push_str(&token(
        session,
        &registration.api_token,
        registration.profile.as_deref(),
    ));
    text.push('\n');
    text.push_str(&telegram(session, &registration.telegram_link));
    text
}

fn token(session: &Session, api_token: &str, profile: Option<&str>) -> String {
    let token = session.screen.paint(api_token, Style::Strong);
    let mut text = format!("Your API token, shown only now:\n  {token}\n");
    match profile {
        Some(path) => text.push_str(&format!(
            "It is kept in {path}; further commands find it there.\n"
        )),
        None => text.push_str(&format!(
            "For further commands:\n  export STOCKALERT_TOKEN={api_token}\n"
        )),
    }
    text
}

fn telegram(session: &Session, link: &view::TelegramLink) -> String {
    let until = link
        .expire_time
        .map(|time| format!(" (until {})", session.screen.time(time)))
        .unwrap_or_default();
    match &link.url {
        Some(url) => format!("To get alerts in Telegram, open{until}:\n  {url}\n"),
        None => format!(
            "To get alerts in Telegram, send to the bot{until}:\n  /start {}\n",
            link.token
        ),
    }
}

/// What `settings` is to change; nothing: it only shows.
#[derive(Debug)]
pub(super) struct Change {
    pub reminders: Option<OrCleared<ReminderInterval>>,
    pub email: Option<String>,
    pub etag: Option<String>,
    pub dry_run: bool,
}

impl Change {
    /// None where nothing is to change. The mask names what was given; a field that is named and absent is cleared.
    fn into_request(self) -> Result<Option<v1::UpdateUserRequest>, Failure> {
        let mut paths = Vec::new();
        let mut user = v1::User::default();
        if let Some(interval) = self.reminders {
            paths.push("reminder_interval_seconds".to_owned());
            user.reminder_interval_seconds = interval.into_option().map(ReminderInterval::as_secs);
        }
        if let Some(email) = self.email {
            paths.push("email".to_owned());
            user.email = email;
        }
        if paths.is_empty() {
            return if self.etag.is_some() || self.dry_run {
                Err(Failure::new(Exit::Misuse, "there is nothing to change")
                    .remedy("give --reminders or --email"))
            } else {
                Ok(None)
            };
        }
        user.etag = self.etag.unwrap_or_default();
        Ok(Some(v1::UpdateUserRequest {
            user: Some(user),
            update_mask: Some(prost_types::FieldMask { paths }),
            request_id: request_id(),
            validate_only: self.dry_run,
        }))
    }
}

pub(super) async fn settings(session: &Session, change: Change) -> Result<(), Failure> {
    let dry_run = change.dry_run;
    let request = change.into_request()?;
    let connection = session.connect().await?;
    let user = if let Some(request) = request {
        let answer = connection.idempotent(|| {
            let (mut users, request) = (connection.users(), request.clone());
            async move { users.update_user(request).await }
        });
        answer.await?.user
    } else {
        let answer = connection.users().get_user(v1::GetUserRequest {}).await;
        answer
            .map_err(|status| connection.failure(&status))?
            .into_inner()
            .user
    };
    let user: view::User = required(user, "user")?.into();
    session.screen.result(&user, || {
        let mut table = Table::new(["SETTING", "VALUE"]);
        table.row(["E-mail".into(), user.email.as_str().into()]);
        table.row([
            "Reminders".into(),
            reminders_text(user.reminder_interval_seconds).into(),
        ]);
        let telegram = if user.telegram_linked {
            "connected"
        } else {
            "not connected; see `stockalert link`"
        };
        table.row(["Telegram".into(), telegram.into()]);
        table.row(["User id".into(), user.id.as_str().into()]);
        session.screen.render(&table) + dry_run_note(dry_run)
    })
}

fn reminders_text(seconds: Option<i64>) -> String {
    match seconds.map(ReminderInterval::from_secs) {
        None => "off".to_owned(),
        Some(Ok(interval)) => format!("every {interval} while a price stays out of range"),
        Some(Err(error)) => format!("every {} seconds", error.value),
    }
}

pub(super) async fn link(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let request = v1::CreateLinkTokenRequest {
        request_id: request_id(),
    };
    let answer = connection.idempotent(|| {
        let (mut users, request) = (connection.users(), request.clone());
        async move { users.create_link_token(request).await }
    });
    let link = required(answer.await?.telegram_link, "Telegram link")?.into();
    session.screen.result(&link, || telegram(session, &link))
}

pub(super) async fn rotate_token(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    // An answer that gets lost has the account's only token: the same request, with the old one, gets another.
    let request = v1::RotateTokenRequest {
        request_id: request_id(),
    };
    let answer = connection.idempotent(|| {
        let (mut users, request) = (connection.users(), request.clone());
        async move { users.rotate_token(request).await }
    });
    let api_token = answer.await?.api_token;
    // The old token is gone: the new one is shown whatever becomes of the file.
    let saved = if session.token_from_profile {
        session.save(&api_token)
    } else {
        Ok(())
    };
    let profile =
        (session.token_from_profile && saved.is_ok()).then(|| session.profile.path().display().to_string());
    let new = view::NewToken { api_token, profile };
    session
        .screen
        .result(&new, || token(session, &new.api_token, new.profile.as_deref()))?;
    saved
}

pub(super) async fn revoke_token(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let answer = connection
        .users()
        .revoke_token(v1::RevokeTokenRequest::default())
        .await;
    answer.map_err(|status| connection.failure(&status))?;
    let revoked = view::Revoked { revoked: true };
    session.screen.result(&revoked, || {
        "Revoked your API token. Alerts and the bot go on; nothing else can be asked for you any more.\n"
            .to_owned()
    })?;
    if session.token_from_profile {
        session.profile.delete()
    } else {
        Ok(())
    }
}

pub(super) async fn delete(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let user = connection.users().get_user(v1::GetUserRequest {}).await;
    let user = required(
        user.map_err(|status| connection.failure(&status))?
            .into_inner()
            .user,
        "user",
    )?;
    let answer = connection
        .users()
        .delete_user(v1::DeleteUserRequest::default())
        .await;
    answer.map_err(|status| connection.failure(&status))?;
    let deleted = view::Deleted {
        id: user.id,
        deleted: true,
    };
    session.screen.result(&deleted, || {
        format!("Deleted {} with all rules and alerts.\n", user.email)
    })?;
    if session.token_from_profile {
        session.profile.delete()
    } else {
        Ok(())
    }
}
