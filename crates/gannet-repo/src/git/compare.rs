//! What differs between two commits.

use gannet_core::Result;
use gix::ObjectId;
use gix::objs::tree::EntryMode;

use super::{Entries, READ, Session, git_error};

/// Takes the path of a file, what it was, and what it is; empty where there is no file.
pub(crate) type VisitChange<'a> = dyn FnMut(&[u8], &[u8], &[u8]) -> Result<()> + 'a;

impl Session {
    /// Shows `visit` every file that differs between two commits and whose path `wanted` approves.
    /// Without `from`, all files are new. What is the same in both is not read, however large it is.
    ///
    /// # Errors
    /// When an object is missing or broken, and what `visit` reports, which ends it.
    pub(crate) fn changes(
        &self,
        from: Option<ObjectId>,
        to: ObjectId,
        wanted: fn(&[u8]) -> bool,
        visit: &mut VisitChange<'_>,
    ) -> Result<()> {
        let old = from.map(|commit| self.tree_of(commit)).transpose()?;
        let mut walk = Walk { session: self, path: Vec::new(), wanted, visit };
        walk.compare(old, Some(self.tree_of(to)?))
    }
}

struct Walk<'a, 'v> {
    session: &'a Session,
    path: Vec<u8>,
    wanted: fn(&[u8]) -> bool,
    visit: &'a mut VisitChange<'v>,
}

type Entry = Option<(EntryMode, ObjectId)>;

impl Walk<'_, '_> {
    fn compare(&mut self, old: Option<ObjectId>, new: Option<ObjectId>) -> Result<()> {
        if old == new {
            return Ok(());
        }
        let read = |tree: Option<ObjectId>| match tree {
            Some(tree) => self.session.entries(tree),
            None => Ok(Entries::new()),
        };
        let (mut before, after) = (read(old)?, read(new)?);
        for (name, is) in after {
            let was = before.remove(&name);
            self.entry(&name, was, Some(is))?;
        }
        for (name, was) in before {
            self.entry(&name, Some(was), None)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &[u8], was: Entry, is: Entry) -> Result<()> {
        if was == is {
            return Ok(());
        }
        let above = self.path.len();
        self.path.extend_from_slice(name);
        let blob = |entry: Entry| entry.filter(|(mode, _)| mode.is_blob()).map(|(_, id)| id);
        if (blob(was).is_some() || blob(is).is_some()) && (self.wanted)(&self.path) {
            let (old, new) = (self.content(blob(was))?, self.content(blob(is))?);
            (self.visit)(&self.path, &old, &new)?;
        }
        let tree = |entry: Entry| entry.filter(|(mode, _)| mode.is_tree()).map(|(_, id)| id);
        self.path.push(b'/');
        self.compare(tree(was), tree(is))?;
        self.path.truncate(above);
        Ok(())
    }

    fn content(&self, blob: Option<ObjectId>) -> Result<Vec<u8>> {
        let Some(blob) = blob else { return Ok(Vec::new()) };
        let found = self.session.repo.find_blob(blob).map_err(|error| git_error(READ, &error))?;
        Ok(found.detach().data)
    }
}
