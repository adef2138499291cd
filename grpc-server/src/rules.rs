use cqrs::domain::{NewRule, RuleId, Timestamp};
use cqrs::{PreviewLimits, RuleEdit};
use proto::v1;
use proto::v1::rule_service_server::RuleService;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::guard::caller_of;
use crate::status::{FieldNames, of_command, of_store, rule_not_found};
use crate::wire::{self, Fields};

/// What a preview looks at, and how many alerts it names: as much as a database reads in a second or two.
const PREVIEW: PreviewLimits = PreviewLimits {
    quotes: 500_000,
    breaches: 20,
};

#[tonic::async_trait]
impl RuleService for Api {
    async fn create_rule(
        &self,
        request: Request<v1::CreateRuleRequest>,
    ) -> Result<Response<v1::CreateRuleResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let rule = given_rule(&mut fields, message.rule.as_ref(), Timestamp::now());
        let (request_id, rule) = fields.finish(request_id.zip(rule))?;
        let idempotency = wire::idempotency("CreateRule", request_id, &message);
        let (commands, idempotency) = self.commands_for(message.validate_only, idempotency);
        let rule = commands
            .create_rule(caller, rule, idempotency)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        self.outbox_filled.notify_one();
        Ok(Response::new(v1::CreateRuleResponse {
            rule: self.show_rule(rule).await?,
        }))
    }

    async fn get_rule(
        &self,
        request: Request<v1::GetRuleRequest>,
    ) -> Result<Response<v1::GetRuleResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut fields = Fields::default();
        let id = fields.take("rule_id", request.into_inner().rule_id.parse::<RuleId>());
        let id = fields.finish(id)?;
        let rule = self
            .queries
            .rule(caller, id)
            .await
            .map_err(|error| of_store(&error))?;
        let rule = rule.ok_or_else(|| rule_not_found(id))?;
        Ok(Response::new(v1::GetRuleResponse {
            rule: self.show_known_rule(rule).await?,
        }))
    }

    async fn list_rules(
        &self,
        request: Request<v1::ListRulesRequest>,
    ) -> Result<Response<v1::ListRulesResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let page = wire::page(
            &mut fields,
            message.page_size,
            std::mem::take(&mut message.page_token),
        );
        let filter = wire::rule_filter(&mut fields, &message);
        let (page, filter) = fields.finish(page.zip(filter))?;
        let rules = self
            .queries
            .find_rules(caller, &filter, page.token.as_deref(), page.size)
            .await
            .map_err(|error| of_store(&error))?;
        Ok(Response::new(v1::ListRulesResponse {
            rules: self.show_known_rules(&rules.items).await?,
            next_page_token: rules.next.unwrap_or_default(),
        }))
    }

    async fn update_rule(
        &self,
        request: Request<v1::UpdateRuleRequest>,
    ) -> Result<Response<v1::UpdateRuleResponse>, Status> {
        const NAMES: FieldNames = FieldNames {
            rule_id: "rule.id",
            etag: "rule.etag",
            ..FieldNames::PLAIN
        };
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let edit = rule_edit(&mut fields, &message, Timestamp::now());
        let (request_id, (id, edit)) = fields.finish(request_id.zip(edit))?;
        let idempotency = wire::idempotency("UpdateRule", request_id, &message);
        let (commands, idempotency) = self.commands_for(message.validate_only, idempotency);
        let rule = commands
            .update_rule(caller, id, edit, idempotency)
            .await
            .map_err(|error| of_command(error, NAMES))?;
        self.outbox_filled.notify_one();
        Ok(Response::new(v1::UpdateRuleResponse {
            rule: self.show_rule(rule).await?,
        }))
    }

    async fn delete_rule(
        &self,
        request: Request<v1::DeleteRuleRequest>,
    ) -> Result<Response<v1::DeleteRuleResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let id = fields.take("rule_id", message.rule_id.parse::<RuleId>());
        let etag = fields.etag("etag", &message.etag);
        let (request_id, (id, etag)) = fields.finish(request_id.zip(id.zip(etag)))?;
        let idempotency = wire::idempotency("DeleteRule", request_id, &message);
        self.commands
            .delete_rule_if(caller, id, etag, idempotency)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        self.outbox_filled.notify_one();
        Ok(Response::new(v1::DeleteRuleResponse {}))
    }

    async fn batch_create_rules(
        &self,
        request: Request<v1::BatchCreateRulesRequest>,
    ) -> Result<Response<v1::BatchCreateRulesResponse>, Status> {
        self.create_batch(request).await
    }

    async fn snooze_rule(
        &self,
        request: Request<v1::SnoozeRuleRequest>,
    ) -> Result<Response<v1::SnoozeRuleResponse>, Status> {
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let id = fields.take("rule_id", message.rule_id.parse::<RuleId>());
        let snooze = wire::snooze(&mut fields, message.snooze.as_ref());
        let (request_id, (id, snooze)) = fields.finish(request_id.zip(id.zip(snooze)))?;
        let idempotency = wire::idempotency("SnoozeRule", request_id, &message);
        let rule = self
            .commands
            .snooze_rule(caller, id, snooze, idempotency)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        Ok(Response::new(v1::SnoozeRuleResponse {
            rule: self.show_known_rule(rule).await?,
        }))
    }

    async fn preview_rule(
        &self,
        request: Request<v1::PreviewRuleRequest>,
    ) -> Result<Response<v1::PreviewRuleResponse>, Status> {
        caller_of(&request)?;
        let message = request.into_inner();
        let (mut fields, now) = (Fields::default(), Timestamp::now());
        let window = wire::preview_window(&mut fields, message.window);
        let rule = given_rule(&mut fields, message.rule.as_ref(), now);
        let (window, rule) = fields.finish(window.zip(rule))?;
        let from = now.minus(window);
        let _turn = self.turns.take().await?;
        let preview = self
            .queries
            .preview(&rule.ticker, rule.range, self.margin, from, PREVIEW)
            .await
            .map_err(|error| of_store(&error))?;
        let (low, high) = (rule.range.low(), rule.range.high());
        Ok(Response::new(wire::preview(&preview, low, high)))
    }
}

