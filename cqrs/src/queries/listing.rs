//! Lists in pages, and the tokens that say where the next page begins.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;

use crate::StoreError;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Opaque; give it to get the next page. None on the last.
    pub next: Option<String>,
}

/// A list as somebody asked for it. A page token is good for the list that made it: the next page of another one would
/// leave things out.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    /// Short for which list, and of what.
    of: String,
    token: Option<&'a str>,
    limit: u32,
}

/// What a page token says, as JSON in Base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token<K> {
    of: String,
    after: K,
}

impl<'a> Listing<'a> {
    /// `name` and `filter` tell it from other lists, `token` is of the page before.
    pub(crate) fn new(name: &str, filter: &impl Debug, token: Option<&'a str>, limit: u32) -> Self {
        let digest = Sha256::digest(format!("{name} {filter:?}"));
        Self {
            of: hex::encode(digest.iter().take(4).copied().collect::<Vec<_>>()),
            token,
            limit,
        }
    }

    /// Key of the last item of the page before.
    ///
    /// # Errors
    /// [`StoreError::PageToken`]: the token is not this list's.
    pub(crate) fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, StoreError> {
        let Some(token) = self.token else { return Ok(None) };
        let read = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|json| serde_json::from_slice::<Token<K>>(&json).ok())
            .filter(|read| read.of == self.of);
        let read = read.ok_or_else(|| StoreError::PageToken {
            value: token.chars().take(64).collect(),
        })?;
        Ok(Some(read.after))
    }

    /// How many rows to ask for: the last one says that there is another page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page, of the rows found.
    ///
    /// # Errors
    /// If a row can't be read.
    pub(crate) fn page<T, K: Serialize>(
        &self,
        found: &[AnyRow],
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
        key: impl Fn(&T) -> K,
    ) -> Result<Page<T>, StoreError> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let items = found
            .iter()
            .take(limit)
            .map(read)
            .collect::<Result<Vec<_>, _>>()?;
        let next = match items.last() {
            Some(last) if found.len() > limit => Some(self.token_after(key(last))?),
            _ => None,
        };
        Ok(Page { items, next })
    }

    fn token_after<K: Serialize>(&self, after: K) -> Result<String, StoreError> {
        let of = self.of.clone();
        let json = serde_json::to_vec(&Token { of, after });
        let json = json.map_err(|error| StoreError::Setting(error.to_string()))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }
}
