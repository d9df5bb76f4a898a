//! Every kind of repository × everything that is done to content over HTTP.
//!
//! The real git-annex makes the repository and its files. After each verb the contents are right,
//! and git and git-annex find nothing to put right. Each test prints its row; all of them are shown
//! by `cargo nextest run -p gannet -E 'test(/matrix::/)' --success-output final`.
//!
//! Being another user takes root; without it, the owner serves the shared repositories, too.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::harness::http::api;
use crate::harness::{
    CLIENT, Connection, Gannet, Reply, Repo, Request, SERVER, Server, User, World,
};
use crate::raw::locks::{keep_open, lock, unlock};

use super::kinds_of_repository::{linked_work_tree, submodule};
use super::scene::expect_clean;
use super::tree::{File, Seed, Tree, modified, set_modified};

macro_rules! rows {
    ($($test:ident = $kind:ident)+) => { $(
        #[test]
        fn $test() {
            Kind::$kind.row();
        }
    )+ };
}

rows! {
    bare = Bare
    only_locked_files = Locked
    version_10_with_unlocked_files = Unlocked
    thin_files = Thin
    an_adjusted_branch = Adjusted
    a_view = View
    version_8 = Version8
    version_9 = Version9
    a_linked_work_tree = Linked
    a_submodule = Submodule
    shared_by_a_group_and_served_by_another = Shared
    shared_by_a_group_and_bare = SharedBare
}

/// A row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bare,
    Locked,
    Unlocked,
    Thin,
    Adjusted,
    View,
    Version8,
    Version9,
    Linked,
    Submodule,
    Shared,
    SharedBare,
}

/// A row that is being filled.
struct Row {
    kind: Kind,
    tree: Tree,
    server: Server,
    /// Which branch is checked out, and where it stands.
    head: String,
}

/// What is done in a column.
type Verb = fn(&Row);

const VERBS: [(&str, Verb); 5] = [
    ("get", Row::get),
    ("lock", Row::lock),
    ("modify while reading", Row::modify_while_reading),
    ("remove", Row::remove),
    ("put", Row::put),
];

impl Kind {
    fn row(self) {
        let tree = self.prepare();
        let args = [tree.repo.arg(), "--wideopen"];
        let server = match self {
            Self::Shared | Self::SharedBare if tree.world.has_owner() => {
                Gannet::serve_as(SOMEBODY_ELSE, &tree.world, &args)
            }
            _ => tree.serve(),
        };
        let head = head_of(&tree);
        let row = Row { kind: self, tree, server, head };
        row.expect_order(true);
        print!("| {:<10} |", format!("{self:?}"));
        for (name, verb) in VERBS {
            print!(" {name}: ");
            verb(&row);
            row.expect_order(name != "remove");
            print!("ok |");
        }
        if row.tree.world.has_owner() {
            row.expect_stored_by(SOMEBODY_ELSE);
        }
        println!(" served by {}", if row.tree.world.has_owner() { "another" } else { "its owner" });
    }

    fn prepare(self) -> Tree {
        match self {
            Self::Bare => {
                let world = World::new();
                let repo = Repo::create(&world, "served.git", SERVER, true);
                Tree::bare(world, repo, LINES)
            }
            Self::Linked => {
                let world = World::new();
                let repo = Repo::open(&world, &linked_work_tree(&world));
                Tree::sow(world, repo, &self.seed())
            }
            Self::Submodule => {
                let world = World::new();
                let repo = Repo::open(&world, &submodule(&world));
                Tree::sow(world, repo, &self.seed())
            }
            Self::Shared | Self::SharedBare => {
                let world = World::of(OWNER).unwrap_or_else(World::new);
                let bare = self == Self::SharedBare;
                let repo = Repo::create_shared(&world, "served", SERVER, bare);
                if bare {
                    Tree::bare(world, repo, LINES)
                } else {
                    Tree::sow(world, repo, &self.seed())
                }
            }
            _ => {
                let world = World::new();
                let repo = Repo::create(&world, "served", SERVER, false);
                let mut tree = Tree::sow(world, repo, &self.seed());
                self.switch(&tree.world, tree.repo.path());
                tree.look_again();
                tree
            }
        }
    }

