//! Any bytes as the message of any command, sent to the real server on a database of its own: they may be refused, in the
//! words of the API, or carried out. The first byte chooses the command.
#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use clap::Parser;
use cqrs::{Limits, Store, StoreSettings};
use grpc_server::Config;
use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message as _;
use proto::v1;
use service::Context;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// Without those that end the caller's token, and the one that needs a broker.
const COMMANDS: [&str; 8] = [
    "/stockalert.v1.RuleService/CreateRule",
    "/stockalert.v1.RuleService/UpdateRule",
    "/stockalert.v1.RuleService/DeleteRule",
    "/stockalert.v1.RuleService/BatchCreateRules",
    "/stockalert.v1.RuleService/SnoozeRule",
    "/stockalert.v1.UserService/RegisterUser",
    "/stockalert.v1.UserService/UpdateUser",
    "/stockalert.v1.UserService/CreateLinkToken",
];
const CREATE_RULE: &str = COMMANDS[0];

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

struct Scene {
    runtime: Runtime,
    channel: Channel,
    bearer: MetadataValue<Ascii>,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let (channel, bearer) = runtime.block_on(serve());
    Scene {
        runtime,
        channel,
        bearer,
    }
});

async fn serve() -> (Channel, MetadataValue<Ascii>) {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let url = format!("sqlite://{}/fuzz.db", folder.display());
    // Callers call as fast as they can here. The broker is not there: nothing of what is tried needs one.
    let config = Settings::parse_from([
        "fuzz",
        &format!("--database-url={url}"),
        "--kafka-bootstrap-servers=127.0.0.1:9",
        "--calls-per-second=1000000",
        "--registrations-per-hour=1000000000",
    ])
    .config;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = StoreSettings {
        url,
        read_url: None,
        max_connections: 1,
        connect_timeout: Duration::from_secs(30),
    };
    let store = Store::open(&settings).await.expect("a database");
    let user = store
        .commands(Limits::default())
        .register_user("fuzz@example.org".parse().expect("an address"), vec![], None)
        .await
        .expect("a user");
    tokio::spawn(grpc_server::serve(listener, config, Context::default()));
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .expect("an endpoint")
        .connect_lazy();
    let bearer = format!("Bearer {}", user.api_token.expose());
    (channel, bearer.parse().expect("a header"))
}

impl Scene {
    async fn call(&self, path: &'static str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.expect("a server");
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        client
            .unary(request, PathAndQuery::from_static(path), RawCodec)
            .await
            .map(tonic::Response::into_inner)
    }

    /// What was created can be read back as it was answered, and goes again: a user may have only so many.
    async fn read_back(&self, created: &[u8]) {
        let created = v1::CreateRuleResponse::decode(created).expect("an answer");
        let rule = created.rule.expect("a rule");
        let get = v1::GetRuleRequest {
            rule_id: rule.id.clone(),
        };
        let path = "/stockalert.v1.RuleService/GetRule";
        match self.call(path, get.encode_to_vec()).await {
            Ok(read) => {
                let read = v1::GetRuleResponse::decode(read.as_slice()).expect("an answer");
                assert_eq!(read.rule, Some(rule.clone()));
            }
            // It was only validated, or a repeat, whose rule is gone.
            Err(status) => assert_eq!(status.code(), Code::NotFound, "{status}"),
        }
        let delete = v1::DeleteRuleRequest {
            rule_id: rule.id,
            ..v1::DeleteRuleRequest::default()
        };
        let _ = self
            .call("/stockalert.v1.RuleService/DeleteRule", delete.encode_to_vec())
            .await;
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((first, message)) = bytes.split_first() else {
        return Corpus::Reject;
    };
    let path = COMMANDS[usize::from(*first) % COMMANDS.len()];
    let scene = &*SCENE;
    scene.runtime.block_on(async {
        match scene.call(path, message.to_vec()).await {
            Ok(answer) if path == CREATE_RULE => scene.read_back(&answer).await,
            Ok(_) => {}
            Err(status) => check(path, &status),
        }
    });
    Corpus::Keep
});

/// A refusal that the API's callers can act on.
fn check(path: &str, status: &Status) {
    let details = status.get_error_details();
    match status.code() {
        Code::InvalidArgument => {
            let reason = details.error_info().map(|info| info.reason.as_str());
            if reason == Some("MALFORMED_REQUEST") {
                return;
            }
            assert_eq!(reason, Some("INVALID_FIELDS"), "{path}: {status}");
            let violations = details.bad_request().map_or(&[][..], |request| &request.field_violations);
            assert!(!violations.is_empty(), "{path}: {status}");
            for violation in violations {
                assert!(!violation.field.is_empty() && !violation.description.is_empty(), "{path}: {status}");
            }
        }
        Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::FailedPrecondition
        | Code::ResourceExhausted
        | Code::OutOfRange => assert!(details.error_info().is_some(), "{path}: {status}"),
        other => panic!("{path} answered {other:?}: {status}"),
    }
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
