//! Linking, settings, leaving.

use cqrs::domain::{Rule, Token};
use cqrs::{Caller, CommandError, Linked, OpenEpisode, StoreError, UserEdit};

use super::super::command::Command;
use super::super::incoming::Incoming;
use super::super::reply::Reply;
use super::super::text::account as text;
use super::{Asker, Desk, Failure, Replies, chat, reader};
use crate::text::rich::Text;

impl Desk {
    pub(super) async fn start(&self, incoming: &Incoming, asker: Option<&Asker>, token: &str) -> Replies {
        if token.is_empty() {
            return self.greet(asker.ok_or(Failure::NotLinked)?, None).await;
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
                let Some(resumed) = resumed else {
                    answer.append(self.open(&asker, &rules).await?);
                    return Ok(vec![answer.into()]);
                };
                let open = still_open(&resumed.open, &rules);
                let mut replies = vec![answer.into()];
                if resumed.missed > 0 || !open.is_empty() {
                    replies.push(text::resumed(resumed.missed, &open, &asker.reader).into());
                }
                Ok(replies)
            }
            // Telegram shows its start button again and again.
            (Err(CommandError::LinkInvalid), Some(asker)) => {
                let first = text::linked_in_spite_of_token(asker.language());
                self.greet(asker, Some(first)).await
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Somebody who is linked says hello: perhaps after blocking the bot for a while, perhaps because the answer to that
    /// was lost. So what is open is told each time.
    async fn greet(&self, asker: &Asker, first: Option<Text>) -> Replies {
        // What can fail comes before what is done once.
        let rules = self.rules(asker).await?;
        let resumed = self.ledger.resume_chat(asker.caller.0, asker.reader.now).await?;
        let Some(resumed) = resumed else {
            let mut answer = first.unwrap_or_else(|| text::linked_already(rules.len(), asker.language()));
            answer.append(self.open(asker, &rules).await?);
            return Ok(vec![answer.into()]);
        };
        let open = still_open(&resumed.open, &rules);
        let resumed = text::resumed(resumed.missed, &open, &asker.reader);
        Ok(first.into_iter().chain([resumed]).map(Reply::from).collect())
    }

    async fn open(&self, asker: &Asker, rules: &[Rule]) -> Result<Text, StoreError> {
        let episodes = self.ledger.open_episodes(asker.caller.0).await?;
        Ok(text::open(&still_open(&episodes, rules), &asker.reader))
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

/// The stays outside that rules as they are now are in: of those that were edited or paused meanwhile none is left.
fn still_open<'a>(episodes: &'a [OpenEpisode], rules: &'a [Rule]) -> Vec<(&'a OpenEpisode, &'a Rule)> {
    let is_of = |episode: &OpenEpisode, rule: &Rule| {
        rule.id == episode.rule_id && rule.version == episode.position.version && rule.is_active()
    };
    let with_rule = |episode| Some((episode, rules.iter().find(|rule| is_of(episode, rule))?));
    episodes.iter().filter_map(with_rule).collect()
}