    fn seed(self) -> Seed<'static> {
        let settings: &[_] = match self {
            Self::Thin => &[("annex.thin", "true")],
            Self::Version8 => &[("annex.version", "8"), STAY_OLD],
            Self::Version9 => &[("annex.version", "9"), STAY_OLD],
            _ => &[],
        };
        Seed { settings, unlocked: self != Self::Locked, lines: LINES, ..Seed::default() }
    }

    /// Checks out a branch that git-annex makes.
    fn switch(self, world: &World, path: &Path) {
        match self {
            Self::Adjusted => drop(world.annex(path, &["adjust", "--quiet", "--unlock"])),
            Self::View => {
                world.annex(path, &["metadata", "--quiet", "--force", "--tag", "seen", "."]);
                world.annex(path, &["view", "--quiet", "tag=*"]);
            }
            _ => {}
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Version8 => "8\n",
            Self::Version9 => "9\n",
            _ => "10\n",
        }
    }

    fn is_bare(self) -> bool {
        matches!(self, Self::Bare | Self::SharedBare)
    }
}

impl Row {
    fn get(&self) {
        for (number, file) in self.tree.files().iter().enumerate() {
            // The routes differ in nothing that a large content would show.
            let skipped = if number == 0 { VERSIONS.len() - 1 } else { 0 };
            for target in targets(file).iter().skip(skipped) {
                let reply = self.server.send(&Request::get(target));
                assert!(reply.complete && reply.body == file.content, "{:?}: {target}", self.kind);
            }
        }
    }

    fn put(&self) {
        for file in self.tree.files() {
            self.tree.put(&self.server, &file);
        }
    }

    fn remove(&self) {
        for file in self.tree.files() {
            self.tree.remove(&self.server, &file);
        }
    }

    /// What is locked stays, whoever wants to remove it; what was unlocked does not.
    ///
    /// (To the removal that is refused the reference answers 500.)
    fn lock(&self) {
        for file in self.tree.files() {
            let id = lock(&self.server, &file.key);
            let kept = keep_open(&self.server, &id);
            let drop = ["dropkey", "--force", "--quiet", &file.key];
            let dropped = self.tree.world.try_annex(self.tree.repo.path(), &drop);
            assert!(!dropped.success(), "{:?}: it was dropped: {dropped}", self.kind);
            let removed = self.tree.ask(&self.server, "remove", &file).member("removed");
            assert_eq!(removed, false, "{:?}", self.kind);
            std::mem::drop(kept);
            assert_eq!(unlock(&self.server, &id).member("locked"), false, "{:?}", self.kind);
            let left = self.tree.repo.locks(&file.key);
            assert!(!left.lck && !left.rtm && !left.rtl, "{:?}: {left:?}", self.kind);
        }
    }

    /// The reader learns, in every version, that what it read is not the content. What happens to
    /// a file that is only a copy of it is none of the reader's business.
    fn modify_while_reading(&self) {
        let [plain, ..] = self.tree.files();
        let object = self.tree.repo.object(&plain.key).expect("an object");
        let thin = self.kind == Kind::Thin;
        let links = fs::metadata(&object).expect("look at an object").nlink();
        assert_eq!(links, if thin { 2 } else { 1 }, "{:?}", self.kind);
        if plain.mode.is_some() && !thin {
            for reading in self.read_while_modified(&plain, &plain.path) {
                assert!(reading.complete && reading.body == plain.content, "{:?}", self.kind);
            }
        }
        let modified = if thin { &plain.path } else { &object };
        let mut readings = self.read_while_modified(&plain, modified);
        let plainly = readings.pop().expect("a reply of the plain route");
        assert!(!plainly.complete, "{:?}: the plain route gave {}", self.kind, plainly.body.len());
        assert_eq!(readings.len(), VERSIONS.len());
        for (version, reading) in VERSIONS.iter().zip(readings) {
            // A body that is well-formed, but shorter than was announced.
            assert!(reading.complete, "{:?} {version}: the connection broke", self.kind);
            let announced = reading.header("X-git-annex-data-length").expect("a length");
            assert_eq!(announced, plain.content.len().to_string(), "{:?} {version}", self.kind);
            let (got, whole) = (reading.body.len(), plain.content.len());
            assert!(got < whole, "{:?} {version}: {got} of {whole} bytes", self.kind);
        }
    }

