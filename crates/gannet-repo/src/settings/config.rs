//! Reads git's configuration.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use gannet_core::Uuid;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::config::{File, Source};

use super::place::is_dot_git;
use super::{OpenError, Place, Reflog, Version, values};

/// A configuration, with everything in it that was included.
pub(crate) struct Config {
    pub(super) file: File,
    pub(crate) work_tree: Option<PathBuf>,
}

impl Config {
    /// Reads the whole effective configuration of a repository, unless it belongs to somebody
    /// whom neither we nor `safe.directory` trust. Hands over the open repository too.
    ///
    /// # Errors
    /// [`OpenError::Untrusted`], [`OpenError::Unsupported`], or [`OpenError::Git`].
    pub(crate) fn read(place: &Place) -> Result<(Self, gix::Repository), OpenError> {
        Self::own_files(place)?.refuse_unsupported(place)?;
        let repo = open(place)?;
        let file = repo.config_snapshot().plumbing().clone();
        // A `.git` file or symlink does not show from the git directory that it leads to.
        let named = file.string("core.worktree").is_none() && place.top != place.git_dir;
        let work_tree = match named {
            true => Some(place.top.clone()),
            false => repo.workdir().map(PathBuf::from),
        };
        Ok((Self { file, work_tree }, repo))
    }

    /// Reads the repository's own configuration files only, without what they include.
    ///
    /// # Errors
    /// [`OpenError::Git`] when one is broken.
    pub(crate) fn own_files(place: &Place) -> Result<Self, OpenError> {
        let mut file = File::default();
        for path in place.config_files() {
            if path.exists() {
                let own = File::from_path_no_includes(path, Source::Local)
                    .map_err(|error| git_error(place, &error))?;
                file.append(own).map_err(|error| git_error(place, &error))?;
            }
        }
        Ok(Self { file, work_tree: None })
    }

    /// Whether these, the repository's own files, let anybody reach something through it, together with
    /// those of the user and of the system. Broken ones are told of when the repository is opened.
    pub(super) fn has_gates(&self, place: &Place) -> bool {
        let mut file = File::from_globals().unwrap_or_default();
        if let Err(error) = file.append(self.file.clone()) {
            tracing::debug!("{}", describe(&error));
            return true;
        }
        Self { file, work_tree: None }.remotes(&place.top).has_gates()
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.file.sections().filter_map(|section| section.meta().path.clone())
    }

    /// The uuid and version, if they make the repository usable (repository §3.2).
    ///
    /// # Errors
    /// [`OpenError`], one for each other state.
    pub(crate) fn identity(&self, place: &Place) -> Result<(Uuid, Version), OpenError> {
        let path = || place.git_dir.clone();
        let half = |present, absent| OpenError::HalfConfigured { path: path(), present, absent };
        match (self.uuid(place)?, self.text(VERSION).filter(|text| !text.is_empty())) {
            (Some(uuid), Some(version)) => match version.as_str() {
                "8" => Ok((uuid, Version::V8)),
                "9" => Ok((uuid, Version::V9)),
                "10" => Ok((uuid, Version::V10)),
                _ => Err(OpenError::Version { path: path(), version }),
            },
            (Some(_), None) => Err(half(UUID, VERSION)),
            (None, Some(_)) => Err(half(VERSION, UUID)),
            (None, None) => Err(match (has_annex_branch(place)?, has_objects(place)) {
                (false, _) => OpenError::NotAnnex { path: path() },
                (true, true) => OpenError::ConfigLost { path: path() },
                (true, false) => OpenError::Uninitialised { path: path() },
            }),
        }
    }

    /// `annex.uuid`, if it is set.
    ///
    /// # Errors
    /// [`OpenError::BadUuid`].
    pub(crate) fn uuid(&self, place: &Place) -> Result<Option<Uuid>, OpenError> {
        match self.bytes(UUID) {
            Some(text) if !text.is_empty() => Uuid::parse(&text)
                .map(Some)
                .map_err(|_| OpenError::BadUuid { path: place.git_dir.clone() }),
            _ => Ok(None),
        }
    }

    /// Decides as git does: what `core.bare` says, else whether the directory is called `.git`.
    /// A linked worktree is never bare, even that of a bare repository.
    pub(crate) fn is_bare(&self, place: &Place) -> bool {
        place.git_dir == place.common_dir
            && self.bool("core.bare", !is_dot_git(&place.git_dir) && self.work_tree.is_none())
    }

