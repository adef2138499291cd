//! What a terminal and its shell ask of a running program.

use std::io;

use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for Ctrl-C and for a request to end; of a picture, also for the end of its terminal. A program without one may
/// go on after its terminal (`nohup`).
pub(super) async fn end(live: bool) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let hangup = async {
        if live {
            signal(SignalKind::hangup())?.recv().await;
            Ok(())
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        hung_up = hangup => hung_up,
    }
}

/// Ctrl-Z.
#[derive(Debug)]
pub(super) struct Suspension(Signal);

impl Suspension {
    /// From now on Ctrl-Z does not stop the program; `asked` says that it was pressed.
    pub(super) fn caught() -> io::Result<Self> {
        signal(SignalKind::from_raw(Number::TSTP.as_raw())).map(Self)
    }

    pub(super) async fn asked(&mut self) {
        self.0.recv().await;
    }
}

/// Stops as Ctrl-Z would have done. Comes back when the shell continues the program.
pub(super) fn stop() {
    // It can only fail for another process.
    let _ = kill_process(getpid(), Number::STOP);
}
