//! Clients that call again as soon as they are answered.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tonic::transport::{Channel, Endpoint};

use crate::calls::Call;
use crate::scene::Caller;

/// How many there are, each with a connection of its own.
pub(crate) const CLIENTS: usize = 64;

/// How long they call, and how much of it before that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What one phase measured.
pub(crate) struct Load {
    /// Answers in a second, of all clients.
    pub(crate) rate: f64,
    times: Vec<Duration>,
}

impl Load {
    /// The time that so many thousandths of the calls did not take longer than.
    pub(crate) fn at(&self, permille: usize) -> Duration {
        e2e::report::at(&self.times, permille)
    }
}

/// Connections, each with the callers that it calls for in turn.
pub(crate) struct Clients(Vec<(Channel, Vec<Caller>)>);

impl Clients {
    pub(crate) async fn connect(address: &str, callers: &[Caller]) -> anyhow::Result<Self> {
        let mut clients = Vec::with_capacity(CLIENTS);
        for theirs in callers.chunks(callers.len().div_ceil(CLIENTS)) {
            let channel = Endpoint::from_shared(address.to_owned())?
                .tcp_nodelay(true)
                .connect()
                .await?;
            clients.push((channel, theirs.to_vec()));
        }
        Ok(Self(clients))
    }

    /// # Errors
    /// If any call fails.
    pub(crate) async fn run(&self, call: impl Call, phase: Phase) -> anyhow::Result<Load> {
        let begin = Instant::now() + phase.warm_up;
        let end = begin + phase.measured;
        let tasks: Vec<_> = self
            .0
            .iter()
            .map(|(channel, callers)| {
                let (channel, callers) = (channel.clone(), callers.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for (n, caller) in callers.iter().cycle().enumerate() {
                        let asked = Instant::now();
                        if asked >= end {
                            break;
                        }
                        call.call(channel.clone(), caller, n).await?;
                        let answered = Instant::now();
                        if answered >= begin && answered < end {
                            times.push(answered - asked);
                        }
                    }
                    Ok::<_, tonic::Status>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await?.context("a call failed")?);
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = times.len() as f64 / phase.measured.as_secs_f64();
        Ok(Load { rate, times })
    }
}
