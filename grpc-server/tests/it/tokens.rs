//! Tokens that are replaced, revoked or too old, in the hands of who is slow, who never got an answer, and who stole one.

use std::time::Duration;

use proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::app::{App, Caller, Database, PATIENCE, no_broker, with_token};
use crate::credentials;
use crate::reflection::RawCodec;
use crate::refusal::refusal_of;

/// A call whose headers are sent, and whose message is not.
pub(crate) struct Withheld {
    message: mpsc::Sender<Vec<u8>>,
    answer: oneshot::Receiver<Result<Vec<u8>, Status>>,
}

impl Withheld {
    pub(crate) fn begin(channel: &Channel, path: &'static str, token: Option<&str>) -> Self {
        let (message, messages) = mpsc::channel(1);
        let (answered, answer) = oneshot::channel();
        let stream = ReceiverStream::new(messages);
        let request = match token {
            Some(token) => with_token(stream, token),
            None => tonic::Request::new(stream),
        };
        let mut client = Grpc::new(channel.clone());
        tokio::spawn(async move {
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static(path);
            let answer = client.client_streaming(request, path, RawCodec).await;
            let _ = answered.send(answer.map(tonic::Response::into_inner));
        });
        Self { message, answer }
    }

    /// Sends an empty message after all.
    pub(crate) async fn end(self) -> Result<Vec<u8>, Status> {
        let _ = self.message.send(Vec::new()).await;
        drop(self.message);
        tokio::time::timeout(PATIENCE, self.answer)
            .await
            .unwrap()
            .unwrap()
    }

    /// What is answered while the message is still withheld.
    pub(crate) async fn answer(self) -> Result<Vec<u8>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answer).await;
        drop(self.message);
        answer.unwrap().unwrap()
    }
}

async fn rotate(app: &App, token: &str, request_id: &str) -> Result<String, Status> {
    let request = v1::RotateTokenRequest {
        request_id: request_id.to_owned(),
    };
    let answer = app.users().rotate_token(with_token(request, token)).await?;
    Ok(answer.into_inner().api_token)
}

async fn is_good(app: &App, token: &str) -> bool {
    let request = with_token(v1::GetUserRequest {}, token);
    app.users().get_user(request).await.is_ok()
}

fn assert_unauthenticated<T: std::fmt::Debug>(result: Result<T, Status>, case: &str) {
    let code = refusal_of(&result.unwrap_err()).code;
    assert_eq!(code, Code::Unauthenticated, "{case}");
}

#[tokio::test]
async fn who_withholds_a_request_until_its_token_is_replaced_gets_and_breaks_nothing() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    for revoked in [false, true] {
        let owner = app.register().await;
        let calls = [
            "/stockalert.v1.UserService/RotateToken",
            "/stockalert.v1.UserService/CreateLinkToken",
            "/stockalert.v1.UserService/RevokeToken",
            "/stockalert.v1.UserService/DeleteUser",
        ];
        let begun = calls.map(|path| (path, Withheld::begin(&app.channel, path, Some(&owner.token))));
        // All of them have been let in.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut token = rotate(&app, &owner.token, "").await.unwrap();
        if revoked {
            let request = with_token(v1::RevokeTokenRequest::default(), &token);
            app.users().revoke_token(request).await.unwrap();
            token.clear();
        }
        for (path, call) in begun {
            assert_unauthenticated(call.end().await, path);
        }
        assert_eq!(is_good(&app, &token).await, !revoked);
    }
    app.stop().await;
}

#[tokio::test]
async fn who_never_got_the_new_token_repeats_the_request_with_the_old_one() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let owner = app.register().await;
    let id = Uuid::new_v4().to_string();
    let lost = rotate(&app, &owner.token, &id).await.unwrap();
    // A thief who has the old token, and does not know the id.
    let guessed = Uuid::new_v4().to_string();
    assert_unauthenticated(rotate(&app, &owner.token, &guessed).await, "guessed");
    assert_unauthenticated(rotate(&app, &owner.token, "").await, "without an id");
    let delete = with_token(v1::DeleteUserRequest::default(), &owner.token);
    assert_unauthenticated(app.users().delete_user(delete).await, "another method");
    assert!(!is_good(&app, &owner.token).await && is_good(&app, &lost).await);

    let token = rotate(&app, &owner.token, &id).await.unwrap();
    assert!(!is_good(&app, &lost).await && is_good(&app, &token).await);
    let invalid = refusal_of(&rotate(&app, &token, "not random").await.unwrap_err());
    assert_eq!(
        (invalid.code, invalid.fields.as_slice()),
        (Code::InvalidArgument, &["request_id".to_owned()][..])
    );

    let revoke = with_token(v1::RevokeTokenRequest::default(), &token);
    app.users().revoke_token(revoke).await.unwrap();
    for token in [&owner.token, &lost, &token] {
        assert_unauthenticated(rotate(&app, token, &id).await, "revoked");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_became_too_old_lets_its_user_replace_it_or_go() {
    let database = Database::sqlite();
    let app = credentials::start(&database, &no_broker()).await;
    let rules = |token: &str| with_token(v1::ListRulesRequest::default(), token);
    let late: Caller = credentials::expired(&app, &database).await;
    assert_unauthenticated(app.rules().list_rules(rules(&late.token)).await, "too old");
    let fresh = rotate(&app, &late.token, "").await.unwrap();
    app.rules().list_rules(rules(&fresh)).await.unwrap();
    assert_unauthenticated(rotate(&app, &late.token, "").await, "replaced");

    let late = credentials::expired(&app, &database).await;
    let delete = || with_token(v1::DeleteUserRequest::default(), &late.token);
    app.users().delete_user(delete()).await.unwrap();
    assert_unauthenticated(app.users().delete_user(delete()).await, "gone");
    app.stop().await;
}
