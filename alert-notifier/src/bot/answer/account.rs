//! Linking, settings, leaving.

use cqrs::domain::{Rule, Token};
use cqrs::{Caller, CommandError, Linked, OpenEpisode, Resumed, UserEdit};

use super::super::command::Command;
use super::super::incoming::Incoming;
use super::super::reply::Reply;
use super::super::text::account as text;
use super::{Asker, Desk, Failure, Replies, chat, reader};

impl Desk {
    pub(super) async fn start(&self, incoming: &Incoming, asker: Option<&Asker>, token: &str) -> Replies {
        if token.is_empty() {
            return self.greet(asker.ok_or(Failure::NotLinked)?).await;
        }
        let linked = self
            .commands
            .link_chat(&Token::presented(token), chat(incoming), incoming.language)
            .await;
        match (linked, asker) {
            (Ok(Linked { user, resumed }), before) => {
                let was_anothers = before.is_some_and(|before| before.user.id != user.id);
                let reader = reader(&user);
                let asker = Asker {
                    caller: Caller(user.id),
                    reader,
                    update: incoming.update,
                    user,
                };
                let rules = self.rules(&asker).await?;
                let mut answer = text::linked(&asker.user, rules.len(), asker.language());
                if was_anothers {
                    answer.push(text::left_another(asker.language()));
                }
                let mut replies = vec![answer.into()];
                let resumed = resumed.filter(|resumed| resumed.missed > 0 || !resumed.open.is_empty());
                replies.extend(resumed.map(|resumed| missed(resumed, &rules, &asker)));
                Ok(replies)
            }
            // Telegram shows its start button again and again.
            (Err(CommandError::LinkInvalid), Some(asker)) => {
                let mut replies = vec![text::linked_in_spite_of_token(asker.language()).into()];
                if asker.user.chat_suspended_at.is_some() {
                    replies.extend(self.greet(asker).await?);
                }
                Ok(replies)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Somebody who is linked says hello: perhaps after blocking the bot for a while.
    async fn greet(&self, asker: &Asker) -> Replies {
        let rules = self.rules(asker).await?;
        let resumed = self.ledger.resume_chat(asker.caller.0, asker.reader.now).await?;
        let Some(resumed) = resumed else {
            return Ok(vec![text::linked_already(rules.len(), asker.language()).into()]);
        };
        Ok(vec![missed(resumed, &rules, asker)])
    }

    pub(super) async fn lang(&self, asker: &Asker, rest: &str) -> Replies {
        let wrong = |wrong| Failure::Wrong(Command::Lang, wrong);
        let language = match rest.to_lowercase().as_str() {
            "" => return Ok(vec![text::language(&asker.user, asker.language()).into()]),
            "auto" => None,
            _ => Some(
                rest.parse()
                    .map_err(|error| wrong(super::Wrong::Language(error)))?,
            ),
        };
        let edit = UserEdit {
            language: Some(language),
            ..UserEdit::default()
        };
        let user = self.commands.update_user(asker.caller, edit, None).await?;
        Ok(vec![text::language(&user, user.language()).into()])
    }

    pub(super) async fn settings(&self, asker: &Asker) -> Replies {
        let rules = self.rules(asker).await?.len();
        Ok(vec![
            text::settings(&asker.user, rules, self.rules_per_user, &asker.reader).into(),
        ])
    }

    pub(super) async fn stop(&self, asker: &Asker) -> Replies {
        let rules = self.rules(asker).await?.len();
        self.commands.unlink_chat(asker.caller).await?;
        Ok(vec![text::stopped(rules, asker.language()).into()])
    }
}

/// What happened while no message reached the user.
fn missed(resumed: Resumed, rules: &[Rule], asker: &Asker) -> Reply {
    let open: Vec<(OpenEpisode, &Rule)> = resumed
        .open
        .into_iter()
        .filter_map(|episode| {
            let rule = rules.iter().find(|rule| rule.id == episode.rule_id)?;
            Some((episode, rule))
        })
        .collect();
    text::resumed(resumed.missed, &open, &asker.reader).into()
}
