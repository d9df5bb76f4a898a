//! Modes of files and directories below the annex directory (repository §2.3).

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use gannet_core::{Error, Result};

use crate::process::{Hook, run_on_path};
use crate::settings::{Settings, Shared};
use crate::step::{self, Step};

/// Makes a directory below the annex directory, and those above it that are missing, with the
/// modes that sharing asks for. Where the git directory itself is missing nothing is made: its disk
/// is not mounted any more, or somebody moved it. Returns the topmost directory that it had to make, if any.
pub(crate) fn make_dirs(path: &Path, settings: &Settings) -> io::Result<()> {
    match step::create_dir(Step::MakeDir, path) {
        Ok(()) => share_dir(path, settings),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let git = &settings.place.common_dir;
            let inside = |parent: &&Path| parent.starts_with(git) && parent != git;
            let parent = path.parent().filter(inside).ok_or(error)?;
            make_dirs(parent, settings)?;
            match step::create_dir(Step::MakeDir, path) {
                Ok(()) => share_dir(path, settings),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Gives a directory the mode that sharing asks for.
pub(crate) fn share_dir(path: &Path, settings: &Settings) -> io::Result<()> {
    if settings.crippled {
        return Ok(());
    }
    let mode = mode_of(path)?;
    match settings.shared {
        Shared::Umask => Ok(()),
        shared => set_mode(path, shared_dir(mode, shared)),
    }
}

/// The mode that a directory below the annex directory, with mode `mode`, should have.
pub(crate) fn shared_dir(mode: u32, shared: Shared) -> u32 {
    match shared {
        Shared::Umask => mode,
        Shared::Group => mode | 0o070,
        Shared::All => mode | 0o075,
        Shared::Octal(octal) => dir_mode(octal),
    }
}

/// Gives a file that is not an object the mode that sharing asks for.
pub(crate) fn share_file(path: &Path, settings: &Settings) -> io::Result<()> {
    if settings.crippled {
        return Ok(());
    }
    let mode = mode_of(path)?;
    match settings.shared {
        Shared::Umask => Ok(()),
        shared => set_mode(path, shared_file(mode, shared)),
    }
}

/// The mode that a file which is not an object, with mode `mode`, should have.
pub(crate) fn shared_file(mode: u32, shared: Shared) -> u32 {
    match shared {
        Shared::Umask => mode,
        Shared::Group => mode | 0o060,
        Shared::All => mode | 0o064,
        Shared::Octal(octal) => octal & 0o666,
    }
}

/// Adds rights to what a file or directory has.
pub(crate) fn add_rights(path: &Path, rights: u32) -> io::Result<()> {
    let mode = mode_of(path)?;
    set_mode_if(path, mode, mode | rights)
}

/// Protects a file that is, or is to become, an object against writing.
///
/// # Errors
/// When the mode cannot be changed in a repository that is not shared.
pub(crate) fn protect_object(path: &Path, settings: &Settings) -> Result<()> {
    if settings.crippled {
        return Ok(());
    }
    let done = mode_of(path).and_then(|mode| set_mode(path, frozen_object(mode, settings)));
    judge(done, path, settings)
}

/// Tells the freeze hook that an object has been protected.
pub(crate) fn tell_frozen(path: &Path, settings: &Settings) {
    tell(Hook::FreezeContent, path, settings);
}

/// Lets an object be written or removed, then tells the thaw hook.
///
/// # Errors
/// As [`protect_object`] and [`tell_frozen`].
pub(crate) fn thaw_object(path: &Path, settings: &Settings) -> Result<()> {
    if !settings.crippled {
        let done = mode_of(path).and_then(|mode| set_mode(path, mode | writable(settings)));
        judge(done, path, settings)?;
    }
    tell(Hook::ThawContent, path, settings);
    Ok(())
}

/// Runs `work`, which changes entries of the key directory `dir`, with that directory writable,
/// and protects it again, also when `work` fails. `dir` may vanish meanwhile.
///
/// Another process may protect the directory in between: `work` is then tried again.
///
/// # Errors
/// What `work` reports, or a hook.
pub(crate) fn with_thawed_dir<T>(
    dir: &Path,
    settings: &Settings,
    mut work: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut tries = 0;
    let outcome = loop {
        thaw_dir(dir, settings)?;
        match work() {
            Err(Error::Disk { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied && tries < TRIES_MAX =>
            {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            outcome => break outcome,
        }
    };
    let frozen = freeze_dir(dir, settings);
    match outcome {
        Ok(value) => frozen.map(|()| value),
        Err(error) => Err(error),
    }
}

/// Lets entries of a key directory be changed. An absent directory is none of its business.
pub(crate) fn thaw_dir(dir: &Path, settings: &Settings) -> Result<()> {
    if !settings.crippled {
        match mode_of(dir) {
            Ok(mode) => {
                judge(set_mode_if(dir, mode, mode | writable(settings)), dir, settings)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::disk("read the mode of", dir, error)),
        }
    }
    tell(Hook::ThawContent, dir, settings);
    Ok(())
}

/// Protects a key directory again. An absent directory is none of its business.
pub(crate) fn freeze_dir(dir: &Path, settings: &Settings) -> Result<()> {
    if !settings.crippled {
        match mode_of(dir) {
            Ok(mode) => {
                judge(set_mode_if(dir, mode, frozen_dir(mode, settings.shared)), dir, settings)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::disk("read the mode of", dir, error)),
        }
    }
    tell(Hook::FreezeContent, dir, settings);
    Ok(())
}

/// Runs a hook. What it thinks of it is noted, and changes nothing, as in git-annex.
fn tell(hook: Hook, path: &Path, settings: &Settings) {
    if let Err(error) = run_on_path(settings, hook, path) {
        tracing::warn!("{}", error.chain());
    }
}

/// The mode that an object with mode `mode` should have.
pub(crate) fn frozen_object(mode: u32, settings: &Settings) -> u32 {
    let lock_is_the_object = settings.version.locks_the_object();
    match settings.shared {
        Shared::Umask => mode & !WRITE | 0o400,
        // In version 8 and 9 the object is the lock file: the group must be able to lock it.
        Shared::Group if lock_is_the_object => mode | 0o660,
        Shared::All if lock_is_the_object => mode | 0o666,
        Shared::Group => mode & !WRITE | 0o440,
        Shared::All => mode & !WRITE | 0o444,
        Shared::Octal(octal) if lock_is_the_object => octal & 0o666,
        Shared::Octal(octal) => octal & 0o666 & !WRITE,
    }
}

/// The mode that a key directory with mode `mode` should have.
pub(crate) fn frozen_dir(mode: u32, shared: Shared) -> u32 {
    match shared {
        Shared::Umask => mode & !WRITE | 0o500,
        Shared::Group => mode | 0o070,
        Shared::All => mode | 0o075,
        Shared::Octal(octal) => dir_mode(octal) & !0o200,
    }
}

/// The bits that make something writable for those who share the repository.
fn writable(settings: &Settings) -> u32 {
    match settings.shared {
        Shared::Umask => 0o200,
        Shared::Group | Shared::All => 0o660,
        Shared::Octal(octal) => 0o200 | octal & 0o060,
    }
}

/// The mode of a directory for an octal setting: searchable where it is readable, and setgid if
/// the group has any right.
fn dir_mode(octal: u32) -> u32 {
    let search = (octal & 0o444) >> 2;
    let setgid = if octal & 0o070 == 0 { 0 } else { 0o2000 };
    octal & 0o777 | search | setgid
}

/// In a shared repository somebody else may own the file: their mode is then as good as any.
fn judge(outcome: io::Result<()>, path: &Path, settings: &Settings) -> Result<()> {
    match outcome {
        Err(error) if settings.shared == Shared::Umask => {
            Err(Error::disk("change the mode of", path, error))
        }
        _ => Ok(()),
    }
}

fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    step::set_mode(Step::ChangeMode, path, mode)
}

fn set_mode_if(path: &Path, old: u32, new: u32) -> io::Result<()> {
    if old == new { Ok(()) } else { set_mode(path, new) }
}

/// All write bits.
const WRITE: u32 = 0o222;
/// How often a change is tried again when another process protects the directory in between.
const TRIES_MAX: u32 = 20;
/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::scratch::Scratch;

    #[test]
    fn nothing_is_made_where_a_repository_was() {
        let scratch = Scratch::new(true);
        let settings = scratch.settings();
        let deep = settings.annex.join("objects/a/b/c");
        make_dirs(&deep, &settings).unwrap();
        assert!(deep.is_dir());
        fs::rename(&scratch.path, scratch.path.with_extension("moved")).unwrap();
        for path in [&deep, &settings.annex] {
            let error = make_dirs(path, &settings).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
        assert!(!scratch.path.exists());
    }

    /// What the pinned git-annex gives to directories of objects.
    #[test]
    fn only_its_owner_is_kept_from_writing_to_a_directory_shared_by_number() {
        for (octal, frozen) in [
            (0o600, 0o500),
            (0o640, 0o2550),
            (0o644, 0o2555),
            (0o660, 0o2570),
            (0o664, 0o2575),
            (0o666, 0o2577),
        ] {
            assert_eq!(frozen_dir(0o755, Shared::Octal(octal)), frozen, "{octal:o}");
        }
    }
}
