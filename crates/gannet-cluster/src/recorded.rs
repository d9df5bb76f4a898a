//! Notes of what nodes took and dropped.

use std::sync::Arc;

use gannet_core::{Error, Key, Ledger, Result, Uuid};

/// Writes into the ledger of a gateway.
#[derive(Clone)]
pub(crate) struct Recorder {
    ledger: Arc<dyn Ledger>,
    gateway: Uuid,
}

impl Recorder {
    /// Writes into `ledger`, which is that of `gateway`.
    pub(crate) fn new(ledger: Arc<dyn Ledger>, gateway: Uuid) -> Self {
        Self { ledger, gateway }
    }

    /// Records that each of these has the content of `key`, or has it no longer.
    ///
    /// Once begun it is finished, whether or not anybody waits: what has happened to a node has
    /// happened. Nobody but the gateway itself knows what the gateway has, so that is left out,
    /// whoever claimed it.
    ///
    /// # Errors
    /// The first, after all have been tried.
    pub(crate) async fn record(&self, key: &Key, who: &[Uuid], present: bool) -> Result<()> {
        let who: Vec<_> = who.iter().filter(|&uuid| *uuid != self.gateway).cloned().collect();
        if who.is_empty() {
            return Ok(());
        }
        let (ledger, key) = (Arc::clone(&self.ledger), key.clone());
        let recording = tokio::spawn(async move {
            let mut outcome = Ok(());
            for uuid in &who {
                let recorded = ledger.record(&key, uuid, present).await;
                outcome = outcome.and(recorded);
            }
            outcome
        });
        recording.await.map_err(|error| Error::Internal(error.to_string()))?
    }
}
