//! Creates repositories without git and git-annex (repository §3.3, §3.4).

use std::path::{Path, PathBuf};

use gannet_core::{Clock, Error, Result, Uuid};

use crate::branch;
use crate::durable::{Temporary, create_dirs, sync_dir};
use crate::git::{Found, Git};
use crate::journal;
use crate::keys_db::InodeCache;
use crate::logs::uuid;
use crate::settings::{Config, OpenError, Place, Settings, set_values};
use crate::step::Step;

#[cfg(test)]
pub(crate) mod scratch;
mod skeleton;
#[cfg(test)]
mod tests;

/// What a new repository shall be like.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// For people, e.g. `office server`; one line. Empty: the name of this machine and the path.
    pub description: String,
    /// Whether to make a repository without a work tree, if none is there yet.
    pub bare: bool,
    /// The uuid it shall have; `None` makes up a new one.
    pub uuid: Option<Uuid>,
}

/// Creates a git-annex repository at `path`, or makes one of the git repository there, or
/// completes one whose creation was interrupted; one that is complete stays as it is. Durable when
/// it returns. Returns the repository's uuid.
///
/// # Errors
/// [`OpenError::InTheWay`] when something else is there, [`OpenError::OtherUuid`] when it has
/// another uuid than the one asked for, and whatever else keeps a repository from being opened.
pub fn create(path: &Path, options: &InitOptions, clock: &dyn Clock) -> Result<Uuid, OpenError> {
    let place = match Place::locate(path) {
        Ok(place) => place,
        Err(OpenError::NotGit { .. }) => {
            skeleton::create(path, options.bare)?;
            Place::locate(path)?
        }
        Err(error) => return Err(error),
    };
    initialise(&place, options, clock)
}

/// Opens the repository at `path`, and first initialises it if it is a fresh clone of a git-annex
/// repository, as git-annex does on first use (repository §3.2).
///
/// # Errors
/// As [`Settings::read`]; [`OpenError::InitForbidden`] if the owner does not want that.
pub(crate) fn open_or_autoinit(path: &Path, clock: &dyn Clock) -> Result<Settings, OpenError> {
    match Settings::read(path) {
        Err(OpenError::Uninitialised { .. }) => {}
        opened => return opened,
    }
    let place = Place::locate(path)?;
    let (config, _) = Config::read(&place)?;
    let forbidden = |why| OpenError::InitForbidden { path: place.git_dir.clone(), why };
    if config.work_tree.as_ref().is_some_and(|top| top.join(".noannex").exists()) {
        return Err(forbidden("there is a file .noannex".to_owned()));
    }
    let command = config.command("annex.pre-init-command");
    if let Some(program) = place.program("pre-init", command.as_ref(), "") {
        program.run(&place.top, None).map_err(|error| forbidden(error.chain()))?;
    }
    let options = InitOptions { description: String::new(), bare: false, uuid: None };
    initialise(&place, &options, clock)?;
    Settings::read(path)
}

/// Every step looks whether it was done already, so that an interrupted run is completed by the
/// next.
fn initialise(place: &Place, options: &InitOptions, clock: &dyn Clock) -> Result<Uuid, OpenError> {
    configure(place, options)?;
    let settings = Settings::read(&place.top)?;
    if let Some(wanted) = &options.uuid
        && *wanted != settings.uuid
    {
        return Err(OpenError::OtherUuid { path: place.git_dir.clone(), uuid: settings.uuid });
    }
    create_dirs(&settings.annex, &settings)?;
    create_dirs(&settings.annex.join("journal"), &settings)?;
    create_sentinal(&settings)?;
    if !settings.bare {
        filter_files(&settings)?;
    }
    describe(&settings, &options.description, clock)?;
    Ok(settings.uuid)
}

