//! Servers that the real one is compared with, each in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Router;

/// The process; killed when dropped.
pub(crate) struct Bare {
    pub(crate) address: String,
    child: Child,
}

impl Bare {
    /// This program, with one argument, and perhaps a database.
    pub(crate) fn start(baseline: &str, database_url: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(baseline)
            .env("DATABASE_URL", database_url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self {
            address: address.trim().to_owned(),
            child,
        })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves, having printed where.
pub(crate) async fn serve(server: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    server
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
