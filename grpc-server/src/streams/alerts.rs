use cqrs::Caller;
use cqrs::domain::RuleId;
use proto::v1;
use tokio::sync::{mpsc, watch};
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};

use super::{Authority, HEARTBEAT, POLL_INTERVAL, Place, Streams, cursor, gone, spawn};
use crate::guard::holder_of;
use crate::status::{field_refusal, of_store, rule_not_found};
use crate::wire::{self, Fields};

/// Alerts read at once.
const PAGE: u32 = 100;

/// Answers on their way to one caller; more wait in the database.
const BUFFER: usize = 16;

type Answers = mpsc::Sender<Result<v1::WatchAlertsResponse, Status>>;

/// The caller's alerts after the cursor, and then each new one.
pub(crate) async fn watch(
    streams: &Streams,
    request: Request<v1::WatchAlertsRequest>,
) -> Result<Response<BoxStream<v1::WatchAlertsResponse>>, Status> {
    let holder = holder_of(&request)?;
    let caller = holder.caller;
    let authority = Authority::new(holder, streams.0.queries.clone());
    let message = request.into_inner();
    let mut fields = Fields::default();
    let after = match message.cursor.as_str() {
        "" => Some(None),
        text => fields
            .take("cursor", cursor::read_alerts(text, caller.0))
            .map(Some),
    };
    let rule = match message.rule_id.as_str() {
        "" => Some(None),
        id => fields.take("rule_id", id.parse::<RuleId>()).map(Some),
    };
    let (after, rule) = fields.finish(after.zip(rule))?;
    // Who has a cursor was let in before: the rule may be deleted since, and its last alerts not told.
    if let (Some(rule), None) = (rule, after) {
        let known = streams.0.feed.knows(caller, rule).await;
        if !known.map_err(|error| of_store(&error))? {
            return Err(rule_not_found(rule));
        }
    }
    let place = streams.place(caller.0)?;
    let heads = streams.0.feed.heads(&[caller.0]).await;
    let heads = heads.map_err(|error| of_store(&error))?;
    let head = *heads.get(&caller.0).ok_or_else(gone)?;
    let position = after.unwrap_or(head);
    if position > head {
        return Err(from_elsewhere());
    }
    let follower = Follower {
        caller,
        rule,
        position,
        head: streams.0.heads.follow(caller.0, head),
        streams: streams.clone(),
        authority,
        _place: place,
    };
    Ok(spawn(streams, BUFFER, |answers| follower.follow(answers)))
}

struct Follower {
    caller: Caller,
    rule: Option<RuleId>,
    /// The number of the last alert that was told, or left out as another rule's.
    position: i64,
    head: watch::Receiver<i64>,
    streams: Streams,
    authority: Authority,
    _place: Place,
}

impl Follower {
    async fn follow(mut self, answers: Answers) -> Status {
        self.tell(&answers, None).await;
        loop {
            if let Err(status) = self.authority.check().await {
                return status;
            }
            if let Err(status) = self.is_not_ahead().await {
                return status;
            }
            let before = self.position;
            if let Err(status) = self.tell_new(&answers).await {
                return status;
            }
            // There should have been something: the next poll says why there was nothing.
            if self.position == before && *self.head.borrow() > before {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            let position = self.position;
            let grown = async { self.head.wait_for(|head| *head > position).await.map(drop) };
            let grown = tokio::time::timeout(HEARTBEAT, grown).await;
            match grown {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return gone(),
                Err(_) => self.tell(&answers, None).await,
            }
        }
    }

    /// Whether there still is what was told. (This server's count may be that of a moment ago.)
    async fn is_not_ahead(&self) -> Result<(), Status> {
        if *self.head.borrow() >= self.position {
            return Ok(());
        }
        let user = self.caller.0;
        let heads = self.streams.0.feed.heads(&[user]).await;
        match heads.map_err(|error| of_store(&error))?.get(&user) {
            Some(head) if *head >= self.position => Ok(()),
            Some(_) => Err(from_elsewhere()),
            None => Err(gone()),
        }
    }

    /// All there are, as fast as the caller reads.
    async fn tell_new(&mut self, answers: &Answers) -> Result<(), Status> {
        loop {
            let found = self.streams.0.feed.after(self.caller, self.position, PAGE).await;
            let found = found.map_err(|error| of_store(&error))?;
            if found.is_empty() {
                return Ok(());
            }
            for numbered in found {
                self.position = numbered.number;
                if self.rule.is_none_or(|rule| rule == numbered.alert.rule_id) {
                    self.tell(answers, Some(wire::alert(&numbered.alert))).await;
                }
            }
            self.authority.check().await?;
        }
    }

    async fn tell(&self, answers: &Answers, alert: Option<v1::Alert>) {
        let answer = v1::WatchAlertsResponse {
            alert,
            cursor: cursor::write_alerts(self.position, self.caller.0),
        };
        // A caller who is gone ends the whole task.
        let _ = answers.send(Ok(answer)).await;
    }
}

fn from_elsewhere() -> Status {
    field_refusal(
        Code::OutOfRange,
        "CURSOR_OUT_OF_RANGE",
        "cursor",
        "the cursor is ahead of all alerts, as after a database was restored; begin without one, and list the alerts"
            .to_owned(),
    )
}
