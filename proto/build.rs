//! Compiles the .proto files without a system `protoc`.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use prost::Message as _;

const FILES: [&str; 7] = [
    "stockalert/v1/admin_service.proto",
    "stockalert/v1/alert_service.proto",
    "stockalert/v1/quote_service.proto",
    "stockalert/v1/records.proto",
    "stockalert/v1/rule_service.proto",
    "stockalert/v1/system_service.proto",
    "stockalert/v1/user_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=stockalert");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // A service without a method answers UNIMPLEMENTED there, as one from before the method does.
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
