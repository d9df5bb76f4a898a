//! What a repository's configuration says that matters to a server (repository §3, §9).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::Uuid;
use gannet_core::place::Levels;

mod change;
mod config;
mod open_error;
mod place;
mod remotes;
mod signature;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use change::{remove_abandoned_lock, set_values};
pub use open_error::OpenError;
pub(crate) use place::Place;
pub use remotes::{Jobs, Location, Remote, Remotes};
use signature::Signature;

use crate::process::{Hook, Program};
use config::has_annex_branch;
pub(crate) use config::{Config, describe, open};

/// The settings of one repository, and where its directories are, at the moment of reading.
///
/// An operation keeps one of these, so that no setting changes in its middle; the next one asks
/// [`Settings::is_current`] first, which costs some looks at the disk.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where the directories are.
    pub(crate) place: Place,
    /// The annex directory, which has `objects/`, `journal/` and the rest.
    pub(crate) annex: PathBuf,
    /// Where `keysdb/` is: the annex directory, or one of its own by `annex.dbdir`.
    pub(crate) keys_db_dir: PathBuf,
    /// Top of the work tree; `None` if bare.
    pub(crate) work_tree: Option<PathBuf>,
    /// `annex.uuid`.
    pub(crate) uuid: Uuid,
    /// `annex.version`.
    pub(crate) version: Version,
    /// `core.bare`.
    pub(crate) bare: bool,
    /// `core.symlinks`.
    pub(crate) symlinks: bool,
    /// `core.sharedRepository`.
    pub(crate) shared: Shared,
    /// `core.logAllRefUpdates`.
    pub(crate) reflog: Reflog,
    /// From `annex.tune.objecthash1`.
    pub(crate) object_levels: Levels,
    /// `annex.tune.objecthashlower`.
    pub(crate) object_hash_lower: bool,
    /// From `annex.tune.branchhash1`.
    pub(crate) branch_levels: Levels,
    /// `annex.crippledfilesystem`.
    pub(crate) crippled: bool,
    /// `annex.private`.
    pub(crate) private: bool,
    /// Uuids of remotes with `annex-private`.
    pub(crate) private_remotes: BTreeSet<Uuid>,
    /// `annex.pidlock`: the repository must not be written.
    pub(crate) pidlock: bool,
    /// `annex.thin`.
    pub(crate) thin: bool,
    /// `annex.diskreserve` in bytes.
    pub(crate) disk_reserve: u64,
    /// `annex.securehashesonly`.
    pub(crate) secure_hashes_only: bool,
    /// `annex.trashbin`: content must not be removed.
    pub(crate) trashbin: Option<String>,
    /// `annex.alwayscommit`.
    pub(crate) always_commit: bool,
    /// `annex.alwayscompact`.
    pub(crate) always_compact: bool,
    /// `annex.merge-annex-branches`.
    pub(crate) merge_annex_branches: bool,
    /// `annex.commitmessage`.
    pub(crate) commit_message: Option<String>,
    /// The other repositories that it knows.
    pub(crate) remotes: Arc<Remotes>,
    commands: Commands,
    signature: Signature,
}

/// A version of repository that Gannet works with (repository §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// 8.
    V8,
    /// 9.
    V9,
    /// 10.
    V10,
}

/// Whom the files of a repository are shared with (`core.sharedRepository`, repository §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Nobody but those whom the umask lets in.
    Umask,
    /// The group.
    Group,
    /// Everybody may read, the group may write.
    All,
    /// Exactly these permission bits, as for a file.
    Octal(u32),
}

/// Which references have their changes logged (`core.logAllRefUpdates`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reflog {
    /// Only those that have a log already.
    Existing,
    /// Branches too.
    Branches,
}

#[derive(Clone, Debug, Default)]
struct Commands {
    freeze_content: Option<OsString>,
    thaw_content: Option<OsString>,
    secure_erase: Option<OsString>,
    commit_message: Option<OsString>,
    post_update: Option<OsString>,
}

impl Settings {
    /// Opens the repository at `path`: a work tree, a bare repository, or a git directory.
    ///
    /// The whole effective configuration is read: that of the system and the user, the
    /// repository's own with its includes, and the environment; the last value wins.
    ///
    /// # Errors
    /// [`OpenError`] says for each kind of unusable repository what is the matter;
    /// [`OpenError::Uninitialised`] is the one that [`open_or_autoinit`](crate::init::open_or_autoinit)
    /// resolves.
    pub(crate) fn read(path: &Path) -> Result<Self, OpenError> {
        let place = Place::locate(path)?;
        let mut files: Vec<_> = place.config_files().into();
        files.extend(config::global_files());
        let mut signature = Signature::of(&files);
        let (mut config, _) = Config::read(&place)?;
        // What is included is known only once it was read; so then it is looked at, and read again.
        let included = config.files().filter(|file| !files.contains(file));
        let included: BTreeSet<_> = included.collect();
        if !included.is_empty() {
            files.extend(included);
            signature = Signature::of(&files);
            (config, _) = Config::read(&place)?;
        }
        let (uuid, version) = config.identity(&place)?;
        Ok(Self::from_config(&config, place, signature, uuid, version))
    }

    /// Tells whether the configuration files still are the ones that were read.
    pub(crate) fn is_current(&self) -> bool {
        self.signature.is_current()
    }

