//! What every answer ends with while no alert reaches the asker.

use super::super::command::Command;
use super::super::reply::{Change, Press, Reply};
use super::super::request::Request;
use super::super::text::account;
use super::Asker;
use crate::text::rich::Text;

/// None: alerts reach the asker.
fn last_word(asker: &Asker) -> Option<Text> {
    let since = asker.user.chat_suspended_at?;
    Some(account::suspended(since, &asker.reader))
}

/// Ends the answer to this request with it.
pub(super) fn end(replies: &mut Vec<Reply>, request: &Request, asker: &Asker) {
    // These turn alerts on and off themselves.
    if matches!(request, Request::Command(Command::Start | Command::Stop, _)) {
        return;
    }
    if let Some(last) = last_word(asker) {
        end_with(replies, last);
    }
}

/// Ends what becomes of a pressed button with it.
pub(super) fn end_press(press: &mut Press, asker: &Asker) {
    let Some(last) = last_word(asker) else { return };
    if let Some(Change::Message(text, _)) = &mut press.change
        && press.replies.is_empty()
        && joined(text, &last)
    {
        return;
    }
    end_with(&mut press.replies, last);
}

/// Below the last text, if it has room there. Else in a message of its own: questions have to end as they do.
fn end_with(replies: &mut Vec<Reply>, last: Text) {
    if let Some(Reply::Text { text, .. }) = replies.last_mut()
        && joined(text, &last)
    {
        return;
    }
    replies.push(last.into());
}

fn joined(text: &mut Text, last: &Text) -> bool {
    let mut both = text.clone();
    both.append(last.clone());
    let fits = both.fits();
    if fits {
        *text = both;
    }
    fits
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Language;

    use super::*;

    #[test]
    fn it_is_never_cut_off_and_never_stands_below_a_question() {
        let text = |text: &str| Text::new(Language::En).with(text);
        let ended = |reply: Reply| {
            let mut replies = vec![reply];
            end_with(&mut replies, text("last"));
            replies
        };
        assert_eq!(ended(text("short").into()), [text("short").with("last").into()]);
        let long = text(&"x".repeat(4_095));
        assert_eq!(
            ended(long.clone().into()),
            [long.into(), Reply::from(text("last"))]
        );
        let question = Reply::Question {
            text: text("#import"),
            placeholder: "",
        };
        assert_eq!(ended(question.clone()), [question, text("last").into()]);
    }
}
