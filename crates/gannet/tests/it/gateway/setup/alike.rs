//! The same is done to two copies of one repository, by git-annex in one and by Gannet in the other:
//! the same is in their branches and in their configurations afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::gateway::GATEWAY;
use crate::harness::{Finished, Gannet, Repo, World};

#[test]
fn proxies_are_told_of_as_by_git_annex() {
    let scene = Scene::new();
    let serve = |names: &'static [&'static str]| names.iter().map(|name| proxy(name));
    scene.expect_alike("nothing is served", &[Proxy, Update]);
    let all = ["n1", "n2", "far", "http", "lost", "gone", "dir", "export", "objects"];
    let all: Vec<_> = all.into_iter().map(proxy).chain([Proxy, Proxy, Update]).collect();
    scene.expect_alike("remotes of all kinds", &all);
    let stop = |name| Unset(format!("remote.{name}.annex-proxy"));
    let steps: Vec<_> = serve(&["n1", "far"])
        .chain([Proxy, stop("n1"), Proxy, stop("far"), Proxy, Proxy, proxy("n2"), Proxy])
        .collect();
    scene.expect_alike("some stop, and then all", &steps);
    let another = |name: &str| {
        let of_n3 = |key: &str, value: &str| Set(format!("remote.{name}.{key}"), value.to_owned());
        let (_, uuid) = NODES[2];
        [of_n3("url", &scene.world.join("n3").display().to_string()), of_n3("annex-uuid", uuid)]
    };
    let names = ["\u{e9}", "a+b", "x%y", "_x", "a.b.c", "UPPER", "a:b", "a/b", "-x", ".x"];
    let odd = names.iter().flat_map(|name| another(name).into_iter().chain([proxy(name)]));
    let odd: Vec<_> = odd.chain([Proxy, stop("a+b"), Proxy]).collect();
    scene.expect_alike("names with odd letters", &odd);
    let twice: Vec<_> = another("again")
        .into_iter()
        .chain(serve(&["n3", "again"]))
        .chain([Proxy, stop("n3"), Proxy])
        .collect();
    scene.expect_alike("two names for one repository", &twice);
    let steps = [
        Set("remote.n1.annex-private".to_owned(), "true".to_owned()),
        proxy("n1"),
        proxy("n2"),
        Proxy,
        Unset("remote.n1.annex-private".to_owned()),
        Proxy,
    ];
    scene.expect_alike("what is private", &steps);
    let steps = [Set("remote.n1.annex-uuid".to_owned(), FAR.to_owned()), proxy("n1"), Proxy];
    scene.expect_alike("another repository than is believed", &steps);
    let steps = [Unset("remote.n1.annex-uuid".to_owned()), proxy("n1"), Proxy];
    scene.expect_alike("a repository that was never looked at", &steps);
    let flag = |name: &str| Set(format!("remote.n1.annex-{name}"), "true".to_owned());
    scene.expect_alike("flags", &[flag("ignore"), flag("readonly"), proxy("n1"), Proxy]);
    scene
        .expect_alike("the chain behind another gateway", &[proxy("g"), Proxy, proxy("n1"), Proxy]);
}

#[test]
fn clusters_are_told_of_as_by_git_annex() {
    let scene = Scene::new();
    let mine = || cluster("mine", ONE);
    let steps = [mine(), Update, node("n1", "mine"), node("far", "mine"), Update, Update, Proxy];
    scene.expect_alike("one cluster", &steps);
    let steps = [
        mine(),
        cluster("a.B", TWO),
        node("n1", "mine  a.b"),
        node("n2", "a.b none"),
        node("dir", "mine"),
        node("export", "mine"),
        node("objects", "a.b"),
        node("gone", "mine"),
        node("lost", "mine"),
        proxy("n3"),
        Update,
        node("n1", "a.b"),
        Update,
        Unset("remote.n2.annex-cluster-node".to_owned()),
        Update,
        Unset("annex.cluster.a.b".to_owned()),
        Update,
        Unset("annex.cluster.mine".to_owned()),
        Update,
    ];
    scene.expect_alike("two clusters, from their beginning to their end", &steps);
    let dead = |name: &'static str| Annex(vec!["dead", name]);
    let trust = |level: &str| Set("remote.n2.annex-trustlevel".to_owned(), level.to_owned());
    let steps = [
        mine(),
        node("n1", "mine"),
        node("n2", "mine"),
        Update,
        dead("n1"),
        Update,
        Unset("remote.n1.annex-cluster-node".to_owned()),
        Update,
        trust("dead"),
        Update,
        node("n3", "mine"),
        Update,
        Annex(vec!["semitrust", "n1"]),
        Update,
        trust("semitrusted"),
        node("n1", "mine"),
        Update,
    ];
    scene.expect_alike("dead nodes", &steps);
    let steps = [
        Set("remote.n1.annex-private".to_owned(), "true".to_owned()),
        mine(),
        node("n1", "mine"),
        node("n2", "mine"),
        Update,
    ];
    scene.expect_alike("a private node", &steps);
}

