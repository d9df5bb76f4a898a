//! An unlocked file in the work tree, which the real git-annex made, and which shows the content that
//! an operation is about.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use gannet_testkit::Sample;

use super::operation::Operation;

/// Adds the file, and drops its content again if that is to be put.
pub(crate) fn prepare(operation: Operation, dir: &Path, sample: &Sample) {
    if operation == Operation::RemoveUnlocked {
        git(dir, &["config", "annex.secure-erase-command", "true %file"]);
    }
    git(dir, &["config", "annex.thin", if operation.is_thin() { "true" } else { "false" }]);
    fs::write(file(dir), &sample.bytes).unwrap();
    git(dir, &["annex", "add", "--quiet", NAME]);
    git(dir, &["annex", "unlock", "--quiet", NAME]);
    git(dir, &["commit", "--quiet", "--message", "a file"]);
    let key = git(dir, &["annex", "lookupkey", NAME]);
    assert_eq!(key.trim().as_bytes(), sample.key.as_bytes());
    if operation.puts() {
        git(dir, &["annex", "drop", "--quiet", "--force", NAME]);
    }
    assert_eq!(git(dir, &["status", "--porcelain"]), "");
}

/// Looks at the file as the crash left it: it shows the content or stands for it, and is never in
/// between.
pub(crate) fn examine(operation: Operation, dir: &Path, context: &str) {
    let found = fs::read(file(dir)).unwrap_or_else(|error| panic!("{context}: no file: {error}"));
    let sample = operation.sample();
    assert!(found == sample.bytes || found == pointer(&sample), "{context}: the file is neither");
    let mode = fs::metadata(file(dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "{context}: {mode:o}");
}

/// Looks at it after the operation came to its end.
pub(crate) fn settled(operation: Operation, dir: &Path, context: &str) {
    examine(operation, dir, context);
    if operation.puts() {
        let sample = operation.sample();
        assert!(fs::read(file(dir)).unwrap() == sample.bytes, "{context}: it shows nothing");
    }
}

/// Whether the file in the work tree is the object itself.
pub(crate) fn is_shared(dir: &Path) -> bool {
    fs::metadata(file(dir)).unwrap().nlink() == 2
}

/// From which step on it matters that there is such a file.
pub(crate) fn first_step(operation: Operation, steps: &[String]) -> usize {
    let first = if operation.puts() { "MoveInObject" } else { "CreateTemporary" };
    match operation.has_unlocked_file() {
        true => steps.iter().position(|step| step == first).unwrap(),
        false => 0,
    }
}

/// Lets the real git-annex and git look whether the file seems to have changed.
pub(crate) fn expect_clean(dir: &Path, context: &str) {
    git(dir, &["annex", "restage", "--quiet"]);
    assert_eq!(git(dir, &["status", "--porcelain"]), "", "{context}");
}

/// Prepares to run a program in the repository, with the pinned git-annex at hand, and nothing of the
/// user's settings.
pub(crate) fn command(dir: &Path, program: &str) -> Command {
    let oracle = match std::env::var_os("GANNET_ORACLE") {
        Some(place) => PathBuf::from(place),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracle/bin"),
    };
    assert!(oracle.join("git-annex").exists(), "no git-annex in {}", oracle.display());
    // The package starts its program by way of an interpreter, which takes much longer than that.
    let packages = fs::read_dir(oracle.join("../lib")).into_iter().flatten().flatten();
    let packaged = packages.map(|version| version.path().join("site-packages/git_annex"));
    let oracle = packaged.into_iter().find(|dir| dir.join("git-annex").exists()).unwrap_or(oracle);
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .current_dir(dir.join("repo"))
        .env("PATH", format!("{}:{path}", oracle.display()))
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .envs([("GIT_AUTHOR_NAME", "test"), ("GIT_AUTHOR_EMAIL", "test@localhost")])
        .envs([("GIT_COMMITTER_NAME", "test"), ("GIT_COMMITTER_EMAIL", "test@localhost")]);
    command
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, "git").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn file(dir: &Path) -> PathBuf {
    dir.join("repo").join(NAME)
}

fn pointer(sample: &Sample) -> Vec<u8> {
    [b"/annex/objects/", &*sample.key.file_name(), b"\n"].concat()
}

const NAME: &str = "a.dat";