    /// Reads the content of `file` on every route, the plain one last; after the heads of the
    /// replies came, and before the server can have read everything, `path` is modified. In the
    /// end it is as before.
    fn read_while_modified(&self, file: &File, path: &Path) -> Vec<Reply> {
        let mut readers: Vec<_> = targets(file)
            .into_iter()
            .map(|target| {
                let mut connection = Connection::narrow(self.server.address());
                connection.send(&Request::get(&target)).expect("ask for the content");
                let head = connection.head_of_reply("GET").expect("the head of a reply");
                assert_eq!(head.status, 200, "{:?}: {target}", self.kind);
                (connection, head)
            })
            .collect();
        let before = fs::metadata(path).expect("look at what is modified");
        let time = modified(path);
        let writable = fs::Permissions::from_mode(before.permissions().mode() | 0o200);
        fs::set_permissions(path, writable).expect("make it writable");
        let other: Vec<u8> = file.content.iter().map(|byte| byte ^ 1).collect();
        fs::write(path, other).expect("modify it");
        let replies = readers.iter_mut().map(|(connection, head)| {
            let mut body = Vec::new();
            let complete = connection.body_of_reply(head, |piece| body.extend_from_slice(piece));
            let headers = head.headers.clone();
            Reply { status: head.status, headers, framing: head.framing, body, complete }
        });
        let replies = replies.collect();
        fs::write(path, &file.content).expect("put it right");
        set_modified(path, time);
        fs::set_permissions(path, before.permissions()).expect("give its mode back");
        replies
    }

    /// Objects are another's, and the owner of the repository gets rid of them nevertheless.
    fn expect_stored_by(&self, user: User) {
        for file in self.tree.files() {
            let object = self.tree.repo.object(&file.key).expect("an object");
            assert_eq!(fs::metadata(&object).expect("look at an object").uid(), user.uid);
            let drop = ["dropkey", "--force", "--quiet", &file.key];
            self.tree.world.annex(self.tree.repo.path(), &drop);
        }
        self.expect_order(false);
    }

    /// Contents are where they should be or nowhere, and git and git-annex agree.
    fn expect_order(&self, present: bool) {
        if !self.kind.is_bare() {
            self.tree.restage();
            assert_eq!(self.tree.status(), "", "{:?}", self.kind);
            assert_eq!(head_of(&self.tree), self.head, "{:?}", self.kind);
        }
        expect_clean(&self.tree.world, self.tree.repo.path());
        for file in self.tree.files() {
            if present {
                self.tree.expect_content(&file);
            } else {
                self.tree.expect_pointer(&file);
            }
        }
        self.tree.repo.assert_no_strays();
        let version = self.tree.world.git(self.tree.repo.path(), &["config", "annex.version"]);
        assert_eq!(version, self.kind.version(), "{:?}", self.kind);
    }
}

/// Every way to ask for the content of a file, the plain route last.
fn targets(file: &File) -> Vec<String> {
    let path = format!("key/{}", file.key);
    let versions = VERSIONS.iter();
    let versioned = versions.map(|version| api(SERVER, version, &path, &[("clientuuid", CLIENT)]));
    versioned.chain([format!("/git-annex/{SERVER}/{path}")]).collect()
}

fn head_of(tree: &Tree) -> String {
    if tree.repo.git_dir() == tree.repo.path() {
        return String::new();
    }
    let ask = |args: &[&str]| tree.world.git(tree.repo.path(), args);
    ask(&["symbolic-ref", "HEAD"]) + &ask(&["rev-parse", "HEAD"])
}

const VERSIONS: [&str; 5] = ["v0", "v1", "v2", "v3", "v4"];
const STAY_OLD: (&str, &str) = ("annex.autoupgraderepository", "false");
/// More than two sockets and the server hold of a content that nobody reads.
const LINES: usize = 1_200_000;
/// Who made the repository that a group shares.
const OWNER: User = User { uid: 61_001, gid: 61_000, umask: "002" };
/// Who serves it: a member of the group, with the usual umask.
const SOMEBODY_ELSE: User = User { uid: 61_002, gid: 61_000, umask: "022" };
