use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What operators do: with the server's operator token, not with a user's.
#[derive(Debug, Args)]
#[command(after_help = OPERATOR_TOKEN)]
pub(crate) struct AdminArgs {
    /// File with the server's operator token, or - for standard input [default: STOCKALERT_OPERATOR_TOKEN is the token]
    #[arg(long, global = true, value_name = "FILE")]
    pub operator_token_file: Option<PathBuf>,
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// An argument's value is for every user of the machine to see, and stays in the shell's history.
const OPERATOR_TOKEN: &str = "\
The operator token comes from a file or from the environment, never from the command line itself:
  stockalert admin users --operator-token-file ~/.config/stockalert/operator-token
  STOCKALERT_OPERATOR_TOKEN=\"$(pass show stockalert/operator)\" stockalert admin lag";

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
