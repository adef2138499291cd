use cqrs::UserEdit;
use cqrs::domain::Timestamp;
use proto::v1;
use proto::v1::user_service_server::UserService;
use tonic::{Code, Request, Response, Status};

use crate::api::Api;
use crate::guard::{caller_of, holder_of};
use crate::status::{FieldNames, of_command, of_store, refusal};
use crate::wire::{self, Fields};

#[tonic::async_trait]
impl UserService for Api {
    async fn register_user(
        &self,
        request: Request<v1::RegisterUserRequest>,
    ) -> Result<Response<v1::RegisterUserResponse>, Status> {
        const NAMES: FieldNames = FieldNames {
            expire_time: "rules",
            ..FieldNames::PLAIN
        };
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::random_request_id(&mut fields, std::mem::take(&mut message.request_id));
        let email = wire::email(&mut fields, "email", &message.email);
        let rules = wire::new_rules(&mut fields, &message.rules, Timestamp::now());
        let (request_id, email, rules) = fields.finish(request_id.zip(email).zip(rules).map(flat))?;
        let idempotency = wire::idempotency("RegisterUser", request_id, &message);
        let registration = self
            .commands
            .register_user(email, rules, idempotency)
            .await
            .map_err(|error| of_command(error, NAMES))?;
        self.outbox_filled.notify_one();
        Ok(Response::new(v1::RegisterUserResponse {
            user: Some(wire::user(&registration.user)),
            api_token: registration.api_token.expose().to_owned(),
            telegram_link: Some(wire::link(&registration.link)),
            rules: self.show_rules(&registration.rules).await?,
        }))
    }

    async fn get_user(
        &self,
        request: Request<v1::GetUserRequest>,
    ) -> Result<Response<v1::GetUserResponse>, Status> {
        let caller = caller_of(&request)?;
        let user = self
            .queries
            .user(caller)
            .await
            .map_err(|error| of_store(&error))?;
        let user =
            user.ok_or_else(|| refusal(Code::NotFound, "USER_NOT_FOUND", "there is no such user any more"))?;
        Ok(Response::new(v1::GetUserResponse {
            user: Some(wire::user(&user)),
        }))
    }

    async fn update_user(
        &self,
        request: Request<v1::UpdateUserRequest>,
    ) -> Result<Response<v1::UpdateUserResponse>, Status> {
        const NAMES: FieldNames = FieldNames {
            etag: "user.etag",
            ..FieldNames::PLAIN
        };
        let caller = caller_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::request_id(&mut fields, std::mem::take(&mut message.request_id));
        let edit = user_edit(&mut fields, &message);
        let (request_id, edit) = fields.finish(request_id.zip(edit))?;
        let idempotency = wire::idempotency("UpdateUser", request_id, &message);
        let (commands, idempotency) = self.commands_for(message.validate_only, idempotency);
        let user = commands
            .update_user(caller, edit, idempotency)
            .await
            .map_err(|error| of_command(error, NAMES))?;
        Ok(Response::new(v1::UpdateUserResponse {
            user: Some(wire::user(&user)),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let holder = holder_of(&request)?;
        well_formed(request.into_inner().request_id)?;
        self.commands
            .delete_user(holder)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        self.outbox_filled.notify_one();
        Ok(Response::new(v1::DeleteUserResponse {}))
    }

    async fn create_link_token(
        &self,
        request: Request<v1::CreateLinkTokenRequest>,
    ) -> Result<Response<v1::CreateLinkTokenResponse>, Status> {
        let holder = holder_of(&request)?;
        well_formed(request.into_inner().request_id)?;
        let link = self
            .commands
            .create_link(holder)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        Ok(Response::new(v1::CreateLinkTokenResponse {
            telegram_link: Some(wire::link(&link)),
        }))
    }

    async fn rotate_token(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Result<Response<v1::RotateTokenResponse>, Status> {
        let holder = holder_of(&request)?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = wire::random_request_id(&mut fields, std::mem::take(&mut message.request_id));
        let request_id = fields.finish(request_id)?;
        let idempotency = wire::idempotency("RotateToken", request_id, &message);
        let token = self
            .commands
            .rotate_token(holder, idempotency)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        Ok(Response::new(v1::RotateTokenResponse {
            api_token: token.expose().to_owned(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let holder = holder_of(&request)?;
        well_formed(request.into_inner().request_id)?;
        self.commands
            .revoke_token(holder)
            .await
            .map_err(|error| of_command(error, FieldNames::PLAIN))?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}

/// Of commands that may be repeated without anybody remembering it: after the first, there is nothing left to do, or it is
/// done anew.
fn well_formed(request_id: String) -> Result<(), Status> {
    let mut fields = Fields::default();
    let request_id = wire::request_id(&mut fields, request_id);
    fields.finish(request_id).map(drop)
}

fn flat<A, B, C>(((a, b), c): ((A, B), C)) -> (A, B, C) {
    (a, b, c)
}

fn user_edit(fields: &mut Fields, message: &v1::UpdateUserRequest) -> Option<UserEdit> {
    let paths = wire::mask(
        fields,
        message.update_mask.as_ref(),
        &["email", "reminder_interval_seconds"],
    );
    let Some(user) = &message.user else {
        fields.refuse("user", "it is missing; give the new values");
        return None;
    };
    let mut edit = UserEdit {
        etag: fields.etag("user.etag", &user.etag).flatten(),
        ..UserEdit::default()
    };
    for path in paths {
        match path {
            "email" => edit.email = wire::email(fields, "user.email", &user.email),
            "reminder_interval_seconds" => {
                let path = "user.reminder_interval_seconds";
                edit.reminder_interval =
                    wire::reminder_interval(fields, path, user.reminder_interval_seconds);
            }
            _ => {}
        }
    }
    Some(edit)
}
