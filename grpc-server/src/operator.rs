//! The operator's token: a setting of the server, kept as its hash.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Fewest characters: 128 bits in hexadecimal digits.
const SHORTEST: usize = 32;
/// Most characters, as of any token that a caller shows.
const LONGEST: usize = 128;

/// Who holds it may make the operator's calls. Its `Debug` hides it; of the token only the hash is kept.
#[derive(Clone)]
pub struct OperatorToken([u8; 32]);

impl OperatorToken {
    /// Whether it is this one. Takes the same time whatever is presented.
    pub(crate) fn is(&self, presented: &str) -> bool {
        self.0.ct_eq(&hash(presented)).into()
    }
}

impl std::str::FromStr for OperatorToken {
    type Err = String;

    /// The message doesn't repeat the token.
    fn from_str(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if !(SHORTEST..=LONGEST).contains(&length) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "it has {length} characters; give {SHORTEST} to {LONGEST} visible ASCII characters without spaces, \
                 e.g. from: openssl rand -hex 32"
            ));
        }
        Ok(Self(hash(text)))
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(hidden)")
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_the_hash_counts() {
        let secret = "0123456789abcdef0123456789abcdef";
        let token: OperatorToken = secret.parse().unwrap();
        for at in 0..token.0.len() {
            for bit in 0..8 {
                let mut almost = token.clone();
                almost.0[at] ^= 1 << bit;
                assert!(!almost.is(secret), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn only_the_token_itself_is_the_token_and_it_is_never_shown() {
        let secret = "0123456789abcdef0123456789abcdef";
        let token: OperatorToken = secret.parse().unwrap();
        assert!(token.is(secret));
        for other in [
            "",
            "0123456789abcdef0123456789abcdeF",
            &secret[1..],
            &format!("{secret}0"),
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "OperatorToken(hidden)");
        for bad in [
            "",
            "short",
            &"x".repeat(31),
            &"x".repeat(129),
            &format!("{secret} "),
            &"é".repeat(40),
        ] {
            let error = bad.parse::<OperatorToken>().unwrap_err();
            assert!(error.contains("openssl rand -hex 32"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
