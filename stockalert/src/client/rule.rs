use cqrs::domain::Timestamp;
use proto::v1;

use super::{Session, dry_run_note, request_id, required};
use crate::cli::{RuleEditArgs, RuleListArgs, RuleState, SnoozeEnd};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::screen::Style;
use crate::table::{Cell, Table};
use crate::view;

/// The most the server gives at once.
pub(super) const PAGE_SIZE: i32 = 200;

pub(super) async fn add(session: &Session, rule: v1::NewRule, dry_run: bool) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let request = v1::CreateRuleRequest {
        rule: Some(rule),
        request_id: request_id(),
        validate_only: dry_run,
    };
    let answer = connection.idempotent(|| {
        let (mut rules, request) = (connection.rules(), request.clone());
        async move { rules.create_rule(request).await }
    });
    let mut rule = answer.await?.rule;
    if let Some(rule) = rule.as_mut().filter(|_| dry_run) {
        // They belong to no rule.
        rule.id.clear();
        rule.etag.clear();
    }
    show(session, rule, dry_run)
}

pub(super) async fn edit(session: &Session, args: RuleEditArgs) -> Result<(), Failure> {
    let dry_run = args.dry_run;
    let request = edit_request(args)?;
    let connection = session.connect().await?;
    let answer = connection.idempotent(|| {
        let (mut rules, request) = (connection.rules(), request.clone());
        async move { rules.update_rule(request).await }
    });
    show(session, answer.await?.rule, dry_run)
}

/// The mask names what was given; a field that is named and absent is cleared.
fn edit_request(args: RuleEditArgs) -> Result<v1::UpdateRuleRequest, Failure> {
    let mut paths = Vec::new();
    let mut rule = v1::Rule {
        id: args.id,
        etag: args.etag.unwrap_or_default(),
        ..Default::default()
    };
    if let Some(low) = args.low {
        paths.push("low".to_owned());
        rule.low = low.into_option();
    }
    if let Some(high) = args.high {
        paths.push("high".to_owned());
        rule.high = high.into_option();
    }
    if let Some(note) = args.note {
        paths.push("note".to_owned());
        rule.note = note;
    }
    if let Some(paused) = args.paused {
        paths.push("paused".to_owned());
        rule.paused = paused;
    }
    if let Some(expires) = args.expires {
        paths.push("expire_time".to_owned());
        rule.expire_time = expires.into_option().map(wire_time);
    }
    if paths.is_empty() {
        return Err(Failure::new(Exit::Misuse, "there is nothing to change")
            .remedy("give at least one of --low, --high, --note, --paused and --expires"));
    }
    Ok(v1::UpdateRuleRequest {
        rule: Some(rule),
        update_mask: Some(prost_types::FieldMask { paths }),
        request_id: request_id(),
        validate_only: args.dry_run,
    })
}

pub(super) async fn delete(session: &Session, rule_id: String, etag: Option<String>) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let request = v1::DeleteRuleRequest {
        rule_id: rule_id.clone(),
        request_id: request_id(),
        etag: etag.unwrap_or_default(),
    };
    let answer = connection.idempotent(|| {
        let (mut rules, request) = (connection.rules(), request.clone());
        async move { rules.delete_rule(request).await }
    });
    answer.await?;
    let deleted = view::Deleted {
        id: rule_id,
        deleted: true,
    };
    session
        .screen
        .result(&deleted, || format!("Removed rule {}.\n", deleted.id))
}

pub(super) async fn get(session: &Session, rule_id: String) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let answer = connection.rules().get_rule(v1::GetRuleRequest { rule_id }).await;
    show(
        session,
        answer
            .map_err(|status| connection.failure(&status))?
            .into_inner()
            .rule,
        false,
    )
}

pub(super) async fn snooze(session: &Session, rule_id: String, until: SnoozeEnd) -> Result<(), Failure> {
    let end = match until {
        SnoozeEnd::At(time) => Some(v1::snooze::End::UntilTime(wire_time(time))),
        SnoozeEnd::Back => Some(v1::snooze::End::UntilBack(true)),
        SnoozeEnd::Off => None,
    };
    let request = v1::SnoozeRuleRequest {
        rule_id,
        snooze: end.map(|end| v1::Snooze { end: Some(end) }),
        request_id: request_id(),
    };
    let connection = session.connect().await?;
    let answer = connection.idempotent(|| {
        let (mut rules, request) = (connection.rules(), request.clone());
        async move { rules.snooze_rule(request).await }
    });
    show(session, answer.await?.rule, false)
}

