//! A repository lends others what its git-annex branch knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use gannet_core::{AssociatedFile, Book, Facts, Key, Ledger, Result, Uuid};

use super::Repo;
use crate::git::Session;
use crate::journal::Claim;
use crate::ledger::{Attributes, Pages};
use crate::logs::location::Status;
use crate::settings::Settings;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Ledger for Repo {
    async fn book(&self) -> Result<Arc<Book>> {
        self.read(|pages, settings, session| pages.book(settings, session)).await
    }

    async fn facts(&self, key: &Key, file: &AssociatedFile) -> Result<Facts> {
        let (key, file) = (key.clone(), file.clone());
        self.read(move |pages, settings, session| {
            pages.facts(settings, session, &key, &file, Attributes::IfAskedFor)
        })
        .await
    }

    async fn sizes(&self) -> Result<Arc<BTreeMap<Uuid, u64>>> {
        self.read(|pages, settings, session| pages.sizes(settings, session).map(Arc::new)).await
    }

    async fn record(&self, key: &Key, repository: &Uuid, present: bool) -> Result<()> {
        let status = if present { Status::Present } else { Status::Missing };
        self.inner.scribe.record_of(repository, key, Claim::Is(status)).await
    }
}

impl Repo {
    /// Reads the branch, and sees to it that git's files are closed soon.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Pages, &Settings, &Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let outcome = self
            .with_site(move |inner, site| {
                let session = inner.scribe.session()?;
                read(&inner.pages, site.settings(), &session)
            })
            .await;
        self.inner.scribe.commit_leftovers();
        outcome
    }
}