#[test]
fn clusters_begin_as_with_git_annex() {
    let scene = Scene::new();
    let names = ["clu", "a-b", "a.b", "x.Y.z", "b-", "n1", "\u{e9}.b", "a_x.b2"];
    let good: Vec<_> = names
        .iter()
        .map(|name| Init(name, None))
        .chain([node("n1", &names.join(" ")), Update, Init("clu", None)])
        .collect();
    scene.expect_alike("names that git keeps", &good);
    scene.expect_alike("described", &[Init("clu", Some("many disks")), Update]);
    // git-annex lets nodes find no cluster whose name has capitals that git lowers.
    scene.expect_alike("capitals", &[Init("Clu", None), Update]);
    let names = ["2x", "a_b", "a.2", "\u{e9}", "", " ", "a b", "a.", ".a", "a/b", "a:b"];
    scene.expect_alike("names that git does not keep", &names.map(InitFails));
}

#[test]
fn clusters_have_more_gateways_as_with_git_annex() {
    let scene = Scene::new();
    let steps = [Extend("g", "clu"), Update, node("n1", "clu"), Update, Proxy, Extend("g", "clu")];
    scene.expect_alike("another gateway", &steps);
    let hide = || Set("remote.g-b2.annex-ignore".to_owned(), "true".to_owned());
    let steps = [Extend("g", "clu"), hide(), Update, proxy("g"), Update];
    scene.expect_alike("a node that the configuration hides", &steps);
    let steps = [
        cluster("mine", ONE),
        node("n1", "mine"),
        node("b1", "mine clu"),
        Set("remote.b1.url".to_owned(), "ssh://nowhere.invalid/b1".to_owned()),
        Set("remote.b1.annex-uuid".to_owned(), B1.to_owned()),
        Update,
        Extend("g", "clu"),
        Update,
        Annex(vec!["dead", B2]),
        Update,
        Proxy,
    ];
    scene.expect_alike("two clusters, of which one has another gateway", &steps);
    let wrong = [("g", "nope"), ("none", "clu"), ("g", "b1"), ("n1", "clu")];
    scene
        .expect_alike("what is no cluster", &wrong.map(|(remote, name)| ExtendFails(remote, name)));
}

/// What is done to both copies.
#[derive(Debug)]
enum Step {
    Proxy,
    Update,
    Init(&'static str, Option<&'static str>),
    InitFails(&'static str),
    Extend(&'static str, &'static str),
    ExtendFails(&'static str, &'static str),
    Set(String, String),
    Unset(String),
    Annex(Vec<&'static str>),
}

use Step::{Annex, Extend, ExtendFails, Init, InitFails, Proxy, Set, Unset, Update};

fn proxy(name: &str) -> Step {
    Set(format!("remote.{name}.annex-proxy"), "true".to_owned())
}

fn node(name: &str, clusters: &str) -> Step {
    Set(format!("remote.{name}.annex-cluster-node"), clusters.to_owned())
}

fn cluster(name: &str, uuid: &str) -> Step {
    Set(format!("annex.cluster.{name}"), uuid.to_owned())
}

/// A repository with remotes of all kinds, of which copies are made.
struct Scene {
    world: World,
    original: PathBuf,
}

/// What one says of a repository, by what it is about: words, without clocks.
type Log = BTreeMap<String, BTreeSet<String>>;

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let gateway = Repo::create(&world, "original", GATEWAY, false);
        let original = gateway.path().to_owned();
        let git = |args: &[&str]| world.git(&original, args);
        let config = |key: &str, value: &str| git(&["config", key, value]);
        git(&["commit", "-q", "--allow-empty", "-m", "begin"]);
        // Whoever is asked over ssh is not there.
        config("core.sshCommand", "false");
        for (name, uuid) in NODES {
            let node = Repo::create(&world, name, uuid, true);
            git(&["remote", "add", name, node.arg()]);
            config(&format!("remote.{name}.annex-uuid"), uuid);
        }
        for (name, url, uuid) in [
            ("far", "ssh://nowhere.invalid/far", FAR),
            ("http", "ssh://nowhere.invalid/http", HTTP),
            ("lost", "ssh://nowhere.invalid/lost", ""),
            ("gone", "/nowhere/at/all", ""),
            ("g", "ssh://nowhere.invalid/g", OTHER_GATEWAY),
        ] {
            git(&["remote", "add", name, url]);
            if !uuid.is_empty() {
                config(&format!("remote.{name}.annex-uuid"), uuid);
            }
        }
        config("remote.http.annexUrl", "annex+http://nowhere.invalid/git-annex/");
        let special: [(&str, &[&str]); 3] = [
            ("dir", &[]),
            ("export", &["exporttree=yes"]),
            ("objects", &["exporttree=yes", "annexobjects=yes"]),
        ];
        for (name, more) in special {
            let dir = world.fresh(name);
            fs::create_dir(&dir).expect("make a directory");
            let place = format!("directory={}", dir.display());
            let args = ["initremote", "--quiet", name, "type=directory", "encryption=none", &place];
            world.annex(&original, &[&args[..], more].concat());
        }
        let scene = Self { world, original };
        scene.know_another_gateway();
        scene
    }

