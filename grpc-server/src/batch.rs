use std::collections::BTreeMap;

use cqrs::RuleRefusal;
use cqrs::domain::{Rule, Timestamp};
use proto::v1;
use proto::v1::batch_create_rules_result::Outcome;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::{FieldNames, of_command};
use crate::wire::{self, Fields};

/// What the rules of a batch are called while they are looked at; not part of the paths that callers see.
const ROOT: &str = "rule";

impl Api {
    pub(crate) async fn create_batch(
        &self,
        request: Request<v1::BatchCreateRulesRequest>,
    ) -> Result<Response<v1::BatchCreateRulesResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let size = wire::batch_size(&mut fields, message.rules.len());
        let (request_id, ()) = fields.finish(request_id.zip(size))?;
        let now = Timestamp::now();
        let (mut rules, mut errors) = (Vec::new(), BTreeMap::new());
        for (place, rule) in message.rules.iter().enumerate() {
            let mut fields = Fields::default();
            let rule = wire::new_rule(&mut fields, ROOT, rule, now);
            match fields.finish(rule) {
                Ok(rule) => rules.push((place, rule)),
                Err(status) => {
                    errors.insert(place, error(&status));
                }
            }
        }
        let idempotency = wire::idempotency("BatchCreateRules", request_id, &message);
        let (commands, idempotency) = self.commands_for(message.validate_only, idempotency);
        let outcomes = commands
            .create_each(caller, rules, idempotency)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        self.outbox_filled.notify_one();
        let results = self.results(message.rules.len(), outcomes, errors).await?;
        Ok(Response::new(v1::BatchCreateRulesResponse { results }))
    }

    /// The outcomes in the order of the request. Of a repeat they are the first one's: a rule that was created then is
    /// shown, although its expiry may have passed meanwhile.
    async fn results(
        &self,
        count: usize,
        outcomes: Vec<(usize, Result<Rule, RuleRefusal>)>,
        mut errors: BTreeMap<usize, v1::RuleError>,
    ) -> Result<Vec<v1::BatchCreateRulesResult>, Status> {
        let (mut places, mut created) = (Vec::new(), Vec::new());
        for (place, outcome) in outcomes {
            match outcome {
                Ok(rule) => {
                    places.push(place);
                    created.push(rule);
                }
                Err(refusal) => {
                    let status = of_command(refusal.into(), FieldNames::PLAIN);
                    errors.insert(place, error(&status));
                }
            }
        }
        let shown = self.show_rules(&created).await?;
        let mut shown: BTreeMap<_, _> = places.into_iter().zip(shown).collect();
        let result = |place| {
            let created = shown.remove(&place).map(Outcome::Rule);
            v1::BatchCreateRulesResult {
                outcome: created.or_else(|| errors.remove(&place).map(Outcome::Error)),
            }
        };
        Ok((0..count).map(result).collect())
    }
}

/// What CreateRule would have answered, as a message.
fn error(status: &Status) -> v1::RuleError {
    let details = status.get_error_details();
    let in_rule = |field: &str| {
        let path = field.strip_prefix(ROOT).and_then(|path| path.strip_prefix('.'));
        path.unwrap_or(field).to_owned()
    };
    let fields = details.bad_request().map_or_else(Vec::new, |request| {
        let shown = request.field_violations.iter().map(|violation| v1::FieldError {
            field: in_rule(&violation.field),
            description: violation.description.clone(),
        });
        shown.collect()
    });
    v1::RuleError {
        code: status.code().into(),
        reason: details
            .error_info()
            .map_or_else(String::new, |info| info.reason.clone()),
        message: status.message().to_owned(),
        fields,
    }
}
