use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use service::config::KafkaArgs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::PATIENCE;

/// An alert system in a process of its own, killed when dropped.
pub(crate) struct Process {
    child: Child,
    admin: SocketAddr,
}

impl Process {
    pub(crate) fn start(kafka: &KafkaArgs) -> Self {
        let admin = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_alert-system"))
            .arg(format!("--kafka-bootstrap-servers={}", kafka.bootstrap_servers))
            .arg(format!("--kafka-partitions={}", kafka.partitions))
            .arg(format!("--kafka-properties={}", kafka.properties))
            .arg(format!("--admin-listen={admin}"))
            .env_remove("RUST_LOG")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { child, admin }
    }

    /// The value of a metric; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await.unwrap_or_default();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    async fn metrics(&self) -> std::io::Result<String> {
        let mut connection = tokio::net::TcpStream::connect(self.admin).await?;
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Ends it cleanly.
    pub(crate) async fn stop(mut self) {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.unwrap();
        assert!(status.success(), "{status}");
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
