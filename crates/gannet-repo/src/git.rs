//! The little git that a repository needs: reading the git-annex branch, and moving it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;

use gannet_core::{Error, Result, WallTime};
use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::objs::tree::{EntryKind, EntryMode};
use gix::objs::{Commit, Tree, WriteTo};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use crate::durable::sync_dir;
use crate::settings::{Place, Settings, Shared, describe, open};
use crate::step::{self, Step};
use crate::watching::Values;

mod compare;
mod reference;

pub(crate) use reference::remove_abandoned_lock;

/// The object database and references of one repository, opened when first needed.
#[derive(Debug)]
pub(crate) struct Git {
    place: Place,
    opened: Mutex<Option<gix::ThreadSafeRepository>>,
}

impl Git {
    /// The git repository at `place`. Nothing is opened yet.
    pub(crate) fn new(place: Place) -> Self {
        Self { place, opened: Mutex::new(None) }
    }

    /// Closes what is open; what is in use is closed when that ends. The next use opens it anew,
    /// and reads the configuration again.
    pub(crate) fn forget(&self) {
        drop(self.lock().take());
    }

    /// Opens the repository unless it is open.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn session(&self) -> Result<Session> {
        let mut opened = self.lock();
        let repo = match opened.as_ref() {
            Some(repo) => repo.to_thread_local(),
            None => {
                let repo = open(&self.place)
                    .map_err(|error| failure("open the repository", error.to_string()))?;
                *opened = Some(repo.clone().into_sync());
                repo
            }
        };
        Ok(Session { repo, top: RefCell::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<gix::ThreadSafeRepository>> {
        self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An open repository, used by one thread.
pub(crate) struct Session {
    repo: gix::Repository,
    /// The last top-level tree that was read. It has up to 4096 directories, and whoever reads
    /// one file of it mostly goes on to read others.
    top: RefCell<Option<(ObjectId, Rc<Entries>)>>,
}

/// Takes the path and the content of a file, one after the other.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

type Entries = HashMap<Vec<u8>, (EntryMode, ObjectId)>;

/// What a tree has at a path.
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file with this content.
    Blob(Vec<u8>),
    /// A directory, or a file where a directory of the path should be.
    Other,
}

impl Session {
    /// The commit at which the git-annex branch is; `None` if there is no such branch.
    ///
    /// # Errors
    /// When the reference is broken, or is not one to a commit.
    pub(crate) fn tip(&self) -> Result<Option<ObjectId>> {
        self.commit_at(BRANCH)
    }

    /// The commit to which a reference leads; `None` if it does not exist.
    ///
    /// # Errors
    /// When it is broken, or symbolic.
    pub(crate) fn commit_at(&self, name: &str) -> Result<Option<ObjectId>> {
        let doing = "read a reference";
        match self.repo.try_find_reference(name).map_err(|error| git_error(doing, &error))? {
            None => Ok(None),
            Some(found) => match found.try_id() {
                Some(id) => Ok(Some(id.detach())),
                None => Err(failure(doing, format!("{name} is a symbolic reference"))),
            },
        }
    }

    /// All references that show to an object themselves, and to which.
    ///
    /// # Errors
    /// When they cannot be listed. One that is broken, or goes meanwhile, is left out.
    pub(crate) fn references(&self) -> Result<Values> {
        let failed = |error: &gix::Error| git_error("list references", error);
        let platform = self.repo.references().map_err(|error| failed(&error))?;
        let all = platform.all().map_err(|error| failed(&error))?;
        let value = |reference: gix::Reference<'_>| {
            let id = reference.try_id()?.to_hex().to_string();
            Some((reference.name().as_bstr().to_vec(), id))
        };
        Ok(all.filter_map(|found| found.ok().and_then(value)).collect())
    }

    /// The commit that is checked out, or would be if there were a work tree; `None` if there is none
    /// yet.
    ///
    /// # Errors
    /// When the reference is broken.
    pub(crate) fn head(&self) -> Result<Option<ObjectId>> {
        let head = self.repo.head().map_err(|error| git_error("read HEAD", &error))?;
        Ok(head.id().map(gix::Id::detach))
    }

    /// Reads the file at `path` in a commit.
    ///
    /// # Errors
    /// When an object is missing or broken.
    pub(crate) fn find(&self, commit: ObjectId, path: &[u8]) -> Result<Found> {
        let mut names = path.split(|&byte| byte == b'/').peekable();
        let mut entries = self.top(self.tree_of(commit)?)?;
        while let Some(name) = names.next() {
            match (entries.get(name), names.peek()) {
                (None, _) => return Ok(Found::Nothing),
                (Some((mode, id)), Some(_)) if mode.is_tree() => {
                    entries = Rc::new(self.entries(*id)?);
                }
                (Some((mode, id)), None) if mode.is_blob() => {
                    let blob = self.repo.find_blob(*id);
                    let blob = blob.map_err(|error| git_error(READ, &error))?;
                    return Ok(Found::Blob(blob.detach().data));
                }
                (Some(_), _) => return Ok(Found::Other),
            }
        }
        Ok(Found::Nothing)
    }

    /// Reads the blob of this name in hexadecimal; `None` if it is longer than so many bytes, which
    /// it then is not read for.
    ///
    /// # Errors
    /// When it is missing, broken, or not called like an object.
    pub(crate) fn small_blob(&self, id: &[u8], bytes_max: u64) -> Result<Option<Vec<u8>>> {
        let doing = "read a file";
        let id = ObjectId::from_hex(id).map_err(|error| failure(doing, error.to_string()))?;
        let header = self.repo.find_header(id).map_err(|error| git_error(doing, &error))?;
        if header.size() > bytes_max {
            return Ok(None);
        }
        let blob = self.repo.find_blob(id).map_err(|error| git_error(doing, &error))?;
        Ok(Some(blob.detach().data))
    }

    /// Shows `visit` every file of a commit whose path `wanted` approves, one after the other.
    /// Besides that file, no more than one tree of each level is in memory.
    ///
    /// # Errors
    /// When an object is missing or broken, and what `visit` reports, which ends it.
    pub(crate) fn visit(
        &self,
        commit: ObjectId,
        wanted: fn(&[u8]) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        self.visit_tree(self.tree_of(commit)?, &mut Vec::new(), wanted, visit)
    }

    fn visit_tree(
        &self,
        tree: ObjectId,
        path: &mut Vec<u8>,
        wanted: fn(&[u8]) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let above = path.len();
        for (name, (mode, id)) in self.entries(tree)? {
            path.extend_from_slice(&name);
            if mode.is_tree() {
                path.push(b'/');
                self.visit_tree(id, path, wanted, visit)?;
            } else if mode.is_blob() && wanted(path) {
                let blob = self.repo.find_blob(id).map_err(|error| git_error(READ, &error))?;
                visit(path, &blob.data)?;
            }
            path.truncate(above);
        }
        Ok(())
    }

    /// Begins a commit on top of `parent`, or a first one with the empty tree.
    ///
    /// # Errors
    /// When the parent cannot be read.
    pub(crate) fn draft(&self, parent: Option<ObjectId>) -> Result<Draft<'_>> {
        let doing = "edit the git-annex branch";
        let tree = match parent {
            Some(parent) => {
                let tree = self.repo.find_tree(self.tree_of(parent)?);
                tree.map_err(|error| git_error(doing, &error))?
            }
            None => self.repo.empty_tree(),
        };
        let editor = tree.edit().map_err(|error| git_error(doing, &error))?.detach();
        let parents = parent.into_iter().collect();
        Ok(Draft { session: self, parents, editor, written: Vec::new() })
    }

    fn tree_of(&self, commit: ObjectId) -> Result<ObjectId> {
        let tree = self.repo.find_commit(commit).and_then(|commit| Ok(commit.tree_id()?.detach()));
        tree.map_err(|error| git_error(READ, &error))
    }

    fn top(&self, tree: ObjectId) -> Result<Rc<Entries>> {
        if let Some((known, entries)) = &*self.top.borrow()
            && *known == tree
        {
            return Ok(entries.clone());
        }
        let entries = Rc::new(self.entries(tree)?);
        self.top.replace(Some((tree, entries.clone())));
        Ok(entries)
    }

    fn entries(&self, tree: ObjectId) -> Result<Entries> {
        let broken = |error| git_error(READ, &error);
        let tree = self.repo.find_tree(tree).map_err(broken)?;
        let mut entries = Entries::new();
        for entry in tree.iter() {
            let entry = entry.map_err(broken)?;
            entries.insert(entry.filename().to_vec(), (entry.mode(), entry.oid().to_owned()));
        }
        Ok(entries)
    }

    fn write(&self, object: impl WriteTo) -> Result<ObjectId> {
        begin_to_write()?;
        let id = self.repo.write_object(object).map(gix::Id::detach);
        step::done(Step::WriteGitObject);
        id.map_err(|error| git_error(WRITE, &error))
    }

    fn objects_dir(&self) -> PathBuf {
        self.repo.objects.store_ref().path().to_owned()
    }

    /// Who makes commits, as configured, else Gannet itself.
    fn signature(
        &self,
        configured: Option<gix::actor::SignatureRef<'_>>,
        now: WallTime,
    ) -> gix::actor::Signature {
        let (name, email) = match configured {
            Some(who) => (who.name.to_owned(), who.email.to_owned()),
            None => ("gannet".into(), "gannet@localhost".into()),
        };
        gix::actor::Signature { name, email, time: gix::date::Time::new(now.seconds, 0) }
    }

    fn author(&self, now: WallTime) -> gix::actor::Signature {
        self.signature(self.repo.author().and_then(Result::ok), now)
    }

    fn committer(&self, now: WallTime) -> gix::actor::Signature {
        self.signature(self.repo.committer().and_then(Result::ok), now)
    }
}

/// A commit that is being made. Only the trees on the way to changed files are read and written,
/// however large the branch is.
pub(crate) struct Draft<'session> {
    session: &'session Session,
    parents: Vec<ObjectId>,
    editor: gix::objs::tree::Editor<'session>,
    written: Vec<ObjectId>,
}

