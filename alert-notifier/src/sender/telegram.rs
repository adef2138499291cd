use std::fmt;
use std::time::Duration;

use cqrs::Pace;
use cqrs::domain::ChatId;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SendError, Sender};
use crate::text::alerts::Outgoing;

/// Longest wait for an answer: less than the half of a claim that is left when a send begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// When Telegram says "too many" without saying for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest description that is kept of an error, in characters.
const MAX_DESCRIPTION: usize = 150;

/// Sends through Telegram's Bot API. Thin on purpose: what an error means for a delivery is decided by its caller, so
/// nothing is retried, slept over or forgotten in here.
#[derive(Clone)]
pub struct TelegramSender {
    client: reqwest::Client,
    api_url: reqwest::Url,
    token: SecretString,
    pace: Pace,
}

impl fmt::Debug for TelegramSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramSender")
            .field("api_url", &self.api_url.as_str())
            .finish_non_exhaustive()
    }
}

/// Every answer of the Bot API.
#[derive(Debug, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl TelegramSender {
    /// For the bot with this token, at this Bot API, which takes so many messages.
    ///
    /// # Errors
    /// If the HTTP client can't be made.
    pub fn new(api_url: reqwest::Url, token: SecretString, pace: Pace) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // The token is part of the path: nobody else may get it.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            api_url,
            token,
            pace,
        })
    }

    async fn call(&self, method: &str, arguments: &Value) -> Result<Value, SendError> {
        let base = self.api_url.as_str().trim_end_matches('/');
        let url = format!("{base}/bot{}/{method}", self.token.expose_secret());
        let response = self
            .client
            .post(url)
            .json(arguments)
            .send()
            .await
            .map_err(unanswered)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unanswered)?;
        understand(status, &body)
    }
}

impl Sender for TelegramSender {
    async fn send(
        &self,
        chat: Option<ChatId>,
        message: &Outgoing,
        reply_to: Option<i64>,
    ) -> Result<Option<i64>, SendError> {
        let chat = chat.ok_or(SendError::NoChat)?;
        let message = self
            .call("sendMessage", &arguments(chat, message, reply_to))
            .await?;
        Ok(message["message_id"].as_i64())
    }

    async fn check(&self) -> Result<(), SendError> {
        self.call("getMe", &json!({})).await.map(drop)
    }

    fn pace(&self) -> Pace {
        self.pace
    }
}

fn arguments(chat: ChatId, message: &Outgoing, reply_to: Option<i64>) -> Value {
    let mut arguments = json!({
        "chat_id": chat.get(), "text": message.text.html(), "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true},
    });
    if !message.keyboard.is_empty() {
        arguments["reply_markup"] = message.keyboard.to_json();
    }
    if let Some(message_id) = reply_to {
        // The user may have deleted it.
        arguments["reply_parameters"] =
            json!({"message_id": message_id, "allow_sending_without_reply": true});
    }
    arguments
}

/// What the one answer means. The status line counts where the body is not the Bot API's.
fn understand(status: StatusCode, body: &[u8]) -> Result<Value, SendError> {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    let description = || {
        let text = answer.as_ref().map_or("", |answer| answer.description.as_str());
        if text.is_empty() {
            status.to_string()
        } else {
            text.chars().take(MAX_DESCRIPTION).collect()
        }
    };
    let parameters = answer.as_ref().map(|answer| &answer.parameters);
    // What stands between here and Telegram refuses requests too, but knows nothing of chats.
    let of_telegram = answer.as_ref().is_some_and(|answer| !answer.ok);
    match status {
        status if status.is_success() => match answer {
            Some(Answer { ok: true, result, .. }) => Ok(result),
            _ => Err(SendError::Unclear(
                "an answer that is not the Bot API's".to_owned(),
            )),
        },
        StatusCode::TOO_MANY_REQUESTS => Err(SendError::TooManyRequests {
            retry_after: parameters
                .and_then(|parameters| parameters.retry_after)
                .map_or(DEFAULT_RETRY_AFTER, Duration::from_secs),
        }),
        // A token that never was gives 404.
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Err(SendError::Unauthorized),
        _ if !of_telegram => Err(SendError::Unclear(description())),
        StatusCode::FORBIDDEN => Err(SendError::Blocked(description())),
        StatusCode::BAD_REQUEST => {
            let moved = parameters.and_then(|parameters| parameters.migrate_to_chat_id);
            Err(match moved {
                Some(to) => SendError::Moved { to: ChatId::new(to) },
                None => SendError::Refused(description()),
            })
        }
        status if status.is_client_error() => Err(SendError::Refused(description())),
        _ => Err(SendError::Unclear(description())),
    }
}

