//! Who may call what: the one table that says it, checked against the descriptors that reflection serves.

use std::collections::HashMap;

use prost::Message as _;

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Nothing: the caller is nobody yet. Limited per address.
    Registration,
    /// Nothing, and it tells nothing of any user.
    Open,
    /// A user's token. The method acts on that user's things alone: it gets no other name than the token's.
    User,
    /// As `User`, and a token that became too old lets in for a while: to replace it, or to go.
    LateUser,
    /// As `LateUser`, and so does one that was replaced a moment ago: the method makes sure that it repeats the request that
    /// replaced it.
    ReplacedUser,
    /// The operator's token.
    Operator,
    /// Either of the two.
    UserOrOperator,
}

/// Every method of the API. One that is not here lets nobody start the server.
const METHODS: [(&str, Credential); 30] = [
    ("UserService/RegisterUser", Credential::Registration),
    ("UserService/GetUser", Credential::User),
    ("UserService/UpdateUser", Credential::User),
    ("UserService/DeleteUser", Credential::LateUser),
    ("UserService/CreateLinkToken", Credential::User),
    ("UserService/RotateToken", Credential::ReplacedUser),
    ("UserService/RevokeToken", Credential::User),
    ("RuleService/CreateRule", Credential::User),
    ("RuleService/GetRule", Credential::User),
    ("RuleService/ListRules", Credential::User),
    ("RuleService/UpdateRule", Credential::User),
    ("RuleService/DeleteRule", Credential::User),
    ("RuleService/BatchCreateRules", Credential::User),
    ("RuleService/SnoozeRule", Credential::User),
    ("RuleService/PreviewRule", Credential::User),
    ("QuoteService/GetLatestQuote", Credential::User),
    ("QuoteService/GetAverage", Credential::User),
    ("QuoteService/ListTickers", Credential::User),
    ("QuoteService/ListQuotes", Credential::User),
    ("QuoteService/ListCandles", Credential::User),
    ("QuoteService/WatchQuotes", Credential::User),
    ("AlertService/ListAlerts", Credential::User),
    ("AlertService/ListDeliveries", Credential::User),
    ("AlertService/SendTestAlert", Credential::User),
    ("AlertService/WatchAlerts", Credential::User),
    ("AdminService/ListUsers", Credential::Operator),
    ("AdminService/RevokeUserToken", Credential::Operator),
    ("AdminService/RepublishRules", Credential::Operator),
    ("AdminService/GetLag", Credential::Operator),
    ("SystemService/GetStatus", Credential::UserOrOperator),
];

/// Services of others that are served too; a path below them, and whether it is a stream that may stay open.
const OPEN: [(&str, bool); 4] = [
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.health.v1.Health/", false),
    ("/grpc.reflection.v1.ServerReflection/", true),
    ("/grpc.reflection.v1alpha.ServerReflection/", true),
];

/// What is known of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) credential: Credential,
    /// Whether its answer is a stream that stays open.
    pub(crate) streams: bool,
    /// Whether it is one of the API's own, and so may name a metric.
    pub(crate) own: bool,
}

/// The methods of the API.
#[derive(Debug)]
pub(crate) struct Methods(HashMap<String, Method>);

/// The table and the descriptors don't say the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("the API's descriptors can't be read: {0}")]
    Descriptors(#[from] prost::DecodeError),
    #[error("{0} is not in the table of grpc-server/src/access.rs: say there who may call it")]
    Unnamed(String),
    #[error("{0} is in the table of grpc-server/src/access.rs, and no method of the API: take it out there")]
    Unknown(String),
}

impl Methods {
    /// All methods, each with its credential.
    ///
    /// # Errors
    /// If a method of the API is not in the table, or the other way round.
    pub(crate) fn of_the_api() -> Result<Self, AccessError> {
        Self::checked(proto::FILE_DESCRIPTOR_SET, &METHODS)
    }

    fn checked(descriptors: &[u8], table: &[(&str, Credential)]) -> Result<Self, AccessError> {
        let mut named: HashMap<String, Credential> = table
            .iter()
            .map(|(method, credential)| (format!("/stockalert.v1.{method}"), *credential))
            .collect();
        let mut methods = HashMap::new();
        for file in prost_types::FileDescriptorSet::decode(descriptors)?.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let Some(credential) = named.remove(&path) else {
                        return Err(AccessError::Unnamed(path));
                    };
                    let streams = method.server_streaming();
                    methods.insert(
                        path,
                        Method {
                            credential,
                            streams,
                            own: true,
                        },
                    );
                }
            }
        }
        match named.into_keys().next() {
            Some(path) => Err(AccessError::Unknown(path)),
            None => Ok(Self(methods)),
        }
    }

    /// What `path` asks of its caller. A path that nobody serves is told to those only who are somebody.
    pub(crate) fn of(&self, path: &str) -> Method {
        if let Some(method) = self.0.get(path) {
            return *method;
        }
        let open = OPEN.iter().find(|(prefix, _)| path.starts_with(prefix));
        Method {
            credential: open.map_or(Credential::UserOrOperator, |_| Credential::Open),
            streams: open.is_some_and(|(_, streams)| *streams),
            own: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_api_is_in_the_table_and_none_else() {
        let methods = Methods::of_the_api().unwrap();
        assert_eq!(methods.0.len(), METHODS.len());
    }

    #[test]
    fn a_method_without_a_place_in_the_table_is_refused_by_name() {
        for (at, (method, _)) in METHODS.iter().enumerate() {
            let mut table = METHODS.to_vec();
            table.remove(at);
            let error = Methods::checked(proto::FILE_DESCRIPTOR_SET, &table).unwrap_err();
            assert!(error.to_string().contains(method), "{error}");
        }
        let mut table = METHODS.to_vec();
        table.push(("RuleService/Nothing", Credential::Open));
        let error = Methods::checked(proto::FILE_DESCRIPTOR_SET, &table).unwrap_err();
        assert!(error.to_string().contains("RuleService/Nothing"), "{error}");
    }

    #[test]
    fn only_registration_health_and_reflection_need_nothing() {
        let methods = Methods::of_the_api().unwrap();
        let needs_nothing: Vec<_> = methods
            .0
            .iter()
            .filter(|(_, method)| matches!(method.credential, Credential::Open | Credential::Registration))
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(needs_nothing, ["/stockalert.v1.UserService/RegisterUser"]);
        let credential = |path| methods.of(path).credential;
        assert_eq!(credential("/grpc.health.v1.Health/Check"), Credential::Open);
        assert!(methods.of("/grpc.health.v1.Health/Watch").streams);
        assert!(!methods.of("/grpc.health.v1.Health/Check").streams);
        for path in [
            "/stockalert.v1.UserService/RegisterUserX",
            "/stockalert.v1.UserService/",
            "/stockalert.v1.NewService/NewMethod",
            "/grpc.health.v1.Healthy/Check",
            "/",
            "",
        ] {
            assert_eq!(credential(path), Credential::UserOrOperator, "{path}");
        }
    }
}