    /// Fetches from another gateway, with a cluster `clu` of the nodes `b1` and `b2`.
    fn know_another_gateway(&self) {
        let world = &self.world;
        let other = Repo::create(world, "other", OTHER_GATEWAY, false);
        let config = |key: &str, value: &str| world.git(other.path(), &["config", key, value]);
        config("annex.cluster.clu", OTHER_CLUSTER);
        config("core.sshCommand", "false");
        for (name, uuid) in [("b1", B1), ("b2", B2)] {
            config(&format!("remote.{name}.url"), &format!("ssh://nowhere.invalid/{name}"));
            config(&format!("remote.{name}.annex-uuid"), uuid);
            config(&format!("remote.{name}.annex-cluster-node"), "clu");
        }
        world.annex(other.path(), &["updatecluster", "--quiet"]);
        let branch = "git-annex:refs/remotes/g/git-annex";
        world.git(&self.original, &["fetch", "-q", other.arg(), branch]);
    }

    #[track_caller]
    fn expect_alike(&self, about: &str, steps: &[Step]) {
        let copies = ["theirs", "ours"].map(|name| {
            let copy = self.world.fresh(name);
            let [from, to] = [&self.original, &copy].map(|path| path.to_str().expect("ASCII"));
            self.world.ok(self.world.path(), &["cp", "-a", from, to]);
            copy
        });
        for step in steps {
            let [theirs, ours] =
                [self.by_git_annex(&copies[0], step), self.by_gannet(&copies[1], step)];
            assert_eq!(theirs.success(), ours.success(), "{about}: {step:?}: {theirs} {ours}");
            let fails = matches!(step, InitFails(_) | ExtendFails(..));
            assert_eq!(ours.success(), !fails, "{about}: {step:?}: {theirs} {ours}");
            for log in ["proxy.log", "cluster.log", "uuid.log"] {
                let [theirs, ours] = [0, 1].map(|it| self.log(&copies[it], log));
                assert_eq!(ours, theirs, "{log}: {about}: {step:?} of {steps:?}");
            }
            let [theirs, ours] = [0, 1].map(|it| self.configuration(&copies[it]));
            assert_eq!(ours, theirs, "{about}: {step:?} of {steps:?}");
        }
        self.world.git(&copies[1], &["fsck", "--strict", "--no-dangling"]);
        for copy in copies {
            // git-annex protects what is in there.
            self.world
                .ok(self.world.path(), &["chmod", "-R", "u+w", copy.to_str().expect("ASCII")]);
            fs::remove_dir_all(copy).expect("remove a copy");
        }
    }

    fn by_git_annex(&self, repo: &Path, step: &Step) -> Finished {
        let annex = |args: &[&str]| self.world.try_annex(repo, args);
        match step {
            Proxy => annex(&["updateproxy"]),
            Update => annex(&["updatecluster"]),
            Init(name, None) | InitFails(name) => annex(&["initcluster", "--", name]),
            Init(name, Some(text)) => annex(&["initcluster", name, text]),
            Extend(remote, name) | ExtendFails(remote, name) => {
                annex(&["extendcluster", remote, name])
            }
            Set(..) | Unset(_) | Annex(_) => self.by_git(repo, step),
        }
    }