/// An error of the HTTP client, whose text would show the URL and so the token.
fn unanswered(error: reqwest::Error) -> SendError {
    let (connecting, timed_out) = (error.is_connect(), error.is_timeout());
    let error = error.without_url();
    // The cause says what happened; the error itself only that something did.
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        reason = error.to_string();
        cause = error.source();
    }
    if connecting {
        SendError::NotConnected(reason)
    } else if timed_out {
        SendError::Unclear(format!("none within {} s", REQUEST_TIMEOUT.as_secs()))
    } else {
        SendError::Unclear(reason)
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Language;

    use super::*;
    use crate::buttons::{Action, Button, Keyboard};
    use crate::text::rich::{Line, Text};

    #[test]
    fn telegram_gets_escaped_html_buttons_and_what_it_answers() {
        let mut message = Outgoing {
            text: Text::new(Language::En).with(Line::new().bold("A&B")),
            keyboard: Keyboard::none(),
        };
        let plain = json!({"chat_id": 42, "text": "<b>A&amp;B</b>", "parse_mode": "HTML",
                           "link_preview_options": {"is_disabled": true}});
        assert_eq!(arguments(ChatId::new(42), &message, None), plain);
        message.keyboard = Keyboard::none().row([Button::new("No", Action::Cancel)]);
        let all = arguments(ChatId::new(42), &message, Some(7));
        assert_eq!(
            all["reply_markup"],
            json!({"inline_keyboard": [[{"text": "No", "callback_data": "no"}]]})
        );
        assert_eq!(
            all["reply_parameters"],
            json!({"message_id": 7, "allow_sending_without_reply": true})
        );
    }

    #[test]
    fn each_answer_has_one_meaning() {
        let refused = |text: &str| Err(SendError::Refused(text.to_owned()));
        for (status, body, meaning) in [
            (
                200,
                r#"{"ok":true,"result":{"message_id":7}}"#,
                Ok(json!({"message_id": 7})),
            ),
            (
                200,
                "<html>",
                Err(SendError::Unclear("an answer that is not the Bot API's".into())),
            ),
            (
                200,
                r#"{"ok":false}"#,
                Err(SendError::Unclear("an answer that is not the Bot API's".into())),
            ),
            (
                429,
                r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":17}}"#,
                Err(SendError::TooManyRequests {
                    retry_after: Duration::from_secs(17),
                }),
            ),
            (
                429,
                "slow down",
                Err(SendError::TooManyRequests {
                    retry_after: DEFAULT_RETRY_AFTER,
                }),
            ),
            (
                401,
                r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#,
                Err(SendError::Unauthorized),
            ),
            (
                404,
                r#"{"ok":false,"error_code":404,"description":"Not Found"}"#,
                Err(SendError::Unauthorized),
            ),
            (
                403,
                r#"{"ok":false,"error_code":403,"description":"Forbidden: user is deactivated"}"#,
                Err(SendError::Blocked("Forbidden: user is deactivated".into())),
            ),
            (
                400,
                r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#,
                refused("Bad Request: chat not found"),
            ),
            (
                400,
                r#"{"ok":false,"description":"moved","parameters":{"migrate_to_chat_id":-1005}}"#,
                Err(SendError::Moved {
                    to: ChatId::new(-1005),
                }),
            ),
            (
                400,
                r#"{"ok":false,"description":"Bad Request: too long"}"#,
                refused("Bad Request: too long"),
            ),
            (
                413,
                r#"{"ok":false,"error_code":413,"description":"Request Entity Too Large"}"#,
                refused("Request Entity Too Large"),
            ),
            // A proxy's word on one request must not end alerts or suspend chats.
            (413, "", Err(SendError::Unclear("413 Payload Too Large".into()))),
            (
                403,
                "<html>blocked by policy</html>",
                Err(SendError::Unclear("403 Forbidden".into())),
            ),
            (
                400,
                "<html>plain HTTP request sent to HTTPS port</html>",
                Err(SendError::Unclear("400 Bad Request".into())),
            ),
            (302, "", Err(SendError::Unclear("302 Found".into()))),
            (
                502,
                "<html>bad</html>",
                Err(SendError::Unclear("502 Bad Gateway".into())),
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(understand(status, body.as_bytes()), meaning, "{status} {body}");
        }
    }
}
