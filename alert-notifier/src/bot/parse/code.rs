//! Short names of rules: a question to a user ends with one, and the answer's quotation gives it back, so that nothing has
//! to be remembered in between.

use cqrs::domain::RuleId;

/// Hexadecimal digits of a code: of a UUIDv7's random part, so that a user's rules hardly share one.
const DIGITS: usize = 8;

/// `#3f4a5b6c`
pub(in crate::bot) fn code_of(rule: RuleId) -> String {
    let id = rule.to_string();
    format!("#{}", &id[id.len() - DIGITS..])
}

/// The code that a question ended with.
pub(in crate::bot) fn code_in(question: &str) -> Option<&str> {
    let last = question.trim_end().rsplit(char::is_whitespace).next()?;
    let digits = last.strip_prefix('#')?;
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_a_question_names_the_rule() {
        let rule: RuleId = "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".parse().unwrap();
        assert_eq!(code_of(rule), "#2e3f4a5b");
        assert_eq!(
            code_in("New thresholds of #deadbeef?\n#2e3f4a5b\n"),
            Some("#2e3f4a5b")
        );
        for text in [
            "",
            "#2e3f4a5b or so",
            "2e3f4a5b",
            "#2e3f4a5",
            "#2e3f4a5bc",
            "#٣٣٣٣٣٣٣٣",
            "#",
        ] {
            assert_eq!(code_in(text), None, "{text}");
        }
    }
}
