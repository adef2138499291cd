//! The `alert-system` process.

fn main() -> std::process::ExitCode {
    service::main("alert-system", alert_system::run)
}
