#![doc = include_str!("../README.md")]

mod cli;
mod client;
mod connection;
mod dead_letters;
mod failure;
mod feed;
mod profile;
mod screen;
mod table;
mod up;
mod view;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command};
use crate::failure::Exit;
pub use crate::failure::{Failure, Violation};

/// Runs the program with this process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell where this fails.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(Exit::Misuse as u8)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let json = cli.global.json;
    let result = match cli.command {
        Command::Up(args) => up::run(*args),
        Command::DeadLetters(command) => {
            block_on(dead_letters::run(command, json)).map(|()| ExitCode::SUCCESS)
        }
        Command::Feed(command) => block_on(feed::run(command, json)).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => completions(shell).map(|()| ExitCode::SUCCESS),
        Command::Admin(args) => block_on(client::admin(args, cli.global)).map(|()| ExitCode::SUCCESS),
        Command::Client(command) => block_on(client::run(command, cli.global)).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(failure) if failure.silent => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = std::io::stderr().write_all(failure.render(json).as_bytes());
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stockalert", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Internal, format!("the runtime did not start: {error}")))?;
    runtime.block_on(future)
}
