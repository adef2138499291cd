use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// Settings of the log.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What is logged: a level, or levels by module, such as "info,alert_system=debug".
    #[arg(long = "log", env = "RUST_LOG", default_value = "info", value_parser = parse_filter)]
    pub log: String,
    /// How log lines look.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

fn parse_filter(text: &str) -> Result<String, String> {
    // The crates' own filter syntax; libraries that log whole requests stay at warnings unless asked by name.
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| {
            format!("{error}; give a level (error, warn, info, debug, trace) or \"info,alert_system=debug\"")
        })
}

/// Starts logging to standard error, so that standard output stays free for what a program prints.
/// Does nothing if logging was started before.
pub fn init_telemetry(args: &LogArgs) {
    // teloxide logs updates that it can't read, with the chat and the text: nobody's to see.
    let filter = "teloxide=off"
        .parse()
        .into_iter()
        .fold(EnvFilter::new(&args.log), EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match args.log_format {
        LogFormat::Text => builder.with_target(true).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// The process's metrics in Prometheus' text format; starts collecting at the first call.
pub fn install_metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is in place; /metrics stays empty");
        }
        handle
    })
}
