//! Every step on the disk that a crash may come after, or that may fail, by name.
//!
//! Whatever changes files in this room goes through here. With the feature `crash-points`, which
//! only this crate's own tests have, a process can be told to stop right after any step, as if it
//! were killed there, or (see [`faults`]) to find that the disk refuses it; without the feature
//! nothing is left of that.
//!
//! - `GANNET_CRASH_AT=NAME:N` kills the process when it passes the step for the N-th time, from 1.
//! - `GANNET_CRASH_LIST=FILE` appends the name of each step that is passed, one a line.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, linkat, renameat};

#[cfg(feature = "crash-points")]
pub mod faults;

macro_rules! steps {
    ($($name:ident)+) => {
        /// A step on the disk. Tests fail while there is one after which none of them crashes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Step { $($name),+ }

        /// The name of every step.
        #[cfg(feature = "crash-points")]
        pub const CRASH_POINTS: &[&str] = &[$(stringify!($name)),+];
    };
}

steps! {
    // Anywhere below the git directory.
    MakeDir ChangeMode SyncNewDir CreateTemporary WriteTemporary SyncTemporary DropTemporary
    CreateLockFile
    // Content on its way in.
    NoteTransfer ForgetFailure RemoveTransferNote RemoveTransferLock RestorePartial
    DropLostPartial TakePartial CreatePartial AppendPartial SyncPartial KeepPartial DropPartial
    MoveInObject SyncObjectDir RemoveLeftover RemoveWorkDir
    // Content at rest.
    RemoveObject SetAside SyncRemoval PruneDir RemoveLock RemoveRetention WriteRetention SyncRetention
    RemoveTrace KeepPlace ForgetPlace
    // Unlocked files in the work tree.
    CreateShown WriteShown SyncShown LinkShown KeepMode KeepTime NameToErase NoteRestage
    ReplaceInTree LearnFiles ForgetFiles
    // The journal and the git-annex branch.
    WriteJournal SyncJournal DeleteJournal WriteGitObject SyncGitObject SyncGitObjectDir
    TakeGitLock DropGitLock LogRef MoveRef SyncRef
    // What special remotes need to sign in.
    KeepCredentials SyncCredentials
    // Creating repositories.
    MakeSkeletonDir WriteSkeleton SyncSkeleton MoveSkeleton SyncSkeletonDir
    MoveConfig SyncConfigDir WriteSentinal WriteSentinalCache SyncSentinal
    WriteAttributes SyncAttributes
}

/// What only reads. Nothing changes by it, so no crash comes after it, but the disk may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At an object: whether it is there, and how large.
    AtObject,
    OpenObject,
    ReadObject,
    /// At a file that is read as a whole.
    ReadFile,
    ListJournal,
}

/// Comes before whatever only reads.
///
/// # Errors
/// When a test says that the disk refuses.
pub(crate) fn look(look: Look) -> io::Result<()> {
    #[cfg(feature = "crash-points")]
    faults::attempt(format!("{look:?}"))?;
    #[cfg(not(feature = "crash-points"))]
    let _ = look;
    Ok(())
}

/// Comes before a step that is done by other means than the functions here.
///
/// # Errors
/// When a test says that the disk refuses.
pub(crate) fn begin(step: Step) -> io::Result<()> {
    #[cfg(feature = "crash-points")]
    faults::attempt(format!("{step:?}"))?;
    #[cfg(not(feature = "crash-points"))]
    let _ = step;
    Ok(())
}

/// Says that a step was done by other means than the functions here.
pub(crate) fn done(step: Step) {
    #[cfg(feature = "crash-points")]
    crash::pass(step);
    #[cfg(not(feature = "crash-points"))]
    let _ = step;
}

pub(crate) fn rename(step: Step, from: &Path, to: &Path) -> io::Result<()> {
    perform(step, || fs::rename(from, to))
}

pub(crate) fn rename_into(step: Step, from: &Path, dir: &OwnedFd, name: &Path) -> io::Result<()> {
    perform(step, || Ok(renameat(CWD, from, dir, name)?))
}

/// Gives a file in an open directory a second name.
pub(crate) fn link_from(step: Step, dir: &OwnedFd, name: &Path, to: &Path) -> io::Result<()> {
    perform(step, || Ok(linkat(dir, name, CWD, to, AtFlags::empty())?))
}

pub(crate) fn remove_file(step: Step, path: &Path) -> io::Result<()> {
    perform(step, || fs::remove_file(path))
}

pub(crate) fn remove_dir(step: Step, path: &Path) -> io::Result<()> {
    perform(step, || fs::remove_dir(path))
}

pub(crate) fn remove_dir_all(step: Step, path: &Path) -> io::Result<()> {
    perform(step, || fs::remove_dir_all(path))
}

pub(crate) fn create_dir(step: Step, path: &Path) -> io::Result<()> {
    perform(step, || fs::create_dir(path))
}

