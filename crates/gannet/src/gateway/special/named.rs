//! Says of which remote it is that something went wrong.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use gannet_core::{Content, Error, Key, Result, Span};
use gannet_net::remote::special::{Found, Permission, Source, Store};

/// A store, and what people call the remote.
pub(super) struct Named {
    name: Arc<str>,
    store: Arc<dyn Store>,
}

impl Named {
    pub(super) fn new(remote: &str, store: Arc<dyn Store>) -> Self {
        Self { name: format!("the remote {remote}").into(), store }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Named {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        self.store.find(name).await.map_err(|error| told(&self.name, error))
    }

    async fn get(&self, name: &Key, bytes: Option<u64>, span: Span) -> Result<Content> {
        let opened = self.store.get(name, bytes, span).await;
        let content = opened.map_err(|error| told(&self.name, error))?;
        let name = Arc::clone(&self.name);
        let pieces = content.pieces.map_err(move |error| told(&name, error)).boxed();
        Ok(Content { pieces, ..content })
    }

    async fn put(&self, name: &Key, source: &Source) -> Result<()> {
        self.store.put(name, source).await.map_err(|error| told(&self.name, error))
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        self.store.remove(name, permission).await.map_err(|error| told(&self.name, error))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.store)
    }
}

/// A disk that is full is still one that is full.
fn told(name: &str, error: Error) -> Error {
    let why = match error {
        Error::Remote { place, why } => format!("{place}: {why}"),
        Error::Disk { ref source, .. } if source.kind() != io::ErrorKind::StorageFull => {
            error.chain()
        }
        other => return other,
    };
    Error::Remote { place: name.to_owned(), why }
}
