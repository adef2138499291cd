use std::fmt;
use std::str::FromStr;

/// An e-mail address, ASCII and lower case, at most 254 characters. Its `Debug` hides it, so that no log shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// The text is not an e-mail address. Says nothing of the text itself: errors are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an e-mail address: {reason}; give one such as ada@example.org")]
pub struct ParseEmailError {
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Email {
    /// Most characters an address can have (RFC 5321).
    pub const MAX_LEN: usize = 254;

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(hidden)")
    }
}

impl FromStr for Email {
    type Err = ParseEmailError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(ParseEmailError { reason });
        if text.is_empty() {
            return fail("it is empty");
        }
        if text.len() > Self::MAX_LEN {
            return fail("it is longer than 254 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("it has spaces or characters outside ASCII");
        }
        let Some((local, domain)) = text.rsplit_once('@') else {
            return fail("it has no @");
        };
        let local_ok = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte));
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !local_ok {
            return fail("the part before the @ does not have the form of one");
        }
        if !domain.contains('.') || !domain.split('.').all(label_ok) {
            return fail("the part after the @ is not a domain name");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_lower_cased() {
        assert_eq!(
            "Ada.L+alerts@Example.ORG".parse::<Email>().unwrap().as_str(),
            "ada.l+alerts@example.org"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@localhost",
            "a b@example.org",
            "ada@exa mple.org",
            "a@b@c.org",
            "ada@-x.org",
            "ada@x..org",
            ".ada@x.org",
            "ädä@example.org",
            "ada@example.org\n",
            &long,
        ] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_address() {
        assert!(!format!("{:?}", "ada@example.org".parse::<Email>()).contains("ada"));
    }
}