pub(crate) fn create_dir_all(step: Step, path: &Path) -> io::Result<()> {
    perform(step, || fs::create_dir_all(path))
}

pub(crate) fn hard_link(step: Step, from: &Path, to: &Path) -> io::Result<()> {
    perform(step, || fs::hard_link(from, to))
}

pub(crate) fn set_mode(step: Step, path: &Path, mode: u32) -> io::Result<()> {
    perform(step, || fs::set_permissions(path, Permissions::from_mode(mode)))
}

pub(crate) fn set_modified(step: Step, file: &File, time: SystemTime) -> io::Result<()> {
    perform(step, || file.set_times(FileTimes::new().set_modified(time)))
}

pub(crate) fn sync(step: Step, file: &File) -> io::Result<()> {
    perform(step, || file.sync_all())
}

/// Replaces the content of a file, not atomically.
pub(crate) fn replace(step: Step, path: &Path, content: &[u8]) -> io::Result<()> {
    perform(step, || fs::write(path, content))
}

/// Writes to the end of a file. A crash may come in the middle, too, and so may an error.
pub(crate) fn write(step: Step, file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let middle = if cfg!(feature = "crash-points") { bytes.len() / 2 } else { 0 };
    let (first, second) = bytes.split_at(middle);
    if !first.is_empty() {
        perform(step, || file.write_all(first))?;
    }
    if second.is_empty() {
        return Ok(());
    }
    perform(step, || file.write_all(second))
}

/// Writes the rest of a file to the end of another. A crash or an error may come in the middle, too.
pub(crate) fn copy(step: Step, from: &mut File, to: &mut File) -> io::Result<()> {
    if cfg!(feature = "crash-points") {
        let half = from.metadata()?.len() / 2;
        perform(step, || io::copy(&mut from.take(half), to))?;
    }
    perform(step, || io::copy(from, to)).map(drop)
}

/// Does a step by other means than the functions here, whose errors are of another kind.
pub(crate) fn perform<T, E: From<io::Error>>(
    step: Step,
    action: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    begin(step)?;
    let outcome = action();
    if outcome.is_ok() {
        done(step);
    }
    outcome
}

#[cfg(feature = "crash-points")]
mod crash {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Step;

    struct Plan {
        list: Option<PathBuf>,
        at: Option<(String, u32)>,
        passed: AtomicU32,
    }

    static PLAN: OnceLock<Plan> = OnceLock::new();

    pub(super) fn pass(step: Step) {
        let plan = PLAN.get_or_init(Plan::from_environment);
        let name = format!("{step:?}");
        if let Some(list) = &plan.list {
            let file = OpenOptions::new().append(true).create(true).open(list);
            let noted = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
            if noted.is_err() {
                std::process::abort(); // the test must not take silence for "not passed"
            }
        }
        if let Some((at, count)) = &plan.at
            && *at == name
            && plan.passed.fetch_add(1, Ordering::SeqCst) + 1 == *count
        {
            let killed = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            if killed.is_err() {
                std::process::abort();
            }
            loop {
                std::thread::park(); // the signal is on its way
            }
        }
    }

    impl Plan {
        fn from_environment() -> Self {
            let at = std::env::var("GANNET_CRASH_AT").ok().and_then(|at| {
                let (name, count) = at.split_once(':')?;
                Some((name.to_owned(), count.parse().ok()?))
            });
            let list = std::env::var_os("GANNET_CRASH_LIST").map(PathBuf::from);
            Self { list, at, passed: AtomicU32::new(0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// What changes files, or makes changes durable.
    const BARE: [&str; 17] = [
        "fs::rename(",
        "fs::remove_",
        "fs::hard_link(",
        "fs::write(",
        "fs::copy(",
        "fs::create_dir",
        "fs::set_permissions(",
        "fs::symlink(",
        ".sync_all(",
        ".sync_data(",
        ".set_permissions(",
        ".set_len(",
        ".set_times(",
        "io::copy(",
        " linkat(",
        "renameat(",
        "write_all(",
    ];

    #[test]
    fn nothing_changes_files_without_saying_so() {
        let mut offences = Vec::new();
        for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("mod tests {").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let excused = EXCUSED.iter().any(|excused| line.contains(excused));
                if !excused && BARE.iter().any(|bare| line.contains(bare)) {
                    offences.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
        assert!(offences.is_empty(), "these belong into step.rs: {offences:#?}");
    }

    /// A line of the log of a reference is written at once, or not at all.
    const EXCUSED: [&str; 1] = ["file.write_all(line.as_bytes())"];

    const APART: [&str; 4] = ["step.rs", "tests.rs", "tests", "scratch.rs"];

    fn sources(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if APART.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                found.extend(sources(&path));
            } else {
                found.push(path);
            }
        }
        found
    }
}
