//! How calls go wrong.

use serde::{Deserialize, Serialize};

use crate::day::SplitMix;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It does not: for the calls before those that shall go wrong.
    None,
    /// 429 with this `retry_after`, in seconds.
    TooManyRequests(u64),
    /// 403: the user blocked the bot.
    Blocked,
    /// 400: no such chat.
    ChatNotFound,
    /// 400: the group became a supergroup with this id.
    Migrated(i64),
    /// 401: the token is wrong.
    Unauthorized,
    /// 409: somebody else polls updates.
    Conflict,
    /// 502 with a page of HTML, as a proxy answers.
    BadGateway,
    /// 200 with what is no JSON. The call is carried out.
    Garbage,
    /// The connection ends before the request's body is read. Plan it for no chat: which one it is stands in the body.
    DropUnread,
    /// The connection ends without a byte of an answer; the call was read and is not carried out.
    DropBefore,
    /// The connection ends without a byte of an answer; the call is carried out.
    DropAfter,
    /// The connection ends in the middle of the answer; the call is carried out.
    CutAnswer,
    /// The answer is right but comes this many milliseconds late.
    Delay(u64),
    /// Nothing happens until [`release`](super::TelegramStub::release); then the call is carried out, if the caller is
    /// still there.
    HoldBefore,
    /// The call is carried out; the answer comes after [`release`](super::TelegramStub::release).
    HoldAfter,
}

/// A fault of calls to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// How they go wrong.
    pub fault: Fault,
    /// How many.
    #[serde(default = "once")]
    pub times: u32,
    /// Only calls of this method; `sendMessage` unless said otherwise.
    #[serde(default = "send_message")]
    pub method: String,
    /// Only to this chat.
    #[serde(default)]
    pub chat: Option<i64>,
}

const fn once() -> u32 {
    1
}

fn send_message() -> String {
    "sendMessage".to_owned()
}

impl PlannedFault {
    /// For the next `times` messages, to whomever.
    #[must_use]
    pub fn of_messages(fault: Fault, times: u32) -> Self {
        Self {
            fault,
            times,
            method: send_message(),
            chat: None,
        }
    }

    /// For messages to this chat only.
    #[must_use]
    pub fn to_chat(mut self, chat: i64) -> Self {
        self.chat = Some(chat);
        self
    }

    /// For calls of another method.
    #[must_use]
    pub fn of_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(super) fn fits(&self, method: &str, chat: Option<i64>) -> bool {
        self.method == method && (self.chat.is_none() || self.chat == chat)
    }
}

/// Lets a share of all messages go wrong, each in one of these ways; the same seed gives the same faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultMix {
    /// Where the random numbers begin.
    pub seed: u64,
    /// How many of a thousand `sendMessage` calls go wrong.
    pub per_thousand: u32,
    /// How, one as likely as the other.
    pub faults: Vec<Fault>,
}

/// A [`FaultMix`] at work.
#[derive(Debug)]
pub(super) struct Mixer {
    mix: FaultMix,
    random: SplitMix,
}

impl Mixer {
    pub(super) fn new(mix: FaultMix) -> Self {
        let random = SplitMix(mix.seed);
        Self { mix, random }
    }

    pub(super) fn draw(&mut self) -> Option<Fault> {
        if self.random.below(1_000) >= u64::from(self.mix.per_thousand) {
            return None;
        }
        let which = self.random.below(self.mix.faults.len() as u64);
        self.mix.faults.get(usize::try_from(which).ok()?).copied()
    }
}
