//! Reads objects that may have been modified, once for all who ask, and out of the way of others.

use gannet_core::{Error, Key, Result};
use tokio::time::timeout;

use super::Repo;
use crate::blocking::WAIT_MAX;

impl Repo {
    /// Sees to it that what the object of `key` is worth is known, if finding out means to read a lot.
    /// To be called before a request takes a thread, the turn or a lock.
    ///
    /// If the future is dropped, a reading that has begun goes on, and is of use to the next one.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if somebody else has been reading it for too long, and what the disk
    /// reports.
    pub(crate) async fn prove(&self, key: &Key) -> Result<()> {
        let known = self.inner.current.known();
        if known.settings().bare || !self.takes_long(key).await? {
            return Ok(());
        }
        let turn = timeout(WAIT_MAX, self.inner.proofs.wait(key)).await;
        let turn = turn.map_err(|_| Error::Overloaded { what: "readings of this object" })?;
        if !self.takes_long(key).await? {
            return Ok(());
        }
        let (inner, key) = (self.inner.clone(), key.clone());
        let read = move || {
            let read = inner.is_present(&inner.current.site()?, &key);
            drop(turn);
            read.map(drop)
        };
        self.inner.blocking.run_long(read).await
    }

    async fn takes_long(&self, key: &Key) -> Result<bool> {
        let key = key.clone();
        self.with_site(move |inner, site| {
            let metadata = site.locate(&key)?.metadata()?;
            Ok(metadata.is_some_and(|metadata| {
                inner.vouched.would_take_long(&key, &metadata, site.settings())
            }))
        })
        .await
    }
}