    /// The program that the owner wants run on some occasion: the hook file if there is one, else
    /// the configured command, else `None`.
    pub(crate) fn program(&self, hook: Hook) -> Option<Program> {
        let (name, command, placeholder) = match hook {
            Hook::FreezeContent => ("freezecontent", &self.commands.freeze_content, "%path"),
            Hook::ThawContent => ("thawcontent", &self.commands.thaw_content, "%path"),
            Hook::SecureErase => ("secure-erase", &self.commands.secure_erase, "%file"),
            Hook::CommitMessage => ("commitmessage", &self.commands.commit_message, ""),
            Hook::PostUpdate => ("post-update", &self.commands.post_update, ""),
        };
        self.place.program(name, command.as_ref(), placeholder)
    }

    /// Tells whether what is recorded about `uuid` must not leave this repository (§3.5).
    pub(crate) fn is_private(&self, uuid: &Uuid) -> bool {
        (self.private && *uuid == self.uuid) || self.private_remotes.contains(uuid)
    }

    fn from_config(
        config: &Config,
        place: Place,
        signature: Signature,
        uuid: Uuid,
        version: Version,
    ) -> Self {
        let bare = config.is_bare(&place);
        let levels = |one| if one { Levels::One } else { Levels::Two };
        let annex = place.common_dir.join("annex");
        let db_dir = config.text("annex.dbdir").filter(|dir| !dir.is_empty());
        Self {
            keys_db_dir: match db_dir {
                Some(dir) => place.top.join(dir).join(uuid.as_str()),
                None => annex.clone(),
            },
            annex,
            work_tree: config.work_tree.clone().filter(|_| !bare),
            uuid,
            version,
            bare,
            symlinks: config.bool("core.symlinks", true),
            shared: config.parsed("core.sharedrepository", values::shared).unwrap_or(Shared::Umask),
            reflog: config.reflog(bare),
            object_levels: levels(config.bool("annex.tune.objecthash1", false)),
            object_hash_lower: config.bool("annex.tune.objecthashlower", false),
            branch_levels: levels(config.bool("annex.tune.branchhash1", false)),
            crippled: config.bool("annex.crippledfilesystem", false),
            private: config.bool("annex.private", false),
            private_remotes: config.private_remotes(),
            pidlock: config.bool("annex.pidlock", false),
            thin: config.bool("annex.thin", false),
            disk_reserve: config
                .parsed("annex.diskreserve", values::size)
                .unwrap_or(DISK_RESERVE_BYTES),
            secure_hashes_only: config.bool("annex.securehashesonly", false),
            trashbin: config.text("annex.trashbin").filter(|remote| !remote.is_empty()),
            always_commit: config.bool("annex.alwayscommit", true),
            always_compact: config.bool("annex.alwayscompact", true),
            merge_annex_branches: config.bool("annex.merge-annex-branches", true),
            commit_message: config.text("annex.commitmessage").filter(|text| !text.is_empty()),
            remotes: Arc::new(config.remotes(&place.top)),
            commands: Commands {
                freeze_content: config.command("annex.freezecontent-command"),
                thaw_content: config.command("annex.thawcontent-command"),
                secure_erase: config.command("annex.secure-erase-command"),
                commit_message: config.command("annex.commitmessage-command"),
                post_update: config.command("annex.post-update-command"),
            },
            place,
            signature,
        }
    }
}

impl Version {
    /// Tells whether the object itself is what is locked, as before version 10 (§4.3).
    pub(crate) fn locks_the_object(self) -> bool {
        self < Self::V10
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V8 => "8",
            Self::V9 => "9",
            Self::V10 => "10",
        })
    }
}

/// What can be seen of a repository without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// `annex.uuid`.
    pub uuid: Uuid,
    /// Whether it may be a gateway; opening it will tell.
    pub may_be_gateway: bool,
}

/// Reads the uuid of the repository at `path` from its own configuration files alone, quickly and
/// without keeping anything open. What the user or the system configures for all repositories counts
/// only for whether it may be a gateway. `None`: it is no git repository, or has no uuid.
///
/// It does not tell whether the repository can be used: opening it does.
///
/// # Errors
/// When there is a repository whose configuration cannot be read.
pub fn peek(path: &Path) -> Result<Option<Glimpse>, OpenError> {
    let place = match Place::locate(path) {
        Ok(place) => place,
        Err(OpenError::NotGit { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let config = Config::own_files(&place)?;
    let may_be_gateway = || config.includes() || config.has_gates(&place);
    let glimpse = |uuid| Glimpse { uuid, may_be_gateway: may_be_gateway() };
    Ok(config.uuid(&place)?.map(glimpse))
}

/// What a git repository says of itself, before anybody works with it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `annex.uuid`; `None`: git-annex has not been used in it yet.
    pub uuid: Option<Uuid>,
    /// `core.gcrypt-id`.
    pub gcrypt_id: Option<String>,
    /// Whether it has a git-annex branch, its own or that of a remote.
    pub has_annex_branch: bool,
}

/// Reads what the git repository at `path` says of itself in its own configuration files, without
/// keeping anything open. Blocks.
///
/// # Errors
/// [`OpenError::NotGit`] when there is none, and whatever keeps its configuration from being read.
pub fn identify(path: &Path) -> Result<Identity, OpenError> {
    let place = Place::locate(path)?;
    let config = Config::own_files(&place)?;
    let uuid = config.uuid(&place)?;
    Ok(Identity {
        gcrypt_id: config.text("core.gcrypt-id"),
        has_annex_branch: uuid.is_some() || has_annex_branch(&place)?,
        uuid,
    })
}

/// Reads a size as git-annex spells them, in bytes: `100 MB`, `0.5gb`, `1 KiB`, `20 kilobytes`. `None`:
/// it is none.
#[must_use]
pub fn read_size(text: &str) -> Option<u64> {
    values::size(text)
}

const DISK_RESERVE_BYTES: u64 = 100_000_000;
