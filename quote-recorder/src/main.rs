//! The `quote-recorder` process.

fn main() -> std::process::ExitCode {
    service::main("quote-recorder", quote_recorder::run)
}