    pub(crate) fn reflog(&self, bare: bool) -> Reflog {
        let branches = match self.text("core.logallrefupdates") {
            Some(text) if text.eq_ignore_ascii_case("always") => true,
            Some(text) => values::boolean(&text).unwrap_or(!bare),
            None => !bare,
        };
        if branches { Reflog::Branches } else { Reflog::Existing }
    }

    /// Uuids of remotes of which nothing must be recorded in the branch (repository §3.5).
    pub(crate) fn private_remotes(&self) -> BTreeSet<Uuid> {
        let mut uuids = BTreeSet::new();
        for section in self.file.sections_by_name("remote").into_iter().flatten() {
            let Some(name) = section.header().subsection_name().map(BStr::to_owned) else {
                continue;
            };
            let key = |key: &str| format!("remote.{}.{key}", name.to_str_lossy());
            if self.bool(&key("annex-private"), false) {
                let uuid = self.bytes(&key("annex-uuid")).and_then(|uuid| Uuid::parse(&uuid).ok());
                uuids.extend(uuid);
            }
        }
        uuids
    }

    /// A boolean; anything that is not one counts as not set. A key without value is true.
    pub(crate) fn bool(&self, key: &str, default: bool) -> bool {
        match self.file.string_implicit(key) {
            Some(Some(value)) => values::boolean(&value.to_str_lossy()).unwrap_or(default),
            Some(None) => true,
            None => default,
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.bytes(key).map(|value| value.to_str_lossy().into_owned())
    }

    pub(crate) fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match self.file.string_implicit(key)? {
            Some(value) => parse(&value.to_str_lossy()),
            None => parse("true"),
        }
    }

    pub(crate) fn command(&self, key: &str) -> Option<OsString> {
        self.bytes(key)
            .filter(|value| !value.is_empty())
            .map(|value| OsString::from_vec(value.into()))
    }

    pub(super) fn bytes(&self, key: &str) -> Option<BString> {
        self.file.string_implicit(key).map(Option::unwrap_or_default)
    }

    fn refuse_unsupported(&self, place: &Place) -> Result<(), OpenError> {
        for (key, supported) in [("objectformat", "sha1"), ("refstorage", "files")] {
            if let Some(value) = self.text(&format!("extensions.{key}"))
                && !value.eq_ignore_ascii_case(supported)
            {
                let what = format!("extensions.{key} {value}");
                return Err(OpenError::Unsupported { path: place.git_dir.clone(), what });
            }
        }
        Ok(())
    }
}

/// Where the configuration of the system and of the user would be.
pub(super) fn global_files() -> BTreeSet<PathBuf> {
    let all = [Source::GitInstallation, Source::System, Source::Git, Source::User].into_iter();
    all.filter_map(|source| source.storage_location(&mut |name| std::env::var_os(name))).collect()
}

/// Opens the git repository, refusing one that belongs to somebody else.
///
/// # Errors
/// [`OpenError::Untrusted`] or [`OpenError::Git`].
pub(crate) fn open(place: &Place) -> Result<gix::Repository, OpenError> {
    let options = gix::open::Options::default().bail_if_untrusted(true).open_path_as_is(true);
    gix::ThreadSafeRepository::open_opts(&place.git_dir, options)
        .map(|repo| repo.to_thread_local())
        .map_err(|error| {
            let mine = |path| gix::sec::identity::is_path_owned_by_current_user(path);
            if mine(&place.git_dir).unwrap_or(true) && mine(&place.top).unwrap_or(true) {
                git_error(place, &error)
            } else {
                OpenError::Untrusted { path: place.git_dir.clone() }
            }
        })
}

/// Whether there is a reference, anywhere, whose last component is `git-annex`.
pub(super) fn has_annex_branch(place: &Place) -> Result<bool, OpenError> {
    let repo = open(place)?;
    let references = repo.references().map_err(|error| git_error(place, &error))?;
    let mut all = references.all().map_err(|error| git_error(place, &error))?;
    Ok(all.any(|found| {
        found.is_ok_and(|reference| reference.name().as_bstr().ends_with(b"/git-annex"))
    }))
}

fn has_objects(place: &Place) -> bool {
    place.common_dir.join("annex/objects").exists()
}

fn git_error(place: &Place, error: &gix::Error) -> OpenError {
    OpenError::Git { path: place.git_dir.clone(), why: describe(error) }
}

/// What an error of the git library says, with its causes, on one line.
pub(crate) fn describe(error: &gix::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.replace('\n', " ")
}

const UUID: &str = "annex.uuid";
const VERSION: &str = "annex.version";
