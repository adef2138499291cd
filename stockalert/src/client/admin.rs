use proto::v1;

use super::Session;
use super::rule::PAGE_SIZE;
use crate::cli::AdminCommand;
use crate::failure::Failure;
use crate::table::{Cell, Table};
use crate::view;

pub(super) async fn run(session: &Session, command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Users => users(session).await,
        AdminCommand::Lag => lag(session).await,
        AdminCommand::RepublishRules => republish(session).await,
        AdminCommand::RevokeToken { user_id, yes: _ } => revoke(session, user_id).await,
    }
}

async fn users(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let (mut users, mut page_token) = (Vec::<view::UserSummary>::new(), String::new());
    loop {
        let request = v1::ListUsersRequest {
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = connection.admin().list_users(request).await;
        let page = page.map_err(|status| connection.failure(&status))?.into_inner();
        users.extend(page.users.into_iter().map(Into::into));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.screen.result(&users, || {
        let screen = &session.screen;
        let mut table = Table::new(["ID", "REGISTERED", "TELEGRAM", ">RULES", ">OUT OF RANGE"]);
        for user in &users {
            table.row([
                user.id.as_str().into(),
                user.create_time
                    .map(|time| screen.time(time))
                    .unwrap_or_default()
                    .into(),
                if user.telegram_linked { "yes" } else { "no" }.into(),
                user.rule_count.to_string().into(),
                user.open_episode_count.to_string().into(),
            ]);
        }
        if users.is_empty() {
            "There are no users.\n".to_owned()
        } else {
            screen.render(&table)
        }
    })
}

async fn lag(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let lag = connection.admin().get_lag(v1::GetLagRequest {}).await;
    let lag: view::Lag = lag
        .map_err(|status| connection.failure(&status))?
        .into_inner()
        .into();
    session.screen.result(&lag, || {
        let screen = &session.screen;
        let mut table = Table::new(["WAITS FOR", "IN", ">COUNT", "SINCE", "NOTE"]);
        for group in &lag.groups {
            let note = match group.uncommitted_partition_count {
                0 => String::new(),
                count => format!("nothing committed of {count} partitions"),
            };
            table.row([
                Cell::from(&group.group),
                group.topic.as_str().into(),
                group.record_count.to_string().into(),
                "".into(),
                note.into(),
            ]);
        }
        let since = |time: Option<jiff::Timestamp>| time.map(|time| screen.time(time)).unwrap_or_default();
        table.row([
            "the relay".into(),
            "the outbox".into(),
            lag.outbox_count.to_string().into(),
            since(lag.outbox_oldest_time).into(),
            "".into(),
        ]);
        table.row([
            "Telegram".into(),
            "due messages".into(),
            lag.due_delivery_count.to_string().into(),
            since(lag.due_delivery_oldest_time).into(),
            "".into(),
        ]);
        screen.render(&table)
    })
}

async fn republish(session: &Session) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let answer = connection
        .admin()
        .republish_rules(v1::RepublishRulesRequest {})
        .await;
    let answer = answer.map_err(|status| connection.failure(&status))?.into_inner();
    let republished = view::Republished {
        rule_count: answer.rule_count,
    };
    session.screen.result(&republished, || {
        format!(
            "{} rules are in the outbox, and the relay publishes them; see `stockalert admin lag`.\n",
            republished.rule_count
        )
    })
}

async fn revoke(session: &Session, user_id: String) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let request = v1::RevokeUserTokenRequest { user_id };
    let answer = connection.admin().revoke_user_token(request.clone()).await;
    answer.map_err(|status| connection.failure(&status))?;
    session.screen.result(&view::Revoked { revoked: true }, || {
        format!("Revoked the API token of user {}.\n", request.user_id)
    })
}
