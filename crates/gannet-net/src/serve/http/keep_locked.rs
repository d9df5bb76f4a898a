//! `keeplocked`: a request that lasts as long as a lock is needed (p2p-http §4.2).

use gannet_core::Result;
use gannet_wire::http::{Reply, UnlockScanner, Version};
use hyper::StatusCode;

use super::answer::{Draft, Visit};
use super::fault::Fault;
use super::incoming::{Broken, RequestBody};
use super::requested;

impl Visit {
    /// Keeps a lock until the body says to unlock it.
    ///
    /// There is always a reply: real clients hang without one. Whatever else ends the request,
    /// the lock stays for what is left of its time.
    pub(super) async fn keep_locked(&self, id: &[u8], body: &RequestBody) -> Result<Draft, Fault> {
        // All versions write this reply alike.
        let over = || Draft::result(&Reply::NotLocked, Version::V4);
        let Some(mut keeper) = self.shared.locks.keep(id) else { return Ok(over()) };
        let mut stop = self.stop.clone();
        let mut scanner = UnlockScanner::default();
        loop {
            let bytes = tokio::select! {
                biased;
                bytes = body.next() => bytes,
                () = keeper.gone() => return Ok(over()),
                () = requested(&mut stop) => return Ok(over()),
            };
            let unlock = match bytes {
                Some(Ok(bytes)) => scanner.feed(&bytes),
                None => return scanner.finish().map(|()| over()).map_err(garbage),
                Some(Err(Broken)) => return Ok(over()),
            };
            if unlock.map_err(garbage)? {
                keeper.unlock().await;
                return Ok(over());
            }
        }
    }
}

fn garbage(garbage: gannet_wire::http::Garbage) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, garbage)
}
