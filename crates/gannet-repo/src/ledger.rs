//! What the git-annex branch says of repositories and of keys, read once and kept up with it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_core::place::log_path;
use gannet_core::{AssociatedFile, Book, Facts, Key, Result, Trust, Uuid};
use gix::ObjectId;

use crate::git::Session;
use crate::journal::{Journal, LOCATION_SUFFIX, read_log_in};
use crate::logs::forms::text as as_text;
use crate::logs::location::LocationLog;
use crate::logs::{
    cluster, copies, equivalent, group, maxsize, metadata, proxy, remote, trust, uuid, web, wishes,
};
use crate::settings::Settings;

mod attributes;
mod sizes;
mod special;
#[cfg(test)]
mod tests;
mod unused;

use sizes::Sums;
pub use special::{SpecialRemotes, SpecialSettings, Unreliable};
pub(crate) use unused::keys as unused_keys;

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    known: Mutex<Option<(Edition, Known)>>,
    /// Whoever computes sizes lets others wait, who then need not.
    sums: Mutex<Sums>,
}

/// What is known of repositories.
#[derive(Clone, Debug)]
struct Known {
    book: Arc<Book>,
    special: Arc<SpecialRemotes>,
}

/// Whether attributes of git are wanted that no expression asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// They are.
    Wanted,
    /// They are not: reading them is not free.
    IfAskedFor,
}

/// Tells versions of the logs apart that are about repositories.
#[derive(Debug, PartialEq, Eq)]
struct Edition {
    tip: Option<ObjectId>,
    /// Those that are in the journal, and in the private one; and what was verified.
    files: Vec<Option<Stamp>>,
}

/// Inode, time of modification, and length of a file.
type Stamp = (u64, i64, i64, u64);

impl Pages {
    /// What is known of repositories. Cheap while nothing changed.
    ///
    /// # Errors
    /// When the journal or the branch cannot be read.
    pub(crate) fn book(&self, settings: &Settings, session: &Session) -> Result<Arc<Book>> {
        Ok(self.known(settings, session)?.book)
    }

    /// What is known of special remotes. Cheap while nothing changed.
    ///
    /// # Errors
    /// When the journal or the branch cannot be read.
    pub(crate) fn special_remotes(
        &self,
        settings: &Settings,
        session: &Session,
    ) -> Result<Arc<SpecialRemotes>> {
        Ok(self.known(settings, session)?.special)
    }

    fn known(&self, settings: &Settings, session: &Session) -> Result<Known> {
        let edition = Edition::of(settings, session)?;
        if let Some((read, known)) = &*lock(&self.known)
            && *read == edition
        {
            return Ok(known.clone());
        }
        let known = Known {
            book: Arc::new(read_book(settings, session)?),
            special: Arc::new(special::read(settings, session)?),
        };
        *lock(&self.known) = Some((edition, known.clone()));
        Ok(known)
    }

    /// What is known of a key, whose content is called `file`. What attributes of git say of that is
    /// read only if an expression asks for it, or if it is `wanted`.
    ///
    /// # Errors
    /// When the journal or the branch cannot be read.
    pub(crate) fn facts(
        &self,
        settings: &Settings,
        session: &Session,
        key: &Key,
        file: &AssociatedFile,
        wanted: Attributes,
    ) -> Result<Facts> {
        let book = self.book(settings, session)?;
        let read =
            |suffix| read_log_in(settings, session, &log_path(settings.branch_levels, key, suffix));
        let holders = LocationLog::parse(&read(LOCATION_SUFFIX)?).holders();
        let counts =
            |holder: &Uuid| holder.as_cluster().is_none() && book.trust(holder) != Trust::Dead;
        let numcopies_of_file = match wanted == Attributes::Wanted || asks_for_attributes(&book) {
            true => attributes::numcopies(settings, session, file)?,
            false => None,
        };
        let equivalents = match key.backend() {
            b"VURL" => equivalent::parse(&read(equivalent::SUFFIX)?),
            _ => Vec::new(),
        };
        Ok(Facts {
            holders: holders.into_iter().filter(counts).collect(),
            numcopies_of_file,
            metadata: metadata::parse(&read(metadata::SUFFIX)?),
            urls: web::parse(&read(web::SUFFIX)?),
            unused: unused::lists(settings, key)?,
            equivalents,
            book,
        })
    }

    /// How much each repository holds, in bytes.
    ///
    /// # Errors
    /// When the journal or the branch cannot be read.
    pub(crate) fn sizes(
        &self,
        settings: &Settings,
        session: &Session,
    ) -> Result<BTreeMap<Uuid, u64>> {
        let described = self.book(settings, session)?;
        let mut sizes = lock(&self.sums).current(settings, session)?;
        for repository in described.descriptions.keys() {
            sizes.entry(repository.clone()).or_default();
        }
        Ok(sizes)
    }
}

impl Edition {
    fn of(settings: &Settings, session: &Session) -> Result<Self> {
        let mut files = Vec::with_capacity(2 * LOGS.len() + 1);
        for private in [false, true] {
            let journal = Journal::new(settings, private);
            for path in LOGS {
                files.push(stamp(journal.metadata(path))?);
            }
        }
        files.push(stamp(special::metadata(settings))?);
        Ok(Self { tip: session.tip()?, files })
    }
}

fn stamp(metadata: Result<Option<Metadata>>) -> Result<Option<Stamp>> {
    let stamp = |it: Metadata| (it.ino(), it.mtime(), it.mtime_nsec(), it.len());
    Ok(metadata?.map(stamp))
}

fn read_book(settings: &Settings, session: &Session) -> Result<Book> {
    let read = |path| read_log_in(settings, session, path);
    let trust = trust::parse(&read(trust::PATH)?);
    let mut clusters = cluster::parse(&read(cluster::PATH)?);
    for nodes in clusters.values_mut() {
        nodes.retain(|node| trust.get(node) != Some(&Trust::Dead));
    }
    let remotes = remote::parse(&read(remote::PATH)?).into_iter();
    let preferred_dirs = remotes
        .filter_map(|(uuid, mut settings)| {
            Some((uuid, as_text(&settings.remove(&b"preferreddir"[..])?)))
        })
        .collect();
    Ok(Book {
        trust,
        groups: group::parse(&read(group::PATH)?),
        preferred: wishes::parse(&read(wishes::PREFERRED)?),
        required: wishes::parse(&read(wishes::REQUIRED)?),
        group_preferred: wishes::parse_groups(&read(wishes::OF_GROUPS)?),
        max_sizes: maxsize::parse(&read(maxsize::PATH)?),
        preferred_dirs,
        numcopies: copies::parse(&read(copies::NUMCOPIES)?),
        clusters,
        proxied: proxy::parse(&read(proxy::PATH)?),
        descriptions: uuid::parse(&read(uuid::PATH)?),
    })
}

/// Whether an expression counts the copies that a file lacks.
fn asks_for_attributes(book: &Book) -> bool {
    let all = book.preferred.values().chain(book.required.values());
    let mut all = all.chain(book.group_preferred.values());
    all.any(|text| text.replace("approxlackingcopies", "").contains("lackingcopies"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logs that a book is read from.
const LOGS: [&[u8]; 11] = [
    trust::PATH,
    cluster::PATH,
    remote::PATH,
    group::PATH,
    wishes::PREFERRED,
    wishes::REQUIRED,
    wishes::OF_GROUPS,
    maxsize::PATH,
    copies::NUMCOPIES,
    proxy::PATH,
    uuid::PATH,
];