pub(super) async fn list(session: &Session, args: RuleListArgs) -> Result<(), Failure> {
    let connection = session.connect().await?;
    let state = |state: &RuleState| match state {
        RuleState::Active => v1::rule::State::Active,
        RuleState::Paused => v1::rule::State::Paused,
        RuleState::OnHold => v1::rule::State::OnHold,
        RuleState::Expired => v1::rule::State::Expired,
    };
    let wanted = v1::ListRulesRequest {
        states: args.states.iter().map(|s| state(s).into()).collect(),
        ticker: args.ticker.unwrap_or_default(),
        out_of_range: args.out_of_range,
        ..Default::default()
    };
    let all_of_them = wanted == v1::ListRulesRequest::default();
    let rules = all(&connection, wanted)
        .await
        .map_err(|status| connection.failure(&status))?;
    session.screen.result(&rules, || {
        if rules.is_empty() && !all_of_them {
            "You have no such rules.\n".to_owned()
        } else if rules.is_empty() {
            "You have no rules. Add one: stockalert rule add AAPL --low 170 --high 200\n".to_owned()
        } else {
            table(session, &rules)
        }
    })
}

/// All of the caller's rules that are wanted, oldest first.
pub(super) async fn all(
    connection: &Connection,
    wanted: v1::ListRulesRequest,
) -> Result<Vec<view::Rule>, tonic::Status> {
    let mut rules = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRulesRequest {
            page_size: PAGE_SIZE,
            page_token,
            ..wanted.clone()
        };
        let page = connection.rules().list_rules(request).await?.into_inner();
        rules.extend(page.rules.into_iter().map(view::Rule::from));
        if page.next_page_token.is_empty() {
            return Ok(rules);
        }
        page_token = page.next_page_token;
    }
}

fn show(session: &Session, rule: Option<v1::Rule>, dry_run: bool) -> Result<(), Failure> {
    let rule: view::Rule = required(rule, "rule")?.into();
    session.screen.result(&rule, || {
        table(session, std::slice::from_ref(&rule)) + dry_run_note(dry_run)
    })
}

pub(super) fn table(session: &Session, rules: &[view::Rule]) -> String {
    let screen = &session.screen;
    let mut table = Table::new([
        "ID", "TICKER", ">LOW", ">HIGH", "STATE", "PRICE", "SNOOZED", "EXPIRES", "NOTE",
    ]);
    for rule in rules {
        let state = match (rule.state, &rule.hold) {
            (view::RuleState::OnHold, Some(hold)) => {
                let paused = if rule.paused { "paused, " } else { "" };
                let style = if rule.paused { Style::Faint } else { Style::Red };
                Cell::styled(format!("{paused}on hold: {}", hold.name()), style)
            }
            (state, _) => Cell::styled(state.name(), state.style()),
        };
        table.row([
            rule.id.as_str().into(),
            Cell::styled(&rule.ticker, Style::Strong),
            rule.low.as_deref().unwrap_or_default().into(),
            rule.high.as_deref().unwrap_or_default().into(),
            state,
            match &rule.episode {
                Some(episode) => Cell::styled(format!("is {}", episode.side.name()), episode.side.style()),
                None => "".into(),
            },
            rule.snooze
                .as_ref()
                .map(|snooze| snooze.text(screen))
                .unwrap_or_default()
                .into(),
            rule.expire_time
                .map(|time| screen.time(time))
                .unwrap_or_default()
                .into(),
            rule.note.as_str().into(),
        ]);
    }
    screen.render(&table)
}

pub(super) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        // Below 1e9, so it always fits.
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::OrCleared;

    #[test]
    fn an_edit_names_exactly_the_fields_that_were_given() {
        let request = edit_request(RuleEditArgs {
            id: "R".into(),
            low: Some(OrCleared::Cleared),
            high: Some(OrCleared::Value("210".into())),
            note: None,
            paused: None,
            expires: Some(OrCleared::Value(Timestamp::from_micros(1_500_000))),
            etag: Some("E".into()),
            dry_run: true,
        })
        .unwrap();
        assert!(request.validate_only);
        let (rule, mask) = (request.rule.unwrap(), request.update_mask.unwrap());
        assert_eq!(mask.paths, ["low", "high", "expire_time"]);
        assert_eq!(
            (
                rule.etag.as_str(),
                rule.id.as_str(),
                rule.low,
                rule.high.as_deref()
            ),
            ("E", "R", None, Some("210"))
        );
        assert_eq!(
            rule.expire_time,
            Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000
            })
        );
    }
}