impl Draft<'_> {
    /// Whether nothing differs from the parent.
    pub(crate) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Makes the commit one that merges this one too.
    pub(crate) fn also_after(&mut self, other: ObjectId) {
        self.parents.push(other);
    }

    /// Gives the file at `path` this content.
    ///
    /// # Errors
    /// When the object cannot be written.
    pub(crate) fn put(&mut self, path: &[u8], content: &[u8]) -> Result<()> {
        begin_to_write()?;
        let blob =
            self.session.repo.write_blob(content).map_err(|error| git_error(WRITE, &error))?;
        let blob = blob.detach();
        step::done(Step::WriteGitObject);
        self.written.push(blob);
        self.editor
            .upsert(path.split_str("/").map(BStr::new), EntryKind::Blob, blob)
            .map_err(|error| git_error("edit the git-annex branch", &error))?;
        Ok(())
    }

    /// Writes the commit, and makes it and all it consists of durable. No reference moves.
    ///
    /// # Errors
    /// When something cannot be written or synced.
    pub(crate) fn commit(
        mut self,
        message: &str,
        now: WallTime,
        settings: &Settings,
    ) -> Result<ObjectId> {
        let session = self.session;
        let mut written = self.written;
        let tree = self.editor.write(|tree: &Tree| -> Result<ObjectId> {
            let id = session.write(tree)?;
            written.push(id);
            Ok(id)
        })?;
        if self.parents.is_empty() {
            written.push(session.write(Tree::empty())?);
        }
        let commit = session.write(Commit {
            tree,
            parents: self.parents.into(),
            author: session.author(now),
            committer: session.committer(now),
            encoding: None,
            message: format!("{}\n", message.trim_end()).into(),
            extra_headers: Vec::new(),
        })?;
        written.push(commit);
        session.sync(&written, settings)?;
        Ok(commit)
    }
}

