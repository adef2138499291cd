//! The notifier as a process of its own.

fn main() -> std::process::ExitCode {
    service::main("alert-notifier", alert_notifier::run)
}
