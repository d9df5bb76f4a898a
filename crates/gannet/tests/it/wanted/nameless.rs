//! Content without a name. In bulk, git-annex answers no question about such; but a cluster of its own
//! sends it where it is wanted.

use std::fs;
use std::time::Duration;

use gannet_cluster::wanted::{self, Question};
use gannet_core::{AssociatedFile, Key, Uuid};
use gannet_repo::Look;

use crate::harness::world::finish;
use crate::harness::{CLIENT, Repo, SERVER, World};

#[test]
fn content_without_a_name_goes_where_it_is_wanted() {
    let world = World::new();
    let gateway = Repo::create(&world, "gateway", SERVER, false);
    let git = |words: &[&str]| world.git(gateway.path(), words).trim().to_owned();
    for (name, uuid) in [("choosy", CHOOSY), ("greedy", GREEDY)] {
        let node = Repo::create(&world, name, uuid, true);
        git(&["remote", "add", name, node.arg()]);
        git(&["config", &format!("remote.{name}.annex-uuid"), uuid]);
        git(&["config", &format!("remote.{name}.annex-cluster-node"), "c"]);
    }
    git(&["annex", "initcluster", "c"]);
    git(&["annex", "updatecluster"]);
    let cluster = git(&["config", "annex.cluster.c"]);
    let mut wanted = 0;
    for (n, expression) in EXPRESSIONS.iter().enumerate() {
        let text = format!("WORM-s3--content-{n}");
        wish(&gateway, expression);
        let ours = ours(&gateway, &text);
        wanted += usize::from(ours);
        let theirs = put(&world, &gateway, &cluster, &text);
        assert_eq!(ours, theirs, "{expression}");
    }
    assert!(wanted > 3 && wanted < EXPRESSIONS.len() - 3, "{wanted} is no mixture");
}

/// Writes what the nodes want, and that one of them is a client, where git-annex reads it.
fn wish(gateway: &Repo, expression: &str) {
    let journal = gateway.annex_dir().join("journal");
    fs::create_dir_all(&journal).unwrap();
    let log = format!(
        "{CHOOSY} {expression} timestamp=1600000000s\n{GREEDY} anything timestamp=1600000000s\n"
    );
    fs::write(journal.join("preferred-content.log"), log).unwrap();
    let log = format!("{CHOOSY} client timestamp=1600000000s\n");
    fs::write(journal.join("group.log"), log).unwrap();
}

/// Whether Gannet says that the one that chooses wants a key.
fn ours(gateway: &Repo, key: &str) -> bool {
    let look = Look::at(gateway.path()).unwrap();
    let (key, file) = (Key::parse(key.as_bytes()).unwrap(), AssociatedFile::default());
    let (facts, sizes) = (look.facts(&key, &file).unwrap(), look.sizes().unwrap());
    let repository = &Uuid::parse(CHOOSY.as_bytes()).unwrap();
    let (key, file, facts, sizes) = (&key, &file, &facts, &sizes);
    let question = Question { repository, key, file, facts, sizes, gone: false };
    // A cluster lets a node have whatever it says nothing about.
    wanted::wants(&question).unwrap_or(true)
}

/// Whether git-annex sends it there.
fn put(world: &World, gateway: &Repo, cluster: &str, key: &str) -> bool {
    let said = world.fresh("said");
    fs::write(&said, format!("VERSION 4\nPUT  {key}\nDATA 3\nabcVALID\n")).unwrap();
    let mut shell = world.command(gateway.path(), "git-annex-shell");
    shell.args(["p2pstdio", gateway.arg(), CLIENT, "--uuid", cluster]);
    shell.stdin(fs::File::open(said).unwrap());
    let answer = finish(&mut shell, Duration::from_secs(60));
    let text = answer.out();
    let stored = text.lines().find_map(|line| line.strip_prefix("SUCCESS-PLUS "));
    let stored = stored.unwrap_or_else(|| panic!("not stored: {answer}"));
    assert!(stored.contains(GREEDY), "{answer}");
    stored.contains(CHOOSY)
}

const CHOOSY: &str = "00000001-0000-4000-8000-000000000001";
const GREEDY: &str = "00000002-0000-4000-8000-000000000002";

const EXPRESSIONS: &[&str] = &[
    "anything",
    "nothing",
    "",
    "()",
    "foo=1",
    "include=*",
    "exclude=*",
    "not include=*.txt",
    "not exclude=*",
    "inpreferreddir",
    "not unused",
    "lackingcopies=1",
    "lackingcopies=2",
    "standard",
    "largerthan=3b",
    "smallerthan=4b or include=x",
    "inbackend=WORM and present",
    "balanced=client",
    "(nothing (anything or anything))",
    "anything or not present",
];
