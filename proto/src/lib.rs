#![doc = include_str!("../README.md")]

pub mod reference;

/// Package `stockalert.v1`: the API's services and messages, and the Kafka records.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    clippy::large_futures,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("stockalert.v1");
}

/// The compiled `FileDescriptorSet` of this package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
