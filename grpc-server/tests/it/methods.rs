//! The methods of the API, from the descriptors that reflection serves, so that a new one is tested without being named
//! here.

use std::time::Duration;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use proto::v1;
use tokio_stream::StreamExt as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::app::{in_seconds, some_email, with_token};
use crate::reflection::RawCodec;

/// What a method asks for, said here another time, by rules that hold for methods to come: who adds one that they don't
/// hold for has to say so here, too.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Needs {
    Nothing,
    User,
    Operator,
    Either,
}

pub(crate) fn needs(method: &MethodDescriptor) -> Needs {
    match (method.parent_service().name(), method.name()) {
        ("UserService", "RegisterUser") => Needs::Nothing,
        ("AdminService", _) => Needs::Operator,
        ("SystemService", "GetStatus") => Needs::Either,
        _ => Needs::User,
    }
}

pub(crate) fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let methods: Vec<_> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    assert!(methods.len() >= 30, "{methods:?}");
    methods
}

/// Calls it and answers what came back; of a stream what came within this time of one another.
pub(crate) async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    message: Vec<u8>,
    token: Option<&str>,
    listened: Duration,
) -> Result<Vec<Vec<u8>>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).unwrap();
    let request = match token {
        Some(token) => with_token(message, token),
        None => Request::new(message),
    };
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.unwrap();
    if !method.is_server_streaming() {
        let answer = client.unary(request, path, RawCodec).await?;
        return Ok(vec![answer.into_inner()]);
    }
    let mut stream = client
        .server_streaming(request, path, RawCodec)
        .await?
        .into_inner();
    let mut answers = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(listened, stream.next()).await {
        answers.push(answer?);
    }
    Ok(answers)
}

/// What requests are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids<'a> {
    pub(crate) rule: &'a str,
    pub(crate) user: &'a str,
}

/// A request of this method that makes sense, and whether it names something by its id. Who adds an id of something else
/// has to say here whose.
pub(crate) fn filled(method: &MethodDescriptor, ids: Ids<'_>) -> (DynamicMessage, bool) {
    let mut named = false;
    let request = message(&method.input(), method, ids, &mut named);
    (request, named)
}

fn message(
    descriptor: &MessageDescriptor,
    method: &MethodDescriptor,
    ids: Ids<'_>,
    named: &mut bool,
) -> DynamicMessage {
    let mut filled = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let kind = field.kind();
        let value = if let Some(inner) = kind.as_message() {
            well_known(&field, inner, method)
                .unwrap_or_else(|| Some(Value::Message(message(inner, method, ids, named))))
        } else if kind == Kind::String {
            text(&field, ids, named)
        } else {
            None
        };
        // A list has one.
        match value {
            Some(value) if field.is_list() => filled.set_field(&field, Value::List(vec![value])),
            Some(value) => filled.set_field(&field, value),
            None => {}
        }
    }
    filled
}

fn text(field: &FieldDescriptor, ids: Ids<'_>, named: &mut bool) -> Option<Value> {
    let text = match field.name() {
        "id" | "rule_id" => {
            *named = true;
            ids.rule.to_owned()
        }
        "user_id" => {
            *named = true;
            ids.user.to_owned()
        }
        "request_id" => return None,
        name if name.ends_with("_id") || name.ends_with("_ids") => {
            panic!("{}: whose is it? Give the owner's", field.full_name())
        }
        "ticker" | "tickers" => "AAPL".to_owned(),
        "low" => "170.5".to_owned(),
        "high" => "200.25".to_owned(),
        "email" => some_email(),
        _ => return None,
    };
    Some(Value::String(text))
}

/// The value of a field whose message is not to be filled field by field; the inner `None`: it stays away.
fn well_known(
    field: &FieldDescriptor,
    inner: &MessageDescriptor,
    method: &MethodDescriptor,
) -> Option<Option<Value>> {
    let value = match (inner.full_name(), field.name()) {
        ("google.protobuf.FieldMask", _) => {
            let path = if method.name() == "UpdateUser" {
                "email"
            } else {
                "note"
            };
            let mask = prost_types::FieldMask {
                paths: vec![path.to_owned()],
            };
            dynamic(inner, &mask)
        }
        ("google.protobuf.Timestamp", "start_time") => dynamic(inner, &in_seconds(-3_600)),
        ("google.protobuf.Timestamp", "until_time") => dynamic(inner, &in_seconds(3_600)),
        ("google.protobuf.Timestamp", _) => return Some(None),
        ("google.protobuf.Duration", _) => {
            let minutes = prost_types::Duration {
                seconds: 3_600,
                nanos: 0,
            };
            dynamic(inner, &minutes)
        }
        ("stockalert.v1.User", _) => {
            // Its id is the caller's own, and is not read.
            let user = v1::User {
                email: some_email(),
                ..Default::default()
            };
            dynamic(inner, &user)
        }
        _ => return None,
    };
    Some(Some(Value::Message(value)))
}

fn dynamic(descriptor: &MessageDescriptor, message: &impl prost::Message) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice()).unwrap()
}
