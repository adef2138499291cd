//! When the stub can be reached.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};

use super::state::State;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;

/// Serves until shutdown, but not while it is to be reached no more.
pub(super) async fn serve(
    mut listener: TcpListener,
    address: SocketAddr,
    router: Router,
    state: Arc<State>,
) -> std::io::Result<()> {
    loop {
        let ended = Arc::clone(&state);
        let ended = async move {
            tokio::select! {
                () = ended.left() => {}
                () = ended.shutdown.cancelled() => {}
            }
        };
        axum::serve(listener, router.clone())
            .with_graceful_shutdown(ended)
            .await?;
        if state.shutdown.is_cancelled() {
            return Ok(());
        }
        // Nobody else gets the port, and whoever connects to it is refused.
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        state.listening.send_replace(false);
        let mut reachable = state.reachable.subscribe();
        tokio::select! {
            _ = reachable.wait_for(|reachable| *reachable) => {}
            () = state.shutdown.cancelled() => return Ok(()),
        }
        listener = socket.listen(BACKLOG)?;
        state.listening.send_replace(true);
    }
}

/// Returns when that is so.
pub(super) async fn be_reachable(state: &State, reachable: bool) {
    state.reachable.send_replace(reachable);
    // Its sender lives as long as this.
    let _ = state
        .listening
        .subscribe()
        .wait_for(|listening| *listening == reachable)
        .await;
}
