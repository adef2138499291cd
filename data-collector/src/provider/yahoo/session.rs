//! The cookie and the crumb that Yahoo wants to see with a call for quotes.
//!
//! Any page gives the cookie, also one that answers 404. `GET {base}/v1/test/getcrumb` with the cookie gives the crumb, as
//! plain text. Both hold for months, until they don't.

use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::provider::ProviderError;
use crate::provider::error::bad;
use crate::provider::http::Http;

/// Longest crumb that is believed: true ones have 11 characters.
const MAX_CRUMB: usize = 64;

/// A cookie and its crumb.
#[derive(Debug)]
pub(super) struct Session {
    cookie: HeaderValue,
    pub(super) crumb: SecretString,
}

impl Session {
    pub(super) fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, self.cookie.clone())])
    }
}

/// The session that all calls share.
#[derive(Debug)]
pub(super) struct Sessions {
    cookies: Url,
    /// Held while a new one is got, so that many calls that need one get one.
    held: Mutex<Option<Arc<Session>>>,
}

impl Sessions {
    /// Gets its cookies at `cookies`.
    pub(super) fn new(cookies: Url) -> Self {
        Self {
            cookies,
            held: Mutex::default(),
        }
    }

    /// The session, or a new one where there is none or it is `refused`: if another call has replaced it meanwhile, that one
    /// is given.
    pub(super) async fn get(
        &self,
        http: &Http,
        refused: Option<&Arc<Session>>,
    ) -> Result<Arc<Session>, ProviderError> {
        let mut held = self.held.lock().await;
        if let Some(session) = &*held
            && !refused.is_some_and(|refused| Arc::ptr_eq(refused, session))
        {
            return Ok(Arc::clone(session));
        }
        *held = None;
        let session = Arc::new(self.sign_in(http).await?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn sign_in(&self, http: &Http) -> Result<Session, ProviderError> {
        let reply = http.get(self.cookies.clone(), HeaderMap::new()).await?;
        let Some(cookie) = cookie_of(reply.headers()) else {
            return Err(match reply.status().as_u16() {
                200..=499 if reply.status() != 429 => bad("no cookie came"),
                _ => reply.failure(),
            });
        };
        let with_cookie = HeaderMap::from_iter([(COOKIE, cookie.clone())]);
        let reply = http.get(http.url("/v1/test/getcrumb"), with_cookie).await?;
        let crumb = crumb_of(&reply.ok().await?)?;
        Ok(Session { cookie, crumb })
    }
}

/// The cookies that an answer sets, as a request sends them.
fn cookie_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let pairs = headers.get_all(SET_COOKIE).iter().filter_map(|set| {
        let pair = set.to_str().ok()?.split(';').next()?.trim();
        let (name, value) = pair.split_once('=')?;
        (!name.is_empty() && !value.is_empty()).then_some(pair)
    });
    let text = pairs.collect::<Vec<_>>().join("; ");
    let mut cookie = (!text.is_empty()).then(|| HeaderValue::from_str(&text).ok())??;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// A crumb, if the body is one: an error page or text is answered in the same place, sometimes with status 200.
fn crumb_of(body: &[u8]) -> Result<SecretString, ProviderError> {
    let text = str::from_utf8(body).unwrap_or_default();
    if text.contains("Too Many Requests") {
        return Err(ProviderError::RateLimited { retry_after: None });
    }
    let fits = (1..=MAX_CRUMB).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"<>{}\"".contains(c));
    if fits {
        Ok(text.into())
    } else {
        Err(bad("what came in place of a crumb is none"))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn an_error_text_is_never_taken_for_a_crumb() {
        for text in ["Phb0wzVdPs6", "zLoP.Fp75Uh", "a/b\\u002F"] {
            assert_eq!(crumb_of(text.as_bytes()).unwrap().expose_secret(), text);
        }
        assert_eq!(
            crumb_of(b"Too Many Requests\r\n").unwrap_err(),
            ProviderError::RateLimited { retry_after: None }
        );
        for text in [
            "",
            " ",
            "two words",
            "<html>",
            "<html><body/></html>",
            "{\"a\":1}",
            "line\n",
            "\u{fffd}",
        ] {
            assert!(
                matches!(crumb_of(text.as_bytes()), Err(ProviderError::BadResponse { .. })),
                "{text:?}"
            );
        }
        assert!(crumb_of("x".repeat(65).as_bytes()).is_err());
        assert!(crumb_of(&[0xff]).is_err());
    }

    #[test]
    fn the_cookies_go_back_without_their_attributes_and_are_not_shown() {
        let headers = |lines: &[&'static str]| -> HeaderMap {
            lines
                .iter()
                .map(|line| (SET_COOKIE, HeaderValue::from_static(line)))
                .collect()
        };
        let set = headers(&[
            "A3=d=AQAB&S=AQ==; Expires=Sat, 20 Nov 2027 00:00:00 GMT; Domain=.yahoo.com; Secure",
            "gone=; Max-Age=0",
            "nothing",
            "B=2",
        ]);
        let cookie = cookie_of(&set).unwrap();
        assert_eq!(cookie.to_str().unwrap(), "A3=d=AQAB&S=AQ==; B=2");
        let session = Session {
            cookie,
            crumb: "SECRET".into(),
        };
        let shown = format!("{session:?}");
        assert!(!shown.contains("AQAB") && !shown.contains("SECRET"), "{shown}");
        assert_eq!(cookie_of(&headers(&["gone=; Max-Age=0"])), None);
        assert_eq!(cookie_of(&headers(&[])), None);
    }
}
