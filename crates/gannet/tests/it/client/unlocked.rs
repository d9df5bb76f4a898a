//! Unlocked files in the work tree of the served repository: they follow what comes and goes over
//! HTTP, and git-annex finds nothing to put right (repository §6.4).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::Value;

use crate::harness::http::api;
use crate::harness::repo::key_file;
use crate::harness::{CLIENT, Reply, Repo, Request, SERVER, Server, World};

use super::scene::{serve, text};

#[test]
fn they_show_content_that_comes_and_stand_for_content_that_goes() {
    comes_and_goes(&Tree::new("SHA256E", false));
}

/// Keys of this backend say nothing of the content but its size. The reference keeps what it knows
/// of a file in its memory for a while, and meanwhile git takes the file for another key.
#[test]
fn so_do_files_that_no_hash_vouches_for() {
    comes_and_goes(&Tree::new("WORM", false));
}

#[test]
fn so_do_files_that_share_the_space_of_the_object() {
    comes_and_goes(&Tree::new("SHA256E", true));
}

/// All files of such a branch are unlocked.
#[test]
fn so_do_files_of_an_adjusted_branch() {
    let mut tree = Tree::new("SHA256E", false);
    tree.world.annex(tree.repo.path(), &["adjust", "--quiet", "--unlock"]);
    tree.modes[2] = Some(0o644);
    comes_and_goes(&tree);
    let branch = tree.world.git(tree.repo.path(), &["symbolic-ref", "HEAD"]);
    assert_eq!(branch, "refs/heads/adjusted/main(unlocked)\n");
}

/// There the object itself is the lock file. The reference, when it removes it, leaves a thin file
/// that nobody may write to.
#[test]
fn so_do_files_of_a_repository_of_version_9() {
    for thin in [false, true] {
        let tree = Tree::new("SHA256E", thin);
        for setting in [["annex.version", "9"], ["annex.autoupgraderepository", "false"]] {
            tree.world.git(tree.repo.path(), &[&["config"], &setting[..]].concat());
        }
        comes_and_goes(&tree);
        assert_eq!(tree.world.git(tree.repo.path(), &["config", "annex.version"]), "9\n");
    }
}

#[test]
fn so_do_files_whose_database_is_elsewhere() {
    let world = World::new();
    let dir = world.join("databases");
    fs::create_dir(&dir).expect("make a directory");
    let tree = Tree::within(world, "SHA256E", &[("annex.dbdir", text(&dir))]);
    comes_and_goes(&tree);
    assert!(dir.join(SERVER).join("keysdb/db").exists(), "the database is not there");
    assert!(!tree.repo.annex_dir().join("keysdb").exists(), "the database is in two places");
}

#[test]
fn a_modified_file_is_left_alone() {
    let tree = Tree::new("SHA256E", false);
    let server = tree.serve();
    let [plain, tool, _] = tree.files();
    fs::write(&plain.path, "my own words").expect("modify a file");
    for file in tree.files() {
        tree.remove(&server, &file);
    }
    assert_eq!(fs::read(&plain.path).expect("read it"), b"my own words");
    tree.expect_pointer(&tool);
    tree.put(&server, &plain);
    tree.put(&server, &tool);
    assert_eq!(fs::read(&plain.path).expect("read it"), b"my own words");
    tree.expect_content(&tool);
    tree.restage();
    assert_eq!(tree.status(), " M plain\n");
    tree.repo.fsck(&tree.world);
}

/// With annex.thin, to modify a file is to modify the object. Of what is there then, nobody may
/// be told that it is the content (repository §6.5); of a WORM key the reference says it is.
#[test]
fn an_object_that_was_modified_through_its_file_is_no_content() {
    for backend in ["SHA256E", "WORM"] {
        let tree = Tree::new(backend, true);
        let server = tree.serve();
        let [plain, ..] = tree.files();
        tree.remove(&server, &plain);
        tree.put(&server, &plain);
        assert_eq!(tree.ask(&server, "checkpresent", &plain).member("present"), true, "{backend}");
        let other: Vec<u8> = plain.content.iter().map(|byte| byte ^ 1).collect();
        fs::write(&plain.path, &other).expect("modify a file");
        set_modified(&plain, SystemTime::UNIX_EPOCH); // the clock of a file system may be slow
        assert_eq!(tree.ask(&server, "checkpresent", &plain).member("present"), false, "{backend}");
        assert_eq!(tree.ask(&server, "lockcontent", &plain).member("locked"), false, "{backend}");
        tree.remove(&server, &plain);
        assert!(fs::read(&plain.path).expect("read it") == other, "{backend}: it is gone");
    }
}

/// What git-annex populates of another's is right for Gannet, and the other way round.
#[test]
fn git_annex_drops_what_gannet_stored() {
    for thin in [false, true] {
        let tree = Tree::new("SHA256E", thin);
        let server = tree.serve();
        for file in tree.files() {
            tree.remove(&server, &file);
            tree.put(&server, &file);
        }
        tree.world.annex(tree.repo.path(), &["drop", "--force", "--quiet", "."]);
        for file in tree.files() {
            tree.expect_pointer(&file);
        }
        assert_eq!(tree.status(), "");
        tree.repo.fsck(&tree.world);
    }
}

