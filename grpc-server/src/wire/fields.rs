use std::fmt::Display;

use cqrs::domain::Etag;
use tonic::Status;
use tonic_types::FieldViolation;

use crate::status::invalid;

/// Collects what is wrong with a request, so that a caller learns all of it at once.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// The field at `path` can't be: `description` says value, reason and remedy.
    pub(crate) fn refuse(&mut self, path: impl Into<String>, description: impl Display) {
        self.violations
            .push(FieldViolation::new(path, description.to_string()));
    }

    /// The value, or a violation of the field at `path`.
    pub(crate) fn take<T, E: Display>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(path, error)).ok()
    }

    /// An etag; empty: none.
    pub(crate) fn etag(&mut self, path: &str, text: &str) -> Option<Option<Etag>> {
        match text {
            "" => Some(None),
            text => self.take(path, text.parse()).map(Some),
        }
    }

    /// What the request asks for, if no field was refused.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with all violations.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(self.into_status()),
        }
    }

    /// The violations as an error.
    pub(crate) fn into_status(self) -> Status {
        invalid(self.violations)
    }
}
