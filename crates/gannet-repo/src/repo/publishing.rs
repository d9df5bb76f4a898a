//! What the owner of a repository has it say, of itself and of others.

use gannet_core::{Error, Result};

use super::Repo;
use crate::branch::{Merged, merge_fetched};
use crate::publishing::{Notice, publish};
use crate::settings::{OpenError, set_values};

impl Repo {
    /// Tells everybody these. They are durable, and visible to every git-annex process, when it
    /// returns, and soon in the git-annex branch. One result for each: whether it was news.
    ///
    /// Once begun it is finished, also when the future is dropped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn publish(&self, notices: Vec<Notice>) -> Result<Vec<bool>> {
        let outcome = self
            .with_site(move |inner, site| {
                site.check_writable()?;
                let scribe = &inner.scribe;
                publish(site.settings(), scribe.git(), &*inner.clock, &notices)
            })
            .await;
        self.inner.scribe.commit_leftovers();
        outcome
    }

    /// Merges git-annex branches of others that were fetched or pushed here, as every git-annex
    /// command does first. Finished once begun.
    ///
    /// # Errors
    /// When something cannot be read, or the branch not be written.
    pub async fn merge_fetched(&self) -> Result<Merged> {
        // What is in the journal hides what is merged.
        self.flush().await?;
        self.with_site(|inner, site| {
            site.check_writable()?;
            merge_fetched(site.settings(), inner.scribe.git(), &*inner.clock)
        })
        .await
    }

    /// Sets values in the repository's own configuration file, all of them at once, durably. What
    /// else is in the file stays as it is. Finished once begun.
    ///
    /// # Errors
    /// When somebody else is changing the file, or a disk refuses.
    pub async fn configure(&self, values: Vec<(String, String)>) -> Result<()> {
        self.with_site(move |_, site| {
            let values: Vec<_> = values.iter().map(|(key, value)| (&**key, &**value)).collect();
            set_values(&site.settings().place, &values).map_err(|error| match error {
                OpenError::Failed(error) => error,
                error => Error::Unsupported(error.to_string()),
            })
        })
        .await
    }
}
