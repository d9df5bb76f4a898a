//! A ledger in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gannet_core::{AssociatedFile, Book, Error, Facts, Key, Ledger, Result, Uuid};

/// A ledger in memory, which can be told what to say, and to fail.
#[derive(Debug, Default)]
pub struct TestLedger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    facts: Facts,
    holders: BTreeMap<Vec<u8>, BTreeSet<Uuid>>,
    recorded: Vec<(Key, Uuid, bool)>,
    broken: bool,
}

impl TestLedger {
    /// A ledger that knows nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Changes what it says of repositories.
    pub fn set_book(&self, change: impl FnOnce(&mut Book)) {
        change(Arc::make_mut(&mut self.state().facts.book));
    }

    /// Changes what it says of every key, but for its holders.
    pub fn set_facts(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.state().facts);
    }

    /// Says something of who has a content, without recording it: true or not.
    pub fn claim(&self, key: &Key, repository: &Uuid, present: bool) {
        self.state().set(key, repository, present);
    }

    /// From now on nothing can be recorded, or it can again.
    pub fn set_broken(&self, broken: bool) {
        self.state().broken = broken;
    }

    /// Who has the content of `key`, as far as it knows.
    #[must_use]
    pub fn holders(&self, key: &Key) -> BTreeSet<Uuid> {
        self.state().holders.get(key.as_bytes()).cloned().unwrap_or_default()
    }

    /// All that was recorded so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<(Key, Uuid, bool)> {
        self.state().recorded.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set(&mut self, key: &Key, repository: &Uuid, present: bool) {
        let holders = self.holders.entry(key.as_bytes().to_vec()).or_default();
        match present {
            true => holders.insert(repository.clone()),
            false => holders.remove(repository),
        };
    }
}

#[async_trait]
impl Ledger for TestLedger {
    async fn book(&self) -> Result<Arc<Book>> {
        Ok(Arc::clone(&self.state().facts.book))
    }

    async fn facts(&self, key: &Key, _file: &AssociatedFile) -> Result<Facts> {
        let holders = self.holders(key);
        Ok(Facts { holders, ..self.state().facts.clone() })
    }

    async fn sizes(&self) -> Result<Arc<BTreeMap<Uuid, u64>>> {
        let state = self.state();
        let mut sizes = BTreeMap::new();
        for (key, holders) in &state.holders {
            let size = Key::parse(key).ok().and_then(|key| key.size()).unwrap_or(0);
            for holder in holders {
                *sizes.entry(holder.clone()).or_default() += size;
            }
        }
        Ok(Arc::new(sizes))
    }

    async fn record(&self, key: &Key, repository: &Uuid, present: bool) -> Result<()> {
        let mut state = self.state();
        if state.broken {
            return Err(Error::Git { doing: "record", why: "the ledger is broken".to_owned() });
        }
        if repository.as_cluster().is_none() {
            state.recorded.push((key.clone(), repository.clone(), present));
            state.set(key, repository, present);
        }
        Ok(())
    }
}
