//! A private Kafka and MariaDB for one test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// A real Kafka of this test's own, stopped when dropped. Needs `TEST_SERVERS`, as `Servers` does.
#[derive(Debug)]
pub struct KafkaServer {
    script: PathBuf,
    folder: TempDir,
    /// Where it is.
    pub bootstrap_servers: String,
}

impl KafkaServer {
    /// Starts it; takes some seconds.
    ///
    /// # Errors
    /// If `TEST_SERVERS` is not set or the script fails.
    pub fn start() -> anyhow::Result<Self> {
        let (script, folder) = (script()?, folder()?);
        run(&script, "start-kafka", folder.path())?;
        let port = std::fs::read_to_string(folder.path().join("kafka.port"))?;
        Ok(Self {
            bootstrap_servers: format!("127.0.0.1:{}", port.trim()),
            script,
            folder,
        })
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        // Its data goes with it: no need to let it end in order, which takes seconds.
        if let Err(error) = run(&self.script, "kill-kafka", self.folder.path()) {
            tracing::warn!(%error, "Kafka could not be stopped");
        }
    }
}

fn script() -> anyhow::Result<PathBuf> {
    let path = std::env::var("TEST_SERVERS").context("TEST_SERVERS is not set; run make test")?;
    Ok(PathBuf::from(path))
}

fn folder() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("stockalert-e2e-").tempdir()?)
}

fn run(script: &Path, command: &str, folder: &Path) -> anyhow::Result<()> {
    let output = Command::new(script).arg(command).arg(folder).output()?;
    if !output.status.success() {
        bail!("{command} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Real servers of this test's own, stopped when dropped. Needs `TEST_SERVERS`, the path of the script that starts them,
/// which `make test` sets.
#[derive(Debug)]
pub struct Servers {
    script: PathBuf,
    folder: TempDir,
    /// Where Kafka is.
    pub bootstrap_servers: String,
    /// Where the database is.
    pub database_url: String,
}

impl Servers {
    /// Starts them; takes some seconds.
    ///
    /// # Errors
    /// If `TEST_SERVERS` is not set or the script fails.
    pub fn start() -> anyhow::Result<Self> {
        let (script, folder) = (script()?, folder()?);
        run(&script, "start", folder.path())?;
        let settings = std::fs::read_to_string(folder.path().join("env"))?;
        let settings: HashMap<&str, String> = settings
            .lines()
            .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
            .map(|(name, value)| (name, value.trim_matches(['\'', '"']).to_owned()))
            .collect();
        let setting = |name: &str| {
            settings
                .get(name)
                .cloned()
                .with_context(|| format!("{name} is not in the env file"))
        };
        Ok(Self {
            bootstrap_servers: setting("KAFKA_BOOTSTRAP_SERVERS")?,
            database_url: setting("DATABASE_URL")?,
            script,
            folder,
        })
    }

    /// What the database answers, tab-separated lines without a heading.
    ///
    /// # Errors
    /// If it does not.
    pub fn sql(&self, query: &str) -> anyhow::Result<String> {
        let output = Command::new(&self.script)
            .arg("sql")
            .arg(self.folder.path())
            .args(["--batch", "--skip-column-names", "--execute", query, "stockalert"])
            .output()?;
        if !output.status.success() {
            bail!("{query} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs another of the script's commands, such as `kill-kafka`.
    ///
    /// # Errors
    /// If it fails.
    pub fn command(&self, command: &str) -> anyhow::Result<()> {
        run(&self.script, command, self.folder.path())
    }
}

impl Servers {
    /// `kill -STOP` of `kafka` or `mariadb`: it is there, keeps its connections, and does nothing, until it is killed.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self, server: &str) -> anyhow::Result<()> {
        let id = std::fs::read_to_string(self.folder.path().join(format!("{server}.pid")))?;
        if !Command::new("kill")
            .args(["-STOP", id.trim()])
            .status()?
            .success()
        {
            bail!("kill -STOP of {server} failed");
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Err(error) = self.command("stop") {
            tracing::warn!(%error, "the servers could not be stopped");
        }
    }
}
