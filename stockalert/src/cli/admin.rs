use clap::{Args, Subcommand};

/// What operators do: with the server's operator token, not with a user's.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The server's operator token
    #[arg(
        long,
        global = true,
        env = "STOCKALERT_OPERATOR_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub operator_token: Option<String>,
    #[command(subcommand)]
    pub command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// List all users, oldest first, without their e-mail addresses
    Users,
    /// Show what waits: records that consumers have not read, rule changes, messages
    Lag,
    /// Publish the newest version of every rule again, which rebuilds the rules topic
    RepublishRules,
    /// Revoke a user's API token at once; alerts and the bot go on
    RevokeToken {
        /// Id of the user, from `admin users`
        user_id: String,
        /// Say that you mean it
        #[arg(long, required = true)]
        yes: bool,
    },
}
