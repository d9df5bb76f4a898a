//! Space at nodes that is spoken for, because something is on its way there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_core::Uuid;

/// How many bytes are on their way to each node.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    bytes: Mutex<BTreeMap<Uuid, u64>>,
}

/// Bytes on their way to some nodes. Dropped, they are there, or will never be.
#[derive(Debug)]
#[must_use = "the space is reserved only as long as this is kept"]
pub(crate) struct Reservation {
    nodes: Vec<Uuid>,
    bytes: u64,
    reserved: Arc<Reserved>,
}

impl Reserved {
    /// Lets `choose` choose nodes, which is told what each repository holds, with what is on its
    /// way there; then so many `bytes` are on their way to those, too. One request chooses after
    /// the other, so that many at once do not fill up the same node (preferred-content §8).
    pub(crate) fn reserve(
        self: &Arc<Self>,
        held: &BTreeMap<Uuid, u64>,
        bytes: u64,
        choose: impl FnOnce(&BTreeMap<Uuid, u64>) -> Vec<Uuid>,
    ) -> Reservation {
        let mut reserved = self.lock();
        let mut sizes = held.clone();
        for (node, &bytes) in &*reserved {
            add(&mut sizes, node, bytes);
        }
        let nodes = choose(&sizes);
        for node in &nodes {
            add(&mut reserved, node, bytes);
        }
        Reservation { nodes, bytes, reserved: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, u64>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.reserved.lock();
        for node in &self.nodes {
            if let Some(bytes) = reserved.get_mut(node) {
                *bytes = bytes.saturating_sub(self.bytes);
            }
        }
        reserved.retain(|_, bytes| *bytes > 0);
    }
}

fn add(sizes: &mut BTreeMap<Uuid, u64>, node: &Uuid, bytes: u64) {
    let size = sizes.entry(node.clone()).or_default();
    *size = size.saturating_add(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_is_there() {
        let [a, b] = ["a", "b"].map(|name| Uuid::parse(name.as_bytes()).expect("a uuid"));
        let reserved = Arc::new(Reserved::default());
        let held = BTreeMap::from([(a.clone(), 10)]);
        let first = reserved.reserve(&held, 5, |sizes| {
            assert_eq!(*sizes, held);
            vec![a.clone(), b.clone()]
        });
        let second = reserved.reserve(&held, 7, |sizes| {
            assert_eq!(*sizes, [(a.clone(), 15), (b.clone(), 5)].into());
            vec![b.clone()]
        });
        drop(first);
        drop(reserved.reserve(&held, u64::MAX, |sizes| {
            assert_eq!(*sizes, [(a.clone(), 10), (b.clone(), 7)].into());
            vec![]
        }));
        drop(second);
        assert!(reserved.lock().is_empty());
    }
}