fn given_rule(fields: &mut Fields, rule: Option<&v1::NewRule>, now: Timestamp) -> Option<NewRule> {
    if rule.is_none() {
        fields.refuse("rule", "it is missing; give the rule to create");
    }
    wire::new_rule(fields, "rule", rule?, now)
}

fn rule_edit(
    fields: &mut Fields,
    message: &v1::UpdateRuleRequest,
    now: Timestamp,
) -> Option<(RuleId, RuleEdit)> {
    let known = ["low", "high", "note", "paused", "expire_time"];
    let paths = wire::mask(fields, message.update_mask.as_ref(), &known);
    let Some(rule) = &message.rule else {
        fields.refuse("rule", "it is missing; give the rule's id and the new values");
        return None;
    };
    let id = fields.take("rule.id", rule.id.parse::<RuleId>());
    let mut edit = RuleEdit {
        etag: fields.etag("rule.etag", &rule.etag).flatten(),
        ..RuleEdit::default()
    };
    for path in paths {
        match path {
            "low" => edit.low = wire::optional_price(fields, "rule.low", rule.low.as_deref()),
            "high" => edit.high = wire::optional_price(fields, "rule.high", rule.high.as_deref()),
            "note" => edit.note = fields.take("rule.note", rule.note.parse()),
            "paused" => edit.paused = Some(rule.paused),
            "expire_time" => {
                edit.expires_at =
                    wire::expire_time(fields, "rule.expire_time", rule.expire_time.as_ref(), now);
            }
            _ => {}
        }
    }
    // Where only one of them changes, the stored other one decides, in the command.
    if let (Some(low), Some(high)) = (edit.low, edit.high) {
        wire::range(fields, "rule.low", low, high);
    }
    Some((id?, edit))
}
