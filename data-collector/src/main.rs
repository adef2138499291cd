//! The process: see the library.

fn main() -> std::process::ExitCode {
    service::main("data-collector", data_collector::run)
}