    fn by_gannet(&self, repo: &Path, step: &Step) -> Finished {
        let path = repo.to_str().expect("a path of ASCII");
        let gannet = |args: &[&str]| Gannet::run(&self.world, repo, args);
        match step {
            Proxy => gannet(&["proxy", "update", path]),
            Update => gannet(&["cluster", "update", path]),
            Init(name, None) | InitFails(name) => gannet(&["cluster", "init", path, name]),
            Init(name, Some(text)) => gannet(&["cluster", "init", path, name, text]),
            Extend(remote, name) | ExtendFails(remote, name) => {
                gannet(&["cluster", "extend", path, remote, name])
            }
            Set(..) | Unset(_) | Annex(_) => self.by_git(repo, step),
        }
    }

    fn by_git(&self, repo: &Path, step: &Step) -> Finished {
        match step {
            Set(key, value) => self.world.run(repo, &["git", "config", key, value]),
            Unset(key) => self.world.run(repo, &["git", "config", "--unset", key]),
            Annex(args) => self.world.try_annex(repo, &[&args[..], &["--quiet"]].concat()),
            step => panic!("{step:?} is not done by git"),
        }
    }

    /// What a log says; clusters are told by their names.
    fn log(&self, repo: &Path, path: &str) -> Log {
        let text = self.world.run(repo, &["git", "show", &format!("git-annex:{path}")]).out();
        let mut newest: BTreeMap<&str, (f64, Vec<&str>)> = BTreeMap::new();
        for line in text.lines() {
            let mut words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let clock = match path {
                "uuid.log" => {
                    words.pop().and_then(|it| it.strip_prefix("timestamp=")).expect("a time")
                }
                _ => words.remove(0),
            };
            let name = words.remove(0);
            let is_sorted = path == "uuid.log" || words.is_sorted();
            assert!(is_sorted, "{line}");
            let time = clock.trim_end_matches('s').parse().expect("a time");
            if newest.get(name).is_none_or(|(known, _)| *known <= time) {
                newest.insert(name, (time, words));
            }
        }
        let clusters = self.clusters(repo);
        let named = |word: &str| {
            let known = clusters.iter().find(|(uuid, _)| word.contains(uuid.as_str()));
            known.map_or_else(|| word.to_owned(), |(uuid, name)| word.replace(uuid, name))
        };
        let words = |(_, words): (f64, Vec<&str>)| words.into_iter().map(named).collect();
        newest.into_iter().map(|(name, value)| (named(name), words(value))).collect()
    }

    /// All of it; clusters are told by their names.
    fn configuration(&self, repo: &Path) -> BTreeSet<String> {
        let clusters = self.clusters(repo);
        let text = self.world.git(repo, &["config", "--local", "--list"]);
        let named = |line: &str| {
            let names = clusters.iter();
            names.fold(line.to_owned(), |line, (uuid, name)| line.replace(uuid, name))
        };
        text.lines().map(named).collect()
    }

    /// Uuids and names of clusters.
    fn clusters(&self, repo: &Path) -> Vec<(String, String)> {
        let args = ["git", "config", "--get-regexp", r"^annex\.cluster\."];
        let said = self.world.run(repo, &args).out();
        let pair = |line: &str| {
            let (name, uuid) = line.split_once(' ').expect("a name and a value");
            (uuid.to_owned(), format!("<{name}>"))
        };
        said.lines().map(pair).collect()
    }
}

const NODES: [(&str, &str); 3] = [
    ("n1", "0de00001-0000-4000-8000-000000000001"),
    ("n2", "0de00002-0000-4000-8000-000000000002"),
    ("n3", "0de00003-0000-4000-8000-000000000003"),
];
const FAR: &str = "fa000000-0000-4000-8000-000000000001";
const HTTP: &str = "fa000000-0000-4000-8000-000000000002";
const OTHER_GATEWAY: &str = "6a7e3a1e-0000-4000-8000-000000000002";
const OTHER_CLUSTER: &str = "ac0cec6b-f473-8b9f-8676-3db0bbcfff9b";
const ONE: &str = "ac000000-0000-8000-8000-000000000001";
const TWO: &str = "ac000000-0000-8000-8000-000000000002";
const B1: &str = "b0000000-0000-4000-8000-000000000001";
const B2: &str = "b0000000-0000-4000-8000-000000000002";
