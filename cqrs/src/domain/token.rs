use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

/// A secret that its holder shows: an API token or a link token. Its `Debug` hides it; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new API token: 256 random bits.
    #[must_use]
    pub fn generate_api() -> Self {
        Self::generate::<32>()
    }

    /// A new link token: 128 random bits, 22 characters that a Telegram deep link takes.
    #[must_use]
    pub fn generate_link() -> Self {
        Self::generate::<16>()
    }

    /// What somebody claims to be a token; at most 128 characters are looked at.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(text.chars().take(128).collect())
    }

    /// Whether it could be one of [`Self::generate_api`]: what is not need not be looked for.
    #[must_use]
    pub fn is_shaped_like_api(&self) -> bool {
        let is_of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        self.0.len() == 43 && self.0.bytes().all(is_of_base64)
    }

    /// To be shown to its holder, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in its place.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex::encode(Sha256::digest(self.0.as_bytes())))
    }

    fn generate<const BYTES: usize>() -> Self {
        let mut bytes = [0; BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// SHA-256 of a token, 64 hexadecimal digits. Tokens are random and long, so a plain hash can't be searched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl TokenHash {
    /// As stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_api_is_known_by_its_shape() {
        for _ in 0..100 {
            assert!(Token::generate_api().is_shaped_like_api());
            assert!(!Token::generate_link().is_shaped_like_api());
        }
        let token = Token::generate_api();
        let token = token.expose();
        for wrong in [
            "",
            &token[1..],
            &format!("{token}x"),
            &format!("{}+", &token[1..]),
        ] {
            assert!(!Token::presented(wrong).is_shaped_like_api(), "{wrong}");
        }
    }
}