fn comes_and_goes(tree: &Tree) {
    let thin = ["config", "--default=false", "annex.thin"];
    let thin = tree.world.git(tree.repo.path(), &thin) == "true\n";
    let server = tree.serve();
    let [plain, tool, locked] = tree.files();
    let link = fs::read_link(&locked.path).ok();
    for round in 0..2 {
        let before = modified(&plain);
        for file in tree.files() {
            tree.remove(&server, &file);
            tree.expect_pointer(&file);
        }
        assert_eq!(modified(&plain), before, "round {round}: the time of the file changed");
        tree.restage();
        assert_eq!(tree.status(), "", "round {round}");
        tree.repo.fsck(&tree.world);

        for file in tree.files() {
            tree.put(&server, &file);
            tree.expect_content(&file);
        }
        let links = if thin { 2 } else { 1 };
        for file in [&plain, &tool] {
            assert_eq!(fs::metadata(&file.path).expect("look").nlink(), links, "round {round}");
        }
        tree.restage();
        assert_eq!(tree.status(), "", "round {round}");
        tree.repo.fsck(&tree.world);
        tree.repo.assert_no_strays();
    }
    assert_eq!(fs::read_link(&locked.path).ok(), link);
}

/// A served repository with a plain unlocked file, an executable one, and a locked one.
struct Tree {
    repo: Repo,
    keys: [String; 3],
    /// The permissions of files that are unlocked.
    modes: [Option<u32>; 3],
    world: World,
}

/// A file of it.
struct File {
    path: PathBuf,
    key: String,
    content: Vec<u8>,
    mode: Option<u32>,
}

impl Tree {
    fn new(backend: &str, thin: bool) -> Self {
        Self::within(World::new(), backend, &[("annex.thin", &thin.to_string())])
    }

    fn within(world: World, backend: &str, settings: &[(&str, &str)]) -> Self {
        let repo = Repo::create(&world, "served", SERVER, false);
        for (name, value) in settings {
            world.git(repo.path(), &["config", name, value]);
        }
        fs::create_dir(repo.path().join("dir of tools")).expect("make a directory");
        for (number, name) in NAMES.into_iter().enumerate() {
            fs::write(repo.path().join(name), content(number)).expect("write a file");
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(repo.path().join(NAMES[1]), executable).expect("make it a tool");
        let backend = format!("--backend={backend}");
        world.annex(repo.path(), &["add", "--quiet", &backend, "."]);
        world.annex(repo.path(), &["unlock", "--quiet", NAMES[0], NAMES[1]]);
        world.git(repo.path(), &["commit", "-q", "-m", "files"]);
        let keys =
            NAMES.map(|name| world.annex(repo.path(), &["lookupkey", name]).trim().to_owned());
        for key in &keys {
            world.annex(repo.path(), &["setpresentkey", key, CLIENT, "1"]);
        }
        Self { repo, keys, modes: [Some(0o644), Some(0o755), None], world }
    }

    fn serve(&self) -> Server {
        serve(&self.world, self.repo.path(), &["--wideopen"], &[])
    }

    fn files(&self) -> [File; 3] {
        std::array::from_fn(|number| File {
            path: self.repo.path().join(NAMES[number]),
            key: self.keys[number].clone(),
            content: content(number),
            mode: self.modes[number],
        })
    }

    fn put(&self, server: &Server, file: &File) {
        let target = target("put", &file.key);
        let reply = server.send(&Request::put(target, file.content.len() as u64, &file.content));
        assert_eq!(reply.member("stored"), true, "{}: {}", file.path.display(), reply.text());
    }

    fn remove(&self, server: &Server, file: &File) {
        let reply = self.ask(server, "remove", file);
        assert_eq!(reply.member("removed"), Value::Bool(true), "{}", file.path.display());
    }

    fn ask(&self, server: &Server, endpoint: &str, file: &File) -> Reply {
        server.send(&Request::post(target(endpoint, &file.key)))
    }

    /// The content is there; of an unlocked file it is so in a writable file of its own.
    #[track_caller]
    fn expect_content(&self, file: &File) {
        let found = fs::read(&file.path).expect("read a file with content");
        assert!(found == file.content, "{} has other content", file.path.display());
        if let Some(expected) = file.mode {
            assert_eq!(format!("{:o}", mode(file)), format!("{expected:o}"));
        }
    }

    /// The content is not there, but what stands for it.
    #[track_caller]
    fn expect_pointer(&self, file: &File) {
        assert!(self.repo.object(&file.key).is_none(), "the object of {} is there", file.key);
        let Some(expected) = file.mode else {
            assert!(!file.path.exists(), "{} leads somewhere", file.path.display());
            return;
        };
        let found = fs::read_to_string(&file.path).expect("read a pointer file");
        let pointer = format!("/annex/objects/{}\n", key_file(&file.key));
        let head = &found[..found.len().min(200)];
        assert!(found == pointer, "{} has other content: {head}", file.path.display());
        assert_eq!(format!("{:o}", mode(file)), format!("{expected:o}"));
    }

    fn restage(&self) {
        self.world.annex(self.repo.path(), &["restage", "--quiet"]);
    }

    fn status(&self) -> String {
        self.world.git(self.repo.path(), &["status", "--porcelain"])
    }
}

fn target(endpoint: &str, key: &str) -> String {
    api(SERVER, "v4", endpoint, &[("key", key), ("clientuuid", CLIENT)])
}

fn content(number: usize) -> Vec<u8> {
    format!("content {number}\n").repeat(1000 + number).into_bytes()
}

fn mode(file: &File) -> u32 {
    fs::metadata(&file.path).expect("look at the mode").permissions().mode() & 0o777
}

fn modified(file: &File) -> SystemTime {
    fs::symlink_metadata(&file.path).and_then(|found| found.modified()).expect("look at the time")
}

fn set_modified(file: &File, time: SystemTime) {
    let opened = fs::File::options().append(true).open(&file.path);
    opened.and_then(|file| file.set_modified(time)).expect("set the time");
}

const NAMES: [&str; 3] = ["plain", "dir of tools/a tool", "locked"];
