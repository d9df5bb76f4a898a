//! Files to annex: of every kind of key, of every awkward size, under every awkward name.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::scene::Scene;
use crate::harness::Seeded;

/// A file that is annexed in the client's repository.
pub(super) struct Annexed {
    path: PathBuf,
    content: Vec<u8>,
}

impl Annexed {
    /// Returns the file name of its key (repository §1.4).
    pub(super) fn key_file(&self) -> Vec<u8> {
        let object = fs::read_link(&self.path)
            .unwrap_or_else(|error| panic!("{} is no link: {error}", self.path.display()));
        object.file_name().expect("the name of an object").as_bytes().to_vec()
    }

    /// Returns its key, which must need no escape as a file name.
    pub(super) fn key(&self) -> String {
        let name = String::from_utf8(self.key_file()).expect("a key of ASCII");
        assert!(!name.contains(['&', '%']), "`{name}` is not the key itself");
        name
    }

    /// Returns how many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.content.len() as u64
    }

    /// Tells whether its content is here.
    pub(super) fn is_here(&self) -> bool {
        self.path.exists()
    }

    /// Fails unless its content is here, and is what was added.
    #[track_caller]
    pub(super) fn expect_whole(&self) {
        let found = fs::read(&self.path).expect("read an annexed file");
        assert!(found == self.content, "{} has other content than was added", self.path.display());
    }
}

/// Returns the names of the keys of all `files`.
pub(super) fn keys_of(files: &[Annexed]) -> BTreeSet<Vec<u8>> {
    files.iter().map(Annexed::key_file).collect()
}

/// Returns how many bytes they have together.
pub(super) fn bytes_of(files: &[Annexed]) -> u64 {
    files.iter().map(Annexed::len).sum()
}

/// Adds files of each kind of key, each kind under names with a space, with UTF-8 and with bytes
/// that are neither; two keys have such names themselves.
pub(super) fn of_every_kind(scene: &Scene) -> Vec<Annexed> {
    let mut chance = Seeded::new(2);
    let mut files = Vec::new();
    for (number, backend) in BACKENDS.iter().enumerate() {
        let names = [&b" with a space.txt"[..], "-ünï€.tar.gz".as_bytes(), b"-\xff\xfe\xc3.bin"];
        let contents = [1, 2, 3].map(|more| chance.bytes(1000 + 10 * number + more));
        let named = names.into_iter().zip(contents).map(|(name, content)| {
            let name = [backend.as_bytes(), name].concat();
            (OsString::from_vec(name), content)
        });
        files.extend(add(scene, backend, named.collect()));
    }
    for (name, key) in NAMED_KEYS {
        let content = chance.bytes(777);
        files.push(add_as_key(scene, key, name, content));
    }
    scene.world.git(&scene.client, &["commit", "-q", "-m", "files of every kind"]);
    files
}

/// Adds empty files, files of one byte and files at the boundaries of chunks.
pub(super) fn of_every_size(scene: &Scene) -> Vec<Annexed> {
    let mut chance = Seeded::new(3);
    let around = |size: usize| [size - 1, size, size + 1];
    let sizes = CHUNKS.into_iter().flat_map(around).chain([0, 1]);
    let named = sizes
        .map(|size| (OsString::from(format!("{size}.bin")), pattern(chance.below(u64::MAX), size)));
    let files = add(scene, "SHA256E", named.collect());
    scene.world.git(&scene.client, &["commit", "-q", "-m", "files of every size"]);
    files
}

/// Adds one file of `len` bytes and commits it.
pub(super) fn of_size(scene: &Scene, name: &str, len: usize) -> Annexed {
    let content = pattern(name.len() as u64 + len as u64, len);
    let mut files = add(scene, "SHA256E", vec![(name.into(), content)]);
    scene.world.git(&scene.client, &["commit", "-q", "-m", "one more file"]);
    files.remove(0)
}

/// Makes `len` bytes in which no two blocks are alike, faster than chance could.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let block = Seeded::new(seed).bytes(4088);
    let mut content = Vec::with_capacity(len + 4096);
    let mut number = 0_u64;
    while content.len() < len {
        content.extend_from_slice(&block[..8]);
        content.extend_from_slice(&number.to_le_bytes());
        content.extend_from_slice(&block[8..]);
        number += 1;
    }
    content.truncate(len);
    content
}

/// Names that are not UTF-8 are not found by git-annex as arguments, so all that is new is added.
fn add(scene: &Scene, backend: &str, named: Vec<(OsString, Vec<u8>)>) -> Vec<Annexed> {
    let write = |(name, content)| {
        let path = scene.client.join(name);
        fs::write(&path, &content).expect("write a file");
        Annexed { path, content }
    };
    let files = named.into_iter().map(write).collect();
    let backend = format!("--backend={backend}");
    scene.world.annex(&scene.client, &["add", "--quiet", &backend, "."]);
    files
}

fn add_as_key(scene: &Scene, key: &[u8], name: &str, content: Vec<u8>) -> Annexed {
    let source = scene.world.fresh("source");
    fs::write(&source, &content).expect("write content");
    let key = OsStr::from_bytes(key);
    let annex = |verb| ["git", "annex", verb].map(OsStr::new);
    scene
        .run_os(&scene.client, &[&annex("setkey")[..], &[key, source.as_ref()]].concat())
        .expect_ok();
    let name_and_key = [key, OsStr::new(name)];
    scene.run_os(&scene.client, &[&annex("fromkey")[..], &name_and_key].concat()).expect_ok();
    Annexed { path: Path::join(&scene.client, name), content }
}

const BACKENDS: [&str; 7] =
    ["SHA256E", "MD5E", "SHA3_256E", "BLAKE2B256E", "BLAKE3_256E", "XXH3E", "WORM"];
/// A key of a url has no hash and here no size; the others hold what a url cannot hold plainly.
const NAMED_KEYS: [(&str, &[u8]); 4] = [
    ("url", b"URL--http&c%%example.org%page"),
    ("url with size", b"URL-s777--http://example.org/a b?c=d&e=%20#f"),
    ("raw", b"WORM-s777-m1--r\xff\xfew \xc3\xbc"),
    ("bracketed", b"WORM-s777-m2--[brackets]"),
];
/// Chunks of the git-annex client (p2p-http §7.1), and those programs like to use.
const CHUNKS: [usize; 4] = [32752, 65536, 262_144, 1_048_576];
