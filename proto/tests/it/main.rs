//! The API's reference says what the .proto files say.

use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");

#[test]
fn the_reference_in_docs_is_what_the_proto_files_say() {
    let generated = proto::reference::markdown().unwrap();
    let written = std::fs::read_to_string(WRITTEN).unwrap();
    let first = generated
        .lines()
        .zip(written.lines())
        .find(|(new, old)| new != old);
    assert!(
        generated == written,
        "docs/api.md is not up to date: run `make docs`; first difference (new, old): {first:?}"
    );
}

#[test]
fn the_reference_links_only_to_headings_that_it_has() {
    let text = proto::reference::markdown().unwrap();
    let anchor = |name: &str| -> String {
        name.chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_ascii_lowercase()
    };
    let headings: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .map(anchor)
        .collect();
    let links: Vec<&str> = text
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        .collect();
    assert!(links.len() > 100, "{} links", links.len());
    for link in links {
        let times = headings.iter().filter(|heading| *heading == link).count();
        assert_eq!(times, 1, "#{link}");
    }
}

#[test]
fn every_call_of_the_services_is_in_the_reference_and_no_record_of_kafka() {
    let text = proto::reference::markdown().unwrap();
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let calls = set
        .file
        .iter()
        .flat_map(|file| &file.service)
        .flat_map(|service| &service.method)
        .map(MethodDescriptorProto::name);
    let mut count = 0;
    for call in calls {
        assert!(text.contains(&format!("\n### {call}\n")), "{call}");
        count += 1;
    }
    assert!(count >= 30, "{count}");
    assert!(!text.contains("RuleRecord"), "Kafka's records are not the API");
}
