//! Notes of special remotes, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gannet_core::{Chunks, Credentials, Key, Notes, Result, Uuid};

/// Notes that are forgotten when this is dropped.
#[derive(Debug, Default)]
pub struct MemoryNotes(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    chunks: HashMap<(Uuid, Key), Vec<Chunks>>,
    gone: HashSet<(Uuid, Key)>,
    states: HashMap<(Uuid, Key), Vec<u8>>,
    urls: HashMap<Key, Vec<Vec<u8>>>,
    wanted: HashMap<Uuid, Vec<u8>>,
    credentials: HashMap<(Uuid, Option<Vec<u8>>), Credentials>,
}

impl MemoryNotes {
    /// Whether it was noted that the content of a key is gone.
    #[must_use]
    pub fn is_gone(&self, remote: &Uuid, key: &Key) -> bool {
        self.pages().gone.contains(&(remote.clone(), key.clone()))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notes for MemoryNotes {
    async fn chunks(&self, remote: &Uuid, key: &Key) -> Result<Vec<Chunks>> {
        let place = (remote.clone(), key.clone());
        Ok(self.pages().chunks.get(&place).cloned().unwrap_or_default())
    }

    async fn note_chunks(&self, remote: &Uuid, key: &Key, chunks: Chunks) -> Result<()> {
        let mut pages = self.pages();
        let noted = pages.chunks.entry((remote.clone(), key.clone())).or_default();
        noted.retain(|old| old.bytes != chunks.bytes);
        if chunks.count > 0 {
            noted.push(chunks);
        }
        Ok(())
    }

    async fn note_gone(&self, remote: &Uuid, key: &Key) -> Result<()> {
        self.pages().gone.insert((remote.clone(), key.clone()));
        Ok(())
    }

    async fn state(&self, remote: &Uuid, key: &Key) -> Result<Vec<u8>> {
        let place = (remote.clone(), key.clone());
        Ok(self.pages().states.get(&place).cloned().unwrap_or_default())
    }

    async fn note_state(&self, remote: &Uuid, key: &Key, state: &[u8]) -> Result<()> {
        self.pages().states.insert((remote.clone(), key.clone()), state.to_vec());
        Ok(())
    }

    async fn urls(&self, key: &Key) -> Result<Vec<Vec<u8>>> {
        Ok(self.pages().urls.get(key).cloned().unwrap_or_default())
    }

    async fn note_url(&self, key: &Key, url: &[u8], present: bool) -> Result<()> {
        let mut pages = self.pages();
        let noted = pages.urls.entry(key.clone()).or_default();
        noted.retain(|old| old != url);
        if present {
            noted.push(url.to_vec());
        }
        Ok(())
    }

    async fn wanted(&self, remote: &Uuid) -> Result<Vec<u8>> {
        Ok(self.pages().wanted.get(remote).cloned().unwrap_or_default())
    }

    async fn note_wanted(&self, remote: &Uuid, expression: &[u8]) -> Result<()> {
        self.pages().wanted.insert(remote.clone(), expression.to_vec());
        Ok(())
    }

    async fn credentials(&self, remote: &Uuid, name: Option<&[u8]>) -> Result<Option<Credentials>> {
        let place = (remote.clone(), name.map(<[u8]>::to_vec));
        Ok(self.pages().credentials.get(&place).cloned())
    }

    async fn note_credentials(
        &self,
        remote: &Uuid,
        name: Option<&[u8]>,
        credentials: &Credentials,
    ) -> Result<()> {
        let place = (remote.clone(), name.map(<[u8]>::to_vec));
        self.pages().credentials.insert(place, credentials.clone());
        Ok(())
    }
}
