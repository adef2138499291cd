//! Rules, in memory.

use proto::v1;
use proto::v1::rule_service_server::RuleService;
use tonic::{Request, Response, Status};

use super::{ETAG, Stub, TIME, full, quote, refused, rule};

#[tonic::async_trait]
impl RuleService for Stub {
    async fn create_rule(
        &self,
        request: Request<v1::CreateRuleRequest>,
    ) -> Result<Response<v1::CreateRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let new = request.rule.unwrap_or_default();
        if new.low.as_deref() == Some("-5") {
            return Err(refused(
                "rule.low",
                "\"-5\" is not a price: it is negative; give a decimal number above 0",
            ));
        }
        let rule = rule(self.state().rules.len() + 1, new);
        if !request.validate_only {
            self.state().rules.push(rule.clone());
        }
        self.answer(request.request_id, v1::CreateRuleResponse { rule: Some(rule) })
    }

    async fn get_rule(
        &self,
        request: Request<v1::GetRuleRequest>,
    ) -> Result<Response<v1::GetRuleResponse>, Status> {
        let id = self.authenticated(request)?.rule_id;
        let rule = self.state().rules.iter().find(|rule| rule.id == id).cloned();
        let rule = rule.ok_or_else(|| Status::not_found(format!("there is no rule {id}")))?;
        Ok(Response::new(v1::GetRuleResponse { rule: Some(rule) }))
    }

    async fn batch_create_rules(
        &self,
        request: Request<v1::BatchCreateRulesRequest>,
    ) -> Result<Response<v1::BatchCreateRulesResponse>, Status> {
        use v1::batch_create_rules_result::Outcome;
        let request = self.authenticated(request)?;
        let mut results = Vec::new();
        for new in request.rules {
            let outcome = if new.low.is_none() && new.high.is_none() {
                let field = v1::FieldError {
                    field: "low".into(),
                    description: "neither low nor high is given; give one".into(),
                };
                Outcome::Error(v1::RuleError {
                    code: 3,
                    reason: "INVALID_FIELDS".into(),
                    message: "the rule has 1 invalid field".into(),
                    fields: vec![field],
                })
            } else {
                let mut state = self.state();
                let rule = rule(state.rules.len() + 1, new);
                if !request.validate_only {
                    state.rules.push(rule.clone());
                }
                Outcome::Rule(rule)
            };
            results.push(v1::BatchCreateRulesResult {
                outcome: Some(outcome),
            });
        }
        self.answer(request.request_id, v1::BatchCreateRulesResponse { results })
    }

    async fn snooze_rule(
        &self,
        request: Request<v1::SnoozeRuleRequest>,
    ) -> Result<Response<v1::SnoozeRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let mut state = self.state();
        let rule = state.rules.iter_mut().find(|rule| rule.id == request.rule_id);
        let rule = rule.ok_or_else(|| Status::not_found("there is no such rule"))?;
        rule.snooze = request.snooze;
        let rule = Some(rule.clone());
        drop(state);
        self.answer(request.request_id, v1::SnoozeRuleResponse { rule })
    }

    async fn preview_rule(
        &self,
        request: Request<v1::PreviewRuleRequest>,
    ) -> Result<Response<v1::PreviewRuleResponse>, Status> {
        self.authenticated(request)?;
        Ok(Response::new(v1::PreviewRuleResponse {
            alert_count: 7,
            alerts: vec![v1::PreviewedAlert {
                side: v1::Side::Above.into(),
                price: "200.75".into(),
                quote_time: Some(TIME),
            }],
            quote_count: 120,
            first_time: Some(TIME),
            latest_quote: Some(quote("AAPL", "196.4")),
            side: v1::Side::In.into(),
            low_distance_percent: None,
            high_distance_percent: Some("1.83".into()),
        }))
    }

    /// Two rules a page, so that the client has to turn pages.
    async fn list_rules(
        &self,
        request: Request<v1::ListRulesRequest>,
    ) -> Result<Response<v1::ListRulesResponse>, Status> {
        let from = self.authenticated(request)?.page_token.parse().unwrap_or(0);
        let mut state = self.state();
        state.rule_lists += 1;
        if let Some(delay) = state.full {
            return Err(full(delay));
        }
        let rules: Vec<_> = state.rules.iter().skip(from).take(2).cloned().collect();
        let next = from + rules.len();
        let next_page_token = if next < state.rules.len() {
            next.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListRulesResponse {
            rules,
            next_page_token,
        }))
    }

    async fn update_rule(
        &self,
        request: Request<v1::UpdateRuleRequest>,
    ) -> Result<Response<v1::UpdateRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let etag = request.rule.as_ref().map_or("", |rule| &rule.etag);
        if !etag.is_empty() && etag != ETAG {
            return Err(Status::aborted("the rule is another by now"));
        }
        self.state().updated_rules.push(request.clone());
        let rule = v1::Rule {
            ticker: "AAPL".into(),
            version: 2,
            ..request.rule.unwrap_or_default()
        };
        self.answer(request.request_id, v1::UpdateRuleResponse { rule: Some(rule) })
    }

    async fn delete_rule(
        &self,
        request: Request<v1::DeleteRuleRequest>,
    ) -> Result<Response<v1::DeleteRuleResponse>, Status> {
        let request = self.authenticated(request)?;
        let mut state = self.state();
        let before = state.rules.len();
        state.rules.retain(|rule| rule.id != request.rule_id);
        if state.rules.len() == before {
            let message = format!(
                "there is no rule {}; list your rules to see their ids",
                request.rule_id
            );
            return Err(Status::not_found(message));
        }
        drop(state);
        self.answer(request.request_id, v1::DeleteRuleResponse {})
    }
}
