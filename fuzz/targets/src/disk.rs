//! What files hold.

use std::fs;
use std::sync::OnceLock;

use gannet_repo::{InitOptions, Repo};
use gannet_testkit::TestClock;
use tempfile::TempDir;

/// The file of a keys database.
pub(crate) fn keys_db(bytes: &[u8]) {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let file = DIR.get_or_init(scratch).path().join("db");
    fs::write(&file, bytes).expect("a file");
    gannet_repo::fuzz::keys_db(&file);
}

/// A small database with the tables that are looked for would need sqlite to make; this is what
/// every database begins with.
pub(crate) fn databases() -> Vec<Vec<u8>> {
    let mut page = vec![0; 4096];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
    page[100] = 13;
    vec![page, b"SQLite format 3\0".to_vec(), Vec::new()]
}

/// The configuration of a repository.
pub(crate) fn config(text: &[u8]) {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let repo = DIR.get_or_init(|| {
        let dir = scratch();
        let clock = TestClock::new();
        let options = InitOptions { description: "fuzz".into(), bare: true, uuid: None };
        gannet_repo::create(dir.path(), &options, &*clock).expect("a repository");
        dir
    });
    // Whatever it says: no program may run, and nothing outside be read.
    let harmful: [&[u8]; 4] = [b"command", b"include", b"worktree", b"hookspath"];
    let lower = text.to_ascii_lowercase();
    if harmful.iter().any(|word| lower.windows(word.len()).any(|part| part == *word)) {
        return;
    }
    fs::write(repo.path().join("config"), text).expect("a configuration");
    drop(gannet_repo::peek(repo.path()));
    match Repo::open(repo.path(), TestClock::new()) {
        Ok(repo) => drop(repo),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// In memory, if there is such a place.
pub(crate) fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(dir) = TempDir::with_prefix_in("gannet-fuzz-", memory)
    {
        return dir;
    }
    TempDir::with_prefix("gannet-fuzz-").expect("a temporary directory")
}
