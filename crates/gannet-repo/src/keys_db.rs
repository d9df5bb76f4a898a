//! The keys database of git-annex: which files of the work tree belong to a key, and what they
//! looked like when they were known to have its content (repository §6.3).
//!
//! It belongs to git-annex, which may not have written its latest rows yet. So it is a hint: what
//! it says of a file is looked up on the disk, and where there is no database none is made.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use gannet_core::Key;
use rusqlite::{Connection, OpenFlags, Result, params};

use crate::settings::Settings;

/// The database, opened for one operation. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct KeysDb {
    connection: Connection,
}

impl KeysDb {
    /// Opens the database of a repository. `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(settings: &Settings) -> Result<Option<Self>> {
        let path = settings.keys_db_dir.join("keysdb/db");
        if settings.bare || !path.is_file() {
            return Ok(None);
        }
        Self::open_file(&path).map(Some)
    }

    /// Opens the file of a database, which may be of any kind.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_PATIENCE)?;
        // What a power cut takes away is a hint less; the database stays whole.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self { connection })
    }

    /// The files that may belong to `key`, relative to the top of the work tree.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn files(&self, key: &Key) -> Result<Vec<Vec<u8>>> {
        let query = "SELECT file FROM associated WHERE key = ? LIMIT ?";
        let mut query = self.connection.prepare(query)?;
        let rows = query.query_map(params![key.as_bytes(), ROWS_MAX], |row| row.get(0))?;
        rows.collect()
    }

    /// What files looked like that had the content of `key`: its object, and those in the work
    /// tree. What does not parse is left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn known(&self, key: &Key) -> Result<Vec<InodeCache>> {
        let query = "SELECT inodecache FROM content WHERE key = ? LIMIT ?";
        let mut query = self.connection.prepare(query)?;
        let rows =
            query.query_map(params![key.as_bytes(), ROWS_MAX], |row| row.get::<_, String>(0))?;
        let caches = rows.map(|row| row.map(|text| text.parse().ok()));
        Ok(caches.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Notes what files look like that have the content of `key`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(crate) fn learn(
        &self,
        key: &Key,
        caches: impl IntoIterator<Item = InodeCache>,
    ) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        for cache in caches {
            transaction.execute(
                "INSERT OR IGNORE INTO content (key, inodecache, filesize, mtime) \
                 VALUES (?, ?, ?, ?)",
                params![key.as_bytes(), cache.to_string(), cache.size.to_string(), cache.mtime.0],
            )?;
        }
        transaction.commit()
    }

    /// Forgets what files with the content of `key` looked like.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(crate) fn forget(&self, key: &Key) -> Result<()> {
        let query = "DELETE FROM content WHERE key = ?";
        self.connection.execute(query, params![key.as_bytes()]).map(drop)
    }
}

/// What tells one state of a file from another, in the way git-annex remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InodeCache {
    inode: u64,
    size: u64,
    /// Seconds, and nanoseconds of the second.
    mtime: (i64, u32),
}

/// How far an inode number can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A file has the inode that it had.
    Inodes,
    /// The repository was moved to another file system: inodes are others now, and times rounded.
    SizeAndTime,
}

impl InodeCache {
    /// What `metadata` tells.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let mtime = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        Self { inode: metadata.ino(), size: metadata.size(), mtime }
    }

    /// Whether both are of the same content.
    pub(crate) fn matches(&self, other: &Self, trust: Trust) -> bool {
        match trust {
            Trust::Inodes => self == other,
            Trust::SizeAndTime => {
                self.size == other.size && self.mtime.0.abs_diff(other.mtime.0) < 2
            }
        }
    }
}

impl Trust {
    /// Looks whether the sentinal still is the file that it was when the repository was made
    /// (repository §3.3).
    pub(crate) fn in_inodes_of(settings: &Settings) -> Self {
        let noted = fs::read_to_string(settings.annex.join("sentinal.cache"));
        let noted = noted.ok().and_then(|text| text.parse::<InodeCache>().ok());
        let found = fs::symlink_metadata(settings.annex.join("sentinal"));
        match (noted, found) {
            (Some(noted), Ok(found)) if noted == InodeCache::of(&found) => Self::Inodes,
            _ => Self::SizeAndTime,
        }
    }
}

impl std::fmt::Display for InodeCache {
    /// Writes inode, size, seconds, and the digits of a fraction of a second, which has no zeros at
    /// its end: nothing follows the last space if there is no fraction. git-annex compares texts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inode, size, mtime: (seconds, nanoseconds) } = self;
        let digits = format!("{nanoseconds:09}");
        write!(f, "{inode} {size} {seconds} {}", digits.trim_end_matches('0'))
    }
}

/// The text is no inode cache.
#[derive(Debug)]
pub(crate) struct BadInodeCache;

impl FromStr for InodeCache {
    type Err = BadInodeCache;

    /// Reads three numbers, and the fraction if there is one.
    fn from_str(text: &str) -> Result<Self, BadInodeCache> {
        fn number<T: FromStr>(word: Option<&str>) -> Result<T, BadInodeCache> {
            word.and_then(|word| word.parse().ok()).ok_or(BadInodeCache)
        }
        let mut words = text.split_ascii_whitespace();
        let (inode, size) = (number(words.next())?, number(words.next())?);
        let seconds = number(words.next())?;
        let digits = words.next().unwrap_or_default();
        if digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadInodeCache);
        }
        let nanoseconds = number(Some(&format!("{digits:0<9}")))?;
        match words.next() {
            Some(_) => Err(BadInodeCache),
            None => Ok(Self { inode, size, mtime: (seconds, nanoseconds) }),
        }
    }
}

