//! What a call says: JSON, a form with files, or a query, as the Bot API takes them.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Multipart, Query, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

/// The arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    values: Value,
    files: HashMap<String, (String, Bytes)>,
}

impl Arguments {
    pub(super) async fn of(request: Request) -> Result<Self, String> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_form = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
        if is_form {
            return Self::of_form(request).await.map_err(|error| error.to_string());
        }
        let query: HashMap<String, String> = Query::try_from_uri(request.uri())
            .map(|Query(query)| query)
            .map_err(|error| error.to_string())?;
        let body = Bytes::from_request(request, &())
            .await
            .map_err(|error| error.to_string())?;
        let mut values: Map<String, Value> = if body.is_empty() {
            Map::new()
        } else {
            serde_json::from_slice(&body)
                .map_err(|_| "this stub reads JSON objects and forms with files".to_owned())?
        };
        values.extend(query.into_iter().map(|(name, value)| read(name, value)));
        Ok(Self {
            values: Value::Object(values),
            files: HashMap::new(),
        })
    }

    async fn of_form(request: Request) -> Result<Self, axum::extract::multipart::MultipartError> {
        let mut arguments = Self {
            values: Value::Object(Map::new()),
            files: HashMap::new(),
        };
        let Ok(mut form) = Multipart::from_request(request, &()).await else {
            return Ok(arguments);
        };
        while let Some(field) = form.next_field().await? {
            let name = field.name().unwrap_or_default().to_owned();
            if let Some(file_name) = field.file_name().map(str::to_owned) {
                let bytes = field.bytes().await?;
                arguments.files.insert(name, (file_name, bytes));
            } else {
                let (name, value) = read(name, field.text().await?);
                arguments.values[name] = value;
            }
        }
        Ok(arguments)
    }

    pub(super) fn chat(&self) -> Option<i64> {
        self.values["chat_id"].as_i64()
    }

    pub(super) fn get(&self, name: &str) -> &Value {
        &self.values[name]
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values[name].as_str()
    }

    /// The file of this name, or the one that it says is attached.
    pub(super) fn file(&self, name: &str) -> Option<(String, Bytes)> {
        let attached = self.text(name).and_then(|value| value.strip_prefix("attach://"));
        self.files.get(attached.unwrap_or(name)).cloned()
    }
}

/// A field of a form: text, or JSON where it can only be that.
fn read(name: String, value: String) -> (String, Value) {
    let is_text = matches!(
        name.as_str(),
        "text" | "caption" | "url" | "secret_token" | "callback_query_id"
    );
    let value = if is_text {
        Value::String(value)
    } else {
        serde_json::from_str(&value).unwrap_or(Value::String(value))
    };
    (name, value)
}