/// Sets uuid and version, both or none of them at once, unless they are set.
fn configure(place: &Place, options: &InitOptions) -> Result<(), OpenError> {
    let (config, _) = Config::read(place)?;
    match config.identity(place) {
        Ok(_) => return Ok(()),
        Err(OpenError::NotAnnex { .. } | OpenError::Uninitialised { .. }) => {}
        Err(error) => return Err(error),
    }
    let uuid = match &options.uuid {
        Some(uuid) => uuid.clone(),
        None => random_uuid()?,
    };
    let mut values = vec![("annex.uuid", uuid.as_str()), ("annex.version", "10")];
    if !config.is_bare(place) {
        values.extend(FILTER);
    }
    set_values(place, &values)
}

/// A version 4 UUID that nobody else has.
///
/// # Errors
/// When the system has no random numbers.
fn random_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
    Ok(Uuid::from_random(bytes))
}

/// By the inode of this file git-annex notices that a repository was copied (§3.3).
fn create_sentinal(settings: &Settings) -> Result<()> {
    let path = settings.annex.join("sentinal");
    let cache = settings.annex.join("sentinal.cache");
    if path.exists() && cache.exists() {
        return Ok(());
    }
    Temporary::write(b"", settings)?.move_to(Step::WriteSentinal, &path)?;
    let found = path.metadata().map_err(|error| Error::disk("examine", &path, error))?;
    let stamp = InodeCache::of(&found).to_string();
    Temporary::write(stamp.as_bytes(), settings)?.move_to(Step::WriteSentinalCache, &cache)?;
    sync_dir(Step::SyncSentinal, &settings.annex)
}

/// Has git pass every file through git-annex, which unlocked files need.
fn filter_files(settings: &Settings) -> Result<()> {
    let info = settings.place.common_dir.join("info");
    create_dirs(&info, settings)?;
    let path = info.join("attributes");
    let mut text = crate::durable::read_if_exists(&path)?.unwrap_or_default();
    if text.split(|&byte| byte == b'\n').any(|line| line == ATTRIBUTES.as_bytes()) {
        return Ok(());
    }
    if text.last().is_some_and(|&last| last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(ATTRIBUTES.as_bytes());
    text.push(b'\n');
    Temporary::write(&text, settings)?.move_to(Step::WriteAttributes, &path)?;
    sync_dir(Step::SyncAttributes, &info)
}

/// Creates the branch, and in it the description of the repository, unless it has one.
fn describe(settings: &Settings, description: &str, clock: &dyn Clock) -> Result<()> {
    let git = Git::new(settings.place.clone());
    let _lock = journal::lock(settings)?;
    let session = git.session()?;
    for _ in 0..TRIES_MAX {
        let tip = branch::ensure(settings, &session, clock)?;
        let mut log = match session.find(tip, uuid::PATH)? {
            Found::Blob(log) => log,
            _ => Vec::new(),
        };
        if uuid::describes(&log, &settings.uuid) {
            return Ok(());
        }
        let now = clock.wall();
        let description = match description.trim() {
            "" => default_description(settings),
            description => description.to_owned(),
        };
        log.extend_from_slice(&uuid::line(&settings.uuid, &description, now));
        let mut draft = session.draft(Some(tip))?;
        draft.put(uuid::PATH, &log)?;
        let next = draft.commit("update", now, settings)?;
        if session.move_branch(Some(tip), next, "update", now, settings)? {
            return Ok(());
        }
    }
    Err(Error::Git { doing: "create the git-annex branch", why: "it keeps moving".to_owned() })
}

fn default_description(settings: &Settings) -> String {
    let path: PathBuf = settings.work_tree.clone().unwrap_or_else(|| settings.place.top.clone());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{machine}:{}", path.display())
}

/// As git-annex configures a repository with a work tree (§3.3).
const FILTER: [(&str, &str); 3] = [
    ("filter.annex.smudge", "git-annex smudge -- %f"),
    ("filter.annex.clean", "git-annex smudge --clean -- %f"),
    ("filter.annex.process", "git-annex filter-process"),
];
const ATTRIBUTES: &str = "* filter=annex";
const TRIES_MAX: u32 = 50;
