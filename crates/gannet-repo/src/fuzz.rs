//! What the fuzz targets feed: readers of files that others wrote. Each checks what must hold
//! whatever it is fed, and panics if it does not.

use std::path::Path;
use std::str::FromStr;

use gannet_core::{Key, Uuid, WallTime};

use crate::keys_db::InodeCache;
use crate::logs::location::{LocationLog, Status, union};
use crate::logs::{
    cluster, copies, equivalent, group, maxsize, metadata, proxy, remote, trust, uuid, web, wishes,
};
use crate::{journal, pointer};

/// A location log: reading and writing it loses nothing, noting something is noted, and uniting
/// two is the same in whatever order.
pub fn location_log(text: &[u8]) {
    let (one, other) = text.split_at(text.len() / 2);
    let log = LocationLog::parse(text);
    let written = log.to_bytes();
    holds(LocationLog::parse(&written) == log, "a log that is written is read back");
    let merged = union(one, other);
    holds(union(other, one) == merged, "it does not matter which comes first");
    holds(union(&merged, one) == merged, "what was united has both already");
    let Ok(here) = Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001") else { return };
    let mut noted = log;
    let now = WallTime { seconds: 1_795_352_264, nanos: 5 };
    noted.set(&here, Status::Present, now);
    noted.set(&here, Status::Missing, now);
    let read = LocationLog::parse(&noted.to_bytes());
    holds(read == noted, "what is noted is read back");
    holds(!noted.set(&here, Status::Missing, now), "what is known is not noted again");
}

/// `uuid.log`.
pub fn uuid_log(text: &[u8]) {
    let Ok(here) = Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001") else { return };
    let known = uuid::describes(text, &here);
    let line = uuid::line(&here, &String::from_utf8_lossy(text), WallTime { seconds: 1, nanos: 0 });
    holds(uuid::describes(&line, &here), "a description that is written is found");
    holds(line.iter().filter(|&&byte| byte == b'\n').count() == 1, "a description is one line");
    let more = [text, b"\n", &line[..]].concat();
    holds(uuid::describes(&more, &here) || !known, "a line more takes nothing away");
}

/// A log of equivalent keys.
pub fn equivalent_log(text: &[u8]) {
    for key in equivalent::parse(text) {
        holds(key.backend() != b"VURL", "a VURL proves nothing");
    }
}

/// The other logs that are read: whatever they hold, they can be.
pub fn branch_logs(text: &[u8]) {
    drop((trust::parse(text), group::parse(text), copies::parse(text), uuid::parse(text)));
    drop((wishes::parse(text), wishes::parse_groups(text), maxsize::parse(text)));
    drop((cluster::parse(text), remote::parse(text), metadata::parse(text), web::parse(text)));
    for name in proxy::parse(text).values().flat_map(|served| served.values()) {
        let harmless = !name.starts_with(['-', '.']) && !name.contains(['/', ':', ' ', '\'']);
        holds(harmless && !name.is_empty(), "a name of a remote can do no harm");
    }
}

/// A pointer file: one that is written is read back, and what is read is written so that it is
/// read back.
pub fn pointer_file(text: &[u8]) {
    if let Some(key) = pointer::parse(text)
        && key.check_storable().is_ok()
        && !key.as_bytes().ends_with(b"\r")
    {
        let read = pointer::parse(&pointer::write(&key));
        holds(read.as_ref() == Some(&key), "a pointer that is written is read back");
    }
    // A return at the end of a line is taken for part of it, as by git-annex.
    if let Ok(key) = Key::parse(text)
        && key.check_storable().is_ok()
        && !text.ends_with(b"\r")
    {
        let read = pointer::parse(&pointer::write(&key));
        holds(read.as_ref() == Some(&key), "a pointer to a key leads to it");
    }
}

/// Names of files in the journal.
pub fn journal_name(name: &[u8]) {
    if let Some(path) = journal::branch_path(name) {
        holds(!path.starts_with(b"/"), "a path in the branch is relative");
        let inside = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
        holds(path.split(|&byte| byte == b'/').all(inside), "and leads nowhere else");
    }
    let written = journal::file_name(name);
    holds(!written.contains(&b'/'), "a name has no slash");
}

/// An inode cache of the keys database: one that is written is read back.
pub fn inode_cache(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(cache) = InodeCache::from_str(text) {
        let read = InodeCache::from_str(&cache.to_string());
        holds(read.is_ok_and(|read| read == cache), "a cache that is written is read back");
    }
}

/// The keys database as a file of any bytes: what cannot be read is an error.
pub fn keys_db(file: &Path) {
    let Ok(key) = Key::parse(b"SHA256E-s3--0123") else { return };
    if let Ok(db) = crate::keys_db::KeysDb::open_file(file) {
        drop((db.files(&key), db.known(&key), db.forget(&key)));
    }
}

fn holds(truth: bool, what: &str) {
    assert!(truth, "{what}");
}
