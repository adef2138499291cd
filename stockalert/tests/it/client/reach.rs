//! Every call of the API can be made from the command line.

use std::fs;
use std::path::Path;

use prost::Message as _;

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// `GetLatestQuote` as the generated client calls it.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_call_of_the_api_is_made_by_a_command() {
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let code = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client"));
    let services = set.file.iter().flat_map(|file| &file.service);
    let calls: Vec<&str> = services
        .flat_map(|service| &service.method)
        .map(|method| method.name())
        .collect();
    assert!(calls.len() > 25, "{calls:?}");
    let missing: Vec<_> = calls
        .into_iter()
        .filter(|call| !code.contains(&format!(".{}(", snake_case(call))))
        .collect();
    assert!(missing.is_empty(), "no command calls {missing:?}");
}