impl Session {
    /// Makes objects durable that are loose files. Those in packs have been for long.
    fn sync(&self, ids: &[ObjectId], settings: &Settings) -> Result<()> {
        let objects = self.objects_dir();
        let mut dirs = BTreeSet::new();
        let mut files = Vec::new();
        for id in ids {
            let name = id.to_hex().to_string();
            let (dir, file) = name.split_at(2);
            let dir = objects.join(dir);
            files.push(dir.join(file));
            dirs.insert(dir);
        }
        dirs.retain(|dir| dir.is_dir());
        for dir in &dirs {
            share_object_dir(dir, settings);
        }
        // One call for the whole file system is cheaper than very many for its files.
        if files.len() > FILES_SYNCED_MAX {
            let disk = |error| Error::disk("sync", &objects, error);
            let dir = File::open(&objects).map_err(disk)?;
            step::begin(Step::SyncGitObjectDir).map_err(disk)?;
            rustix::fs::syncfs(dir).map_err(|error| disk(error.into()))?;
            step::done(Step::SyncGitObjectDir);
            return Ok(());
        }
        for path in files {
            sync_object(&path)?;
        }
        for dir in &dirs {
            // A `git gc` that has packed all that was in it removes it.
            crate::objects::sync_dir(Step::SyncGitObjectDir, dir)?;
        }
        sync_dir(Step::SyncGitObjectDir, &objects)
    }
}

/// Syncs a loose object, if there is one, and makes it young: it may have been there already, old
/// and unreachable, about to be pruned.
fn sync_object(path: &Path) -> Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::disk("open", path, error)),
    };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    if let Err(error) = futimens(&file, &Timestamps { last_access: now, last_modification: now }) {
        tracing::debug!(path = %path.display(), %error, "cannot freshen an object");
    }
    step::sync(Step::SyncGitObject, &file).map_err(|error| Error::disk("sync", path, error))
}

/// Lets the group add objects too. The library that makes the directories does not know sharing.
fn share_object_dir(dir: &Path, settings: &Settings) {
    let extra = match settings.shared {
        Shared::Umask => return,
        Shared::Group => 0o2770,
        Shared::All => 0o2775,
        Shared::Octal(bits) => bits | (bits & 0o444) >> 2 | 0o2000,
    };
    let share = || -> io::Result<()> {
        let mode = dir.metadata()?.permissions().mode() & 0o7777;
        if mode | extra == mode {
            return Ok(());
        }
        step::set_mode(Step::ChangeMode, dir, mode | extra)
    };
    // Only the owner may; a directory that another member of the group made is shared already.
    if let Err(error) = share() {
        tracing::debug!(dir = %dir.display(), %error, "cannot share a directory of objects");
    }
}

fn begin_to_write() -> Result<()> {
    step::begin(Step::WriteGitObject).map_err(|error| failure(WRITE, error.to_string()))
}

/// An error of the git library.
fn git_error(doing: &'static str, error: &gix::Error) -> Error {
    failure(doing, describe(error))
}

fn failure(doing: &'static str, why: String) -> Error {
    Error::Git { doing, why }
}

/// The branch that holds the logs.
pub(crate) const BRANCH: &str = "refs/heads/git-annex";
const READ: &str = "read the git-annex branch";
const WRITE: &str = "write an object";
const FILES_SYNCED_MAX: usize = 64;
