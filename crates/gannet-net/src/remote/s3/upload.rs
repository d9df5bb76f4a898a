//! Objects that are uploaded in parts.

use std::time::Duration;

use gannet_core::Result;
use object_store::PutPayload;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Object, wire};

/// An upload that has begun. When it is dropped before it is complete the server is told to forget
/// it, which costs until then.
pub(super) struct Upload<'a> {
    object: &'a Object,
    begun: Begun,
    parts: Vec<PartId>,
}

impl<'a> Upload<'a> {
    /// # Errors
    /// When the server does not begin.
    pub(super) async fn begin(object: &'a Object) -> Result<Self> {
        let id = object.store.create_multipart(&wire::PATH).await;
        let id = Some(id.map_err(|error| object.fault(&error))?);
        let begun = Begun { store: object.store.clone(), place: object.place.clone(), id };
        Ok(Self { object, begun, parts: Vec::new() })
    }

    /// Uploads the next part, whose bytes the wire has.
    ///
    /// # Errors
    /// When it is not there then.
    pub(super) async fn next_part(&mut self) -> Result<()> {
        let id = self.begun.id.clone().unwrap_or_default();
        let (index, none) = (self.parts.len(), PutPayload::default());
        let put = self.object.store.put_part(&wire::PATH, &id, index, none).await;
        self.parts.push(put.map_err(|error| self.object.fault(&error))?);
        Ok(())
    }

    /// # Errors
    /// When the object is not there then, or nobody knows.
    pub(super) async fn complete(mut self) -> object_store::Result<()> {
        let id = self.begun.id.clone().unwrap_or_default();
        let parts = std::mem::take(&mut self.parts);
        self.object.store.complete_multipart(&wire::PATH, &id, parts).await?;
        self.begun.id = None;
        Ok(())
    }
}

struct Begun {
    store: AmazonS3,
    place: String,
    /// `None` when it is complete.
    id: Option<String>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else { return };
        let (store, place) = (self.store.clone(), self.place.clone());
        runtime.spawn(async move {
            match timeout(ABORT_WITHIN, store.abort_multipart(&wire::PATH, &id)).await {
                Ok(Ok(()) | Err(object_store::Error::NotFound { .. })) => {}
                _ => tracing::warn!("{place}: an upload that broke may have left parts"),
            }
        });
    }
}

const ABORT_WITHIN: Duration = Duration::from_secs(30);
