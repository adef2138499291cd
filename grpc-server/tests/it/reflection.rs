//! Clients that know nothing of this API, such as grpcurl, can list and call it.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};
use tonic_reflection::pb::{v1, v1alpha};

use crate::app::{App, Database, no_broker, some_email};

const SERVICES: [&str; 9] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "stockalert.v1.AdminService",
    "stockalert.v1.AlertService",
    "stockalert.v1.QuoteService",
    "stockalert.v1.RuleService",
    "stockalert.v1.SystemService",
    "stockalert.v1.UserService",
];

/// Asks one question over reflection; the two versions have the same shape.
macro_rules! ask {
    ($version:ident, $app:expr, $question:ident($text:expr)) => {{
        use $version::server_reflection_request::MessageRequest;
        let request = $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::$question($text.into())),
        };
        $version::server_reflection_client::ServerReflectionClient::new($app.channel.clone())
            .server_reflection_info(tokio_stream::once(request))
            .await
            .unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap()
    }};
}

/// Names of the services, and the files of the symbol, through one version of reflection.
macro_rules! reflect {
    ($version:ident, $app:expr, $symbol:expr) => {{
        use $version::server_reflection_response::MessageResponse;
        let MessageResponse::ListServicesResponse(list) = ask!($version, $app, ListServices("")) else {
            panic!("no list")
        };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        let MessageResponse::FileDescriptorResponse(files) =
            ask!($version, $app, FileContainingSymbol($symbol))
        else {
            panic!("no file of {}", $symbol)
        };
        (names, files.file_descriptor_proto)
    }};
}

#[tokio::test]
async fn both_versions_of_reflection_list_every_service() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let (names, files) = reflect!(v1, app, "stockalert.v1.RuleService");
    assert_eq!(names, SERVICES);
    assert_eq!(files.len(), 1);
    let (names, files) = reflect!(v1alpha, app, "stockalert.v1.RuleService");
    assert_eq!(names, SERVICES);
    assert_eq!(files.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_only_has_reflection_can_register_a_user() {
    let database = Database::sqlite();
    let app = App::start(&database, &no_broker()).await;
    let pool = pool_of(&app, "stockalert.v1.UserService").await;
    let method = pool
        .get_service_by_name("stockalert.v1.UserService")
        .unwrap()
        .methods()
        .find(|method| method.name() == "RegisterUser")
        .unwrap();

    let mut request = DynamicMessage::new(method.input());
    let email = some_email();
    request.set_field_by_name("email", Value::String(email.clone()));
    let mut client = tonic::client::Grpc::new(app.channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/stockalert.v1.UserService/RegisterUser");
    let bytes = client
        .unary(Request::new(request.encode_to_vec()), path, RawCodec)
        .await
        .unwrap()
        .into_inner();

    let answer = DynamicMessage::decode(method.output(), bytes.as_slice()).unwrap();
    let user = answer.get_field_by_name("user").unwrap();
    let user = user.as_message().unwrap();
    assert_eq!(
        user.get_field_by_name("email").unwrap().as_str(),
        Some(email.as_str())
    );
    app.stop().await;
}

/// Fetches the symbol's file and all that it imports, as grpcurl does.
async fn pool_of(app: &App, symbol: &str) -> DescriptorPool {
    use v1::server_reflection_response::MessageResponse;
    let (_, files) = reflect!(v1, app, symbol);
    let mut files: Vec<prost_types::FileDescriptorProto> = files
        .iter()
        .map(|bytes| prost_types::FileDescriptorProto::decode(bytes.as_slice()).unwrap())
        .collect();
    let mut next = 0;
    while next < files.len() {
        for import in files[next].dependency.clone() {
            if files.iter().all(|file| file.name() != import) {
                let MessageResponse::FileDescriptorResponse(answer) = ask!(v1, app, FileByFilename(import))
                else {
                    panic!("an import is not served")
                };
                for bytes in answer.file_descriptor_proto {
                    files.push(prost_types::FileDescriptorProto::decode(bytes.as_slice()).unwrap());
                }
            }
        }
        next += 1;
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files).unwrap();
    pool
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawCodec;

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
        use bytes::BufMut as _;
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf as _;
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
