/// A new value, or a word that takes the old one away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrCleared<T> {
    Value(T),
    Cleared,
}

impl<T> OrCleared<T> {
    pub(crate) fn into_option(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Cleared => None,
        }
    }
}

pub(super) fn or_cleared<T>(
    word: &'static str,
) -> impl Fn(&str) -> Result<OrCleared<T>, T::Err> + Clone + Send + Sync + 'static
where
    T: std::str::FromStr,
{
    move |text| {
        if text == word {
            Ok(OrCleared::Cleared)
        } else {
            text.parse().map(OrCleared::Value)
        }
    }
}
