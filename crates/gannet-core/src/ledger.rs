//! What a repository knows of who holds and who wants what, lent to proxies and clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::annex::AssociatedFile;
use crate::error::Result;
use crate::key::Key;
use crate::uuid::{ClusterUuid, Uuid};

/// The second, small promise: the git-annex branch of one repository, as far as others need it.
///
/// Dropping the future of a verb ends it; what [`record`](Self::record) then left is nothing, or
/// all of it. No method has a default body.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// What is known about repositories. Cheap while nothing changed.
    ///
    /// # Errors
    /// When the branch cannot be read.
    async fn book(&self) -> Result<Arc<Book>>;

    /// What is known about one key.
    ///
    /// # Errors
    /// When the branch cannot be read.
    async fn facts(&self, key: &Key, file: &AssociatedFile) -> Result<Facts>;

    /// How much each repository holds, in bytes: the sum over all location logs. A repository that
    /// has a description has a size, be it 0; others have none while they hold nothing. Asked for
    /// only where there are limits, for it may have to read them all (preferred-content §7,
    /// "Sizes").
    ///
    /// # Errors
    /// When the branch cannot be read.
    async fn sizes(&self) -> Result<Arc<BTreeMap<Uuid, u64>>>;

    /// Records that `repository` has the content of `key`, or that it has it no longer. Once this
    /// returns `Ok`, that is durable. Clusters are in no location log: for the uuid of one
    /// nothing is done (proxy-cluster §1).
    ///
    /// # Errors
    /// When it cannot be recorded.
    async fn record(&self, key: &Key, repository: &Uuid, present: bool) -> Result<()>;
}

/// What the git-annex branch says about repositories, at one moment (preferred-content §1,
/// proxy-cluster §1). What is not configured is not in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// How far each repository is trusted; those that are missing are semitrusted.
    pub trust: BTreeMap<Uuid, Trust>,
    /// The groups of each repository.
    pub groups: BTreeMap<Uuid, BTreeSet<String>>,
    /// The expression of what each repository prefers to have.
    pub preferred: BTreeMap<Uuid, String>,
    /// The expression of what each repository must have.
    pub required: BTreeMap<Uuid, String>,
    /// The expression that `groupwanted` stands for, for each group.
    pub group_preferred: BTreeMap<String, String>,
    /// How many bytes each repository may hold.
    pub max_sizes: BTreeMap<Uuid, u64>,
    /// `preferreddir` of special remotes, for `inpreferreddir`.
    pub preferred_dirs: BTreeMap<Uuid, String>,
    /// How many copies there shall be, if that is set for all files.
    pub numcopies: Option<u64>,
    /// The nodes of each cluster, without dead ones.
    pub clusters: BTreeMap<ClusterUuid, BTreeSet<Uuid>>,
    /// What each gateway serves under other uuids than its own, and by which name.
    pub proxied: BTreeMap<Uuid, BTreeMap<Uuid, String>>,
    /// What people call each repository.
    pub descriptions: BTreeMap<Uuid, String>,
}

impl Book {
    /// How far a repository is trusted.
    #[must_use]
    pub fn trust(&self, repository: &Uuid) -> Trust {
        self.trust.get(repository).copied().unwrap_or_default()
    }

    /// The repositories that are in a group.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Uuid> {
        self.groups.iter().filter_map(move |(uuid, groups)| groups.contains(group).then_some(uuid))
    }
}

/// What is known about one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What is known about repositories.
    pub book: Arc<Book>,
    /// Who has the content, by its location log: dead repositories and clusters left out.
    pub holders: BTreeSet<Uuid>,
    /// How many copies of this file there shall be, if its `annex.numcopies` attribute says so.
    pub numcopies_of_file: Option<u64>,
    /// The current metadata: the values of each field. Case does not matter in names of fields.
    pub metadata: BTreeMap<String, BTreeSet<Vec<u8>>>,
    /// Where else the content may be had, without the prefix that names the kind of URL.
    pub urls: BTreeSet<String>,
    /// Whether the key is in the list of unused ones.
    pub unused: bool,
    /// Keys that are recorded to have the same content, if the key itself proves nothing (VURL).
    pub equivalents: Vec<Key>,
}

/// How far a repository is trusted, the least first (preferred-content §1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// It is gone for good.
    Dead,
    /// It may lose content at any time.
    Untrusted,
    /// It has what it says, once it was asked.
    #[default]
    Semitrusted,
    /// It has what it says, unasked.
    Trusted,
}
