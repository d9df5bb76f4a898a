//! Contents leave a special remote: object after object, with the truth about how far that got.

use std::ops::RangeInclusive;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use gannet_core::{Chunks, Key, Result};

use super::lists::List;
use super::store::Permission;
use super::{Special, SpecialOptions};

impl Special {
    /// Removes the content of `key` in whatever form it is there. `false`: it is still there, and
    /// complete, for it was too late to remove it.
    ///
    /// The first object of each form goes first: then nobody can read the content any more, which
    /// is noted at once. What is left is of no use to anybody, and has no deadline.
    ///
    /// # Errors
    /// When some of it may be gone, and some not.
    pub(super) async fn remove_objects(&self, key: &Key, permission: &Permission) -> Result<bool> {
        let mut begun = Vec::new();
        let lists = self.candidates(key).await?;
        for list in &lists {
            begun.push(*list == List::Whole || self.has_begun(key, *list).await?);
        }
        let with_begun = lists.iter().zip(begun);
        let begun: Vec<List> = with_begun.filter(|(_, it)| *it).map(|(list, _)| *list).collect();
        if !self.remove_firsts(key, &begun, permission).await? {
            return Ok(false);
        }
        let SpecialOptions { uuid, notes, .. } = &self.options;
        if begun.iter().any(|list| list.count() > 1)
            && let Err(error) = notes.note_gone(uuid, key).await
        {
            tracing::warn!("{self}: cannot note yet that {key} is gone: {}", error.chain());
        }
        let permission = permission.unlimited();
        for list in begun {
            // The second goes last: while it is there it can be seen that others may be.
            self.remove_some(key, list, 3..=list.count(), &permission).await?;
            self.remove_some(key, list, 2..=list.count().min(2), &permission).await?;
        }
        for list in lists {
            if let List::Noted(chunks) = list {
                notes.note_chunks(uuid, key, Chunks { count: 0, ..chunks }).await?;
            }
        }
        Ok(true)
    }

    async fn remove_firsts(
        &self,
        key: &Key,
        lists: &[List],
        permission: &Permission,
    ) -> Result<bool> {
        let mut permission = permission.clone();
        for (place, list) in lists.iter().enumerate() {
            let (first, _) = list.object(key, 1);
            if self.store.remove(&first, &permission).await? {
                continue;
            }
            if place == 0 || self.first_complete(key, &lists[place..]).await?.is_some() {
                return Ok(false);
            }
            permission = permission.unlimited();
            self.store.remove(&first, &permission).await?;
        }
        Ok(true)
    }

    /// Whether there may be anything of a list. To remove what is not there costs as much as to
    /// remove what is, and anybody who can push may note chunks by the million.
    ///
    /// What broke in the middle left the first objects if it was a put, and the last, or the
    /// second, if it was a removal.
    async fn has_begun(&self, key: &Key, list: List) -> Result<bool> {
        if list.count() <= UNASKED_MAX {
            return Ok(true);
        }
        for number in [1, 2, list.count()] {
            let (name, _) = list.object(key, number);
            if self.store.find(&name).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn remove_some(
        &self,
        key: &Key,
        list: List,
        numbers: RangeInclusive<u64>,
        permission: &Permission,
    ) -> Result<()> {
        let removals = numbers.map(|number| async move {
            let (name, _) = list.object(key, number);
            self.store.remove(&name, permission).await.map(drop)
        });
        stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect().await
    }
}

/// Of a list with more objects than this it is looked first whether any are there.
const UNASKED_MAX: u64 = 16;

/// How many objects are removed at once.
const REMOVALS_AT_ONCE: usize = 4;
