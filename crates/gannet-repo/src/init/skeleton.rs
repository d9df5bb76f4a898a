//! An empty git repository, as `git init` makes it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::durable::sync_dir;
use crate::settings::OpenError;
use crate::step::{self, Step};

/// Creates an empty git repository at `path`, where nothing is yet, or what an earlier attempt
/// left. A repository with a work tree may also be made around files that are there. Durable.
///
/// # Errors
/// [`OpenError::InTheWay`], or a disk that refuses.
pub(super) fn create(path: &Path, bare: bool) -> Result<(), OpenError> {
    make_dir(path)?;
    let git_dir = if bare { path.to_owned() } else { path.join(".git") };
    if bare {
        refuse_others(path)?;
    }
    for dir in [
        "",
        "hooks",
        "info",
        "objects",
        "objects/info",
        "objects/pack",
        "refs",
        "refs/heads",
        "refs/tags",
    ] {
        make_dir(&git_dir.join(dir))?;
    }
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = {bare}\n{}",
        if bare { "" } else { "\tlogallrefupdates = true\n" }
    );
    write(&git_dir.join("description"), DESCRIPTION)?;
    write(&git_dir.join("info/exclude"), EXCLUDE)?;
    write(&git_dir.join("config"), &config)?;
    // Without HEAD it is no git repository: what is interrupted before here is begun anew.
    write(&git_dir.join("HEAD"), "ref: refs/heads/main\n")?;
    for dir in [
        "objects/info",
        "objects/pack",
        "objects",
        "refs/heads",
        "refs/tags",
        "refs",
        "info",
        "hooks",
        "",
    ] {
        sync_dir(Step::SyncSkeletonDir, &git_dir.join(dir))?;
    }
    let path = fs::canonicalize(path).map_err(|error| OpenError::disk("find", path, error))?;
    for dir in path.ancestors() {
        sync_dir(Step::SyncSkeletonDir, dir)?;
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), OpenError> {
    match step::create_dir_all(Step::MakeSkeletonDir, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(OpenError::InTheWay { path: path.to_owned() })
        }
        made => made.map_err(|error| OpenError::disk("create", path, error)),
    }
}

/// Refuses a directory with other entries than those we make ourselves.
fn refuse_others(path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::disk("list", path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !OWN_NAMES.iter().any(|own| name == *own) {
            return Err(OpenError::InTheWay { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Writes a file beside its place, syncs and renames it.
fn write(path: &Path, text: &str) -> Result<(), OpenError> {
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        step::write(Step::WriteSkeleton, &mut file, text.as_bytes())?;
        step::sync(Step::SyncSkeleton, &file)?;
        step::rename(Step::MoveSkeleton, &beside, path)
    });
    written.map_err(|error| OpenError::disk("create", path, error))
}

/// `lost+found` is what a new file system has at its top.
const OWN_NAMES: [&str; 12] = [
    "HEAD.new",
    "config",
    "config.new",
    "description",
    "description.new",
    "hooks",
    "info",
    "objects",
    "refs",
    "branches",
    "annex",
    "lost+found",
];
const DESCRIPTION: &str =
    "Unnamed repository; edit this file 'description' to name the repository.\n";
const EXCLUDE: &str = "# Patterns of files that git shall ignore in this repository only.\n";
