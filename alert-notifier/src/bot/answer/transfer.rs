//! Rules out and in, as tables.

use std::collections::HashSet;

use cqrs::domain::Language;

use super::super::command::Command;
use super::super::parse::{export, import};
use super::super::reply::Reply;
use super::super::text::transfer as text;
use super::{Asker, Desk, Failure, Replies};

/// The exported file.
const NAME: &str = "stock-alerts.csv";

/// Asks for the table.
pub(super) fn ask(language: Language) -> Vec<Reply> {
    vec![Reply::Question {
        text: text::ask_table(language),
        placeholder: "ticker,low,high",
    }]
}

impl Desk {
    pub(super) async fn export(&self, asker: &Asker) -> Replies {
        let rules = self.rules(asker).await?;
        Ok(vec![Reply::File {
            name: NAME,
            bytes: export(&rules),
            caption: text::exported(rules.len(), asker.language()),
        }])
    }

    pub(super) async fn import(&self, asker: &Asker, table: &[u8]) -> Replies {
        let rows = import(table).map_err(|wrong| Failure::Wrong(Command::Import, wrong))?;
        let asked = rows.len();
        let mut known: HashSet<_> = self
            .rules(asker)
            .await?
            .into_iter()
            .map(|rule| (rule.ticker, rule.range))
            .collect();
        let new: Vec<_> = rows
            .into_iter()
            .filter(|row| known.insert((row.ticker.clone(), row.range)))
            .collect();
        // Without new ones too: a repeated message gets its first answer, and had some then.
        let made = self
            .commands
            .create_rules(asker.caller, new, Some(asker.idempotency(table)))
            .await
            .map_err(|error| Failure::from(error).of_many())?
            .len();
        Ok(vec![
            text::imported(made, asked.saturating_sub(made), asker.language()).into(),
        ])
    }
}