/// How long another process may keep the database to itself.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// More files than any content has.
const ROWS_MAX: i64 = 100_000;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tables as git-annex makes them.
    const TABLES: &str = "
        PRAGMA journal_mode = WAL;
        CREATE TABLE associated (id INTEGER PRIMARY KEY, key BLOB NOT NULL, file BLOB NOT NULL,
            CONSTRAINT key_file_index UNIQUE (key, file),
            CONSTRAINT file_key_index UNIQUE (file, key));
        CREATE TABLE content (id INTEGER PRIMARY KEY, key BLOB NOT NULL,
            inodecache VARCHAR NOT NULL, filesize VARCHAR NOT NULL, mtime INTEGER NOT NULL,
            CONSTRAINT key_inode_cache_index UNIQUE (key, inodecache),
            CONSTRAINT inode_cache_key_index UNIQUE (inodecache, key));";

    /// Makes a database with these files of a key.
    pub(crate) fn make(annex: &Path, key: &Key, files: &[&[u8]]) {
        fs::create_dir_all(annex.join("keysdb")).unwrap();
        let connection = Connection::open(annex.join("keysdb/db")).unwrap();
        connection.execute_batch(TABLES).unwrap();
        for file in files {
            let query = "INSERT INTO associated (key, file) VALUES (?, ?)";
            connection.execute(query, params![key.as_bytes(), file]).unwrap();
        }
    }

    fn settings(dir: &tempfile::TempDir) -> Settings {
        let clock = gannet_testkit::TestClock::new();
        let path = dir.path().join("repo");
        let options =
            crate::InitOptions { description: "scratch".to_owned(), bare: false, uuid: None };
        crate::create(&path, &options, &*clock).unwrap();
        Settings::read(&path).unwrap()
    }

    fn key() -> Key {
        Key::parse(b"WORM-s3-m1--a").unwrap()
    }

    #[test]
    fn no_database_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir);
        assert!(KeysDb::open(&settings).unwrap().is_none());
        assert!(!settings.annex.join("keysdb").exists());
    }

    #[test]
    fn rows_are_learned_once_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir);
        make(&settings.annex, &key(), &[b"a", b"not \xff UTF-8"]);
        let db = KeysDb::open(&settings).unwrap().unwrap();
        assert_eq!(db.files(&key()).unwrap(), [&b"a"[..], b"not \xff UTF-8"]);
        let [one, two]: [InodeCache; 2] =
            ["1 3 1000 000000007", "2 3 1000 000000007"].map(|text| text.parse().unwrap());
        db.learn(&key(), [one, two]).unwrap();
        db.learn(&key(), [two]).unwrap();
        assert_eq!(db.known(&key()).unwrap(), [one, two]);
        let other = Key::parse(b"WORM-s3-m1--b").unwrap();
        db.learn(&other, [one]).unwrap();
        db.forget(&key()).unwrap();
        assert_eq!(db.known(&key()).unwrap(), []);
        assert_eq!(db.known(&other).unwrap(), [one]);
    }

    #[test]
    fn a_broken_database_is_an_error_and_nothing_worse() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir);
        fs::create_dir(settings.annex.join("keysdb")).unwrap();
        fs::write(settings.annex.join("keysdb/db"), "this is no database").unwrap();
        let outcome = KeysDb::open(&settings).and_then(|db| db.unwrap().files(&key()));
        assert!(outcome.is_err(), "{outcome:?}");
    }

    #[test]
    fn an_inode_cache_ends_with_a_fraction() {
        for (text, mtime) in [
            ("10494884 6 1795352934 086284501", (1_795_352_934, 86_284_501)),
            ("10494884 6 1795352934 93191119", (1_795_352_934, 931_911_190)),
            ("10494884 6 1795352934 05", (1_795_352_934, 50_000_000)),
            ("10494884 6 1795352934 ", (1_795_352_934, 0)),
            ("10494884 6 -3 ", (-3, 0)),
        ] {
            let cache: InodeCache = text.parse().unwrap();
            assert_eq!(cache, InodeCache { inode: 10_494_884, size: 6, mtime });
            assert_eq!(cache.to_string(), text);
        }
        for bad in ["", "1 2", "1 2 x 4", "1 2 3 4 5", "-1 2 3 4", "1 2 3 +4", "1 2 3 1234567890"] {
            assert!(bad.parse::<InodeCache>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn without_trust_in_inodes_size_and_time_decide() {
        let cache = |text: &str| text.parse::<InodeCache>().unwrap();
        let one = cache("1 3 1000 5");
        for (other, inodes, size_and_time) in [
            ("1 3 1000 5", true, true),
            ("2 3 1000 5", false, true),
            ("1 3 1001 5", false, true),
            ("1 3 1002 5", false, false),
            ("1 4 1000 5", false, false),
        ] {
            assert_eq!(one.matches(&cache(other), Trust::Inodes), inodes, "{other}");
            assert_eq!(one.matches(&cache(other), Trust::SizeAndTime), size_and_time, "{other}");
        }
    }

    #[test]
    fn a_repository_that_was_copied_does_not_trust_inodes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir);
        assert_eq!(Trust::in_inodes_of(&settings), Trust::Inodes);
        let sentinal = settings.annex.join("sentinal");
        fs::rename(&sentinal, dir.path().join("old")).unwrap();
        assert_eq!(Trust::in_inodes_of(&settings), Trust::SizeAndTime);
        fs::write(&sentinal, "").unwrap();
        assert_eq!(Trust::in_inodes_of(&settings), Trust::SizeAndTime);
    }
}
