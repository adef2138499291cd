use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::failure::{Caller, Exit, Failure};

const VARIABLE: &str = "STOCKALERT_OPERATOR_TOKEN";

/// More than any token has; what is longer is another file.
const MOST_BYTES: u64 = 4 * 1024;

/// From the file, else from the environment. Never an argument: those are for every user of the machine to see.
pub(super) fn token(file: Option<&Path>) -> Result<String, Failure> {
    let (text, origin) = match file {
        Some(file) => (read(file)?, file.display().to_string()),
        None => (std::env::var(VARIABLE).unwrap_or_default(), VARIABLE.to_owned()),
    };
    let token = text.trim();
    if token.is_empty() {
        let message = if file.is_some() {
            format!("there is no operator token in {origin}")
        } else {
            "there is no operator token".to_owned()
        };
        return Err(Failure::new(Exit::Denied, message).remedy(Caller::Operator.how_to_authenticate()));
    }
    Ok(token.to_owned())
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io::stdin().take(MOST_BYTES).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
    };
    let named = || format!("the operator token can't be read from {}", file.display());
    read.map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", named())))?;
    Ok(text)
}
