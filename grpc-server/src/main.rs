//! The gRPC server's process.

fn main() -> std::process::ExitCode {
    service::main("grpc-server", grpc_server::run)
}
