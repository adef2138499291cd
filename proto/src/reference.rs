//! The API's reference, `docs/api.md`, from the descriptors and the comments of the .proto files.

use std::collections::HashMap;
use std::fmt::Write as _;

use prost::{DecodeError, Message as _};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

const PACKAGE: &str = "stockalert.v1";
/// Its messages are the values of Kafka topics, which the API's callers never see.
const RECORDS: &str = "stockalert/v1/records.proto";

const HEAD: &str = "\
# API reference

<!-- Generated from proto/stockalert/v1/*.proto by `make docs`; a test fails where it is not up to date. -->

gRPC, package `stockalert.v1`. Reflection is on, so `grpcurl` and the like can list and call all of this. What holds for
every call (tokens, errors, limits) is in [grpc-server's README](../grpc-server/README.md).
";

/// The whole document.
///
/// # Errors
/// If the embedded descriptor set is broken.
pub fn markdown() -> Result<String, DecodeError> {
    let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET)?;
    let files: Vec<ApiFile<'_>> = api_files(&set).collect();
    let mut out = HEAD.to_owned();
    let _ = writeln!(
        out,
        "\n## Calls\n\n| service | call | answers with |\n|---|---|---|"
    );
    for file in &files {
        for service in &file.descriptor.service {
            for method in &service.method {
                let _ = writeln!(
                    out,
                    "| [{service}](#{anchor}) | [{name}](#{method_anchor}) | {answer} |",
                    service = service.name(),
                    anchor = anchor(service.name()),
                    name = method.name(),
                    method_anchor = anchor(method.name()),
                    answer = answer(method),
                );
            }
        }
    }
    for file in &files {
        for (index, service) in file.descriptor.service.iter().enumerate() {
            file.service(&mut out, service, &[6, position(index)]);
        }
    }
    let _ = writeln!(out, "\n## Messages");
    for file in &files {
        for (index, message) in file.descriptor.message_type.iter().enumerate() {
            file.message(&mut out, message, "", &[4, position(index)]);
        }
        for (index, item) in file.descriptor.enum_type.iter().enumerate() {
            file.enumeration(&mut out, item, "", &[5, position(index)]);
        }
    }
    Ok(out)
}

fn api_files(set: &FileDescriptorSet) -> impl Iterator<Item = ApiFile<'_>> {
    set.file
        .iter()
        .filter(|file| file.package() == PACKAGE && file.name() != RECORDS)
        .map(ApiFile::new)
}

/// One .proto file with its comments, by the path of what they are on: field numbers and indexes in the descriptor.
struct ApiFile<'a> {
    descriptor: &'a FileDescriptorProto,
    comments: HashMap<&'a [i32], &'a str>,
}

impl<'a> ApiFile<'a> {
    fn new(descriptor: &'a FileDescriptorProto) -> Self {
        let locations = descriptor.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| (&location.path[..], location.leading_comments()))
            .collect();
        Self { descriptor, comments }
    }

    /// Lines as they are, without the space after `//`.
    fn comment(&self, path: &[i32]) -> String {
        let Some(comment) = self.comments.get(path) else {
            return String::new();
        };
        let lines = comment
            .lines()
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
        escaped(lines.collect::<Vec<_>>().join("\n").trim())
    }

    /// For a cell of a table: one line.
    fn short_comment(&self, path: &[i32]) -> String {
        let text = self.comment(path);
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|")
    }

    fn service(&self, out: &mut String, service: &ServiceDescriptorProto, path: &[i32]) {
        let _ = writeln!(out, "\n## {}\n\n{}", service.name(), self.comment(path));
        for (index, method) in service.method.iter().enumerate() {
            let comment = self.comment(&under(path, 2, index));
            let _ = writeln!(
                out,
                "\n### {}\n\n{comment}\n\n{} &rarr; {}",
                method.name(),
                type_name(method.input_type()),
                answer(method)
            );
        }
    }

    fn message(&self, out: &mut String, message: &DescriptorProto, outer: &str, path: &[i32]) {
        if message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
        {
            return;
        }
        let name = format!("{outer}{}", message.name());
        let _ = writeln!(out, "\n### {name}\n\n{}", self.comment(path));
        if !message.field.is_empty() {
            let _ = writeln!(out, "\n| field | type | |\n|---|---|---|");
        }
        for (index, field) in message.field.iter().enumerate() {
            let comment = self.short_comment(&under(path, 2, index));
            let choice = match field.oneof_index {
                Some(oneof) if !field.proto3_optional() => {
                    let oneof = usize::try_from(oneof)
                        .ok()
                        .and_then(|index| message.oneof_decl.get(index));
                    format!("One of `{}`. ", oneof.map_or("", |oneof| oneof.name()))
                }
                _ => String::new(),
            };
            let kind = field_type(message, field);
            let _ = writeln!(out, "| `{}` | {kind} | {choice}{comment} |", field.name());
        }
        let outer = format!("{name}.");
        for (index, nested) in message.nested_type.iter().enumerate() {
            self.message(out, nested, &outer, &under(path, 3, index));
        }
        for (index, item) in message.enum_type.iter().enumerate() {
            self.enumeration(out, item, &outer, &under(path, 4, index));
        }
    }

    fn enumeration(&self, out: &mut String, item: &EnumDescriptorProto, outer: &str, path: &[i32]) {
        let name = format!("{outer}{}", item.name());
        let _ = writeln!(out, "\n### {name}\n\n{}", self.comment(path));
        let _ = writeln!(out, "\n| value | number | |\n|---|---|---|");
        for (index, value) in item.value.iter().enumerate() {
            let comment = self.short_comment(&under(path, 2, index));
            let _ = writeln!(out, "| `{}` | {} | {comment} |", value.name(), value.number());
        }
    }
}

fn under(path: &[i32], field: i32, index: usize) -> Vec<i32> {
    [path, &[field, position(index)]].concat()
}

fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn answer(method: &MethodDescriptorProto) -> String {
    let stream = if method.server_streaming() {
        "a stream of "
    } else {
        ""
    };
    format!("{stream}{}", type_name(method.output_type()))
}

/// A link, where the type is one of this document's.
fn type_name(full: &str) -> String {
    let full = full.trim_start_matches('.');
    match full.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')) {
        Some(name) => format!("[{name}](#{})", anchor(name)),
        None => format!("`{full}`"),
    }
}

fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && field
                .type_name()
                .ends_with(&format!(".{}.{}", message.name(), nested.name()))
    });
    if let Some([key, value]) = entry.map(|entry| &entry.field[..]) {
        return format!("map from {} to {}", single_type(key), single_type(value));
    }
    let one = single_type(field);
    if field.label() == Label::Repeated {
        format!("repeated {one}")
    } else if field.proto3_optional() {
        format!("optional {one}")
    } else {
        one
    }
}

fn single_type(field: &FieldDescriptorProto) -> String {
    let kind = field.r#type();
    if matches!(kind, Type::Message | Type::Enum) {
        return type_name(field.type_name());
    }
    let name = kind.as_str_name().trim_start_matches("TYPE_");
    format!("`{}`", name.to_ascii_lowercase())
}

/// GitHub's name of a heading.
fn anchor(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase()
}

/// A comment's text is not markup, but for its backquotes.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;")
}
