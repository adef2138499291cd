use service::config::KafkaArgs;

/// Settings of the alert system.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The broker.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// How far back inside its range, in thousandths of the threshold, a price must be before its episode ends: 0 to 100.
    #[arg(long, env = "REARM_MARGIN_PERMILLE", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub rearm_margin_permille: u16,
}
