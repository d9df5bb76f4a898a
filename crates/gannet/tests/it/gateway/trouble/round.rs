//! One thing that a client does while something is wrong with one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gannet_core::{Error, Removal};
use gannet_testkit::Sample;

use super::clients::{Client, names};
use super::nodes::{Fault, Node, Scene};
use crate::harness::{Seeded, eventually};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Put,
    Get,
    Check,
    Remove,
    RemoveSoon,
    Lock,
}

/// Whom it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Cluster,
    /// The node with which something is wrong.
    It,
    /// Another one.
    Other,
}

pub(super) struct Round<'a> {
    scene: &'a Scene,
    client: &'a Client,
    sample: &'a Sample,
    node: &'a Node,
    other: &'a Node,
    fault: Fault,
    deed: Deed,
    target: Target,
    /// After how many bytes something breaks.
    after: usize,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        client: &'a Client,
        samples: &'a [Sample],
        chance: &mut Seeded,
    ) -> Self {
        let mut one_of = |count: usize| usize::try_from(chance.below(count as u64)).expect("small");
        let sample = &samples[one_of(samples.len())];
        let at = one_of(3);
        let (node, other) = (&scene.nodes[at], &scene.nodes[(at + 1 + one_of(2)) % 3]);
        let fault = loop {
            let fault = FAULTS[one_of(FAULTS.len())];
            if node.can(fault) {
                break fault;
            }
        };
        let deed = match fault {
            // These are about transfers.
            Fault::Full => Deed::Put,
            Fault::Killed => [Deed::Put, Deed::Get][one_of(2)],
            _ => DEEDS[one_of(DEEDS.len())],
        };
        let target = [Target::Cluster, Target::Cluster, Target::It, Target::It, Target::Other];
        let target = target[one_of(target.len())];
        let after = one_of(sample.bytes.len());
        Self { scene, client, sample, node, other, fault, deed, target, after }
    }

    pub(super) fn what(&self) -> String {
        format!("{:?} {} {:?} {:?}", self.fault, self.node.name, self.deed, self.target)
    }

    /// Everybody has everything before and after it. Returns what came of it, in a word.
    pub(super) async fn run(self) -> &'static str {
        let key = self.sample.key.to_string();
        if self.deed == Deed::Put && !matches!(self.fault, Fault::Corrupt | Fault::Vanished) {
            self.client.remove_everywhere(self.scene, self.sample).await;
        }
        self.node.break_by(self.fault, &key);
        let over = Arc::new(AtomicBool::new(false));
        let came = std::thread::scope(|scope| {
            if self.fault == Fault::Slow {
                let (over, node) = (Arc::clone(&over), self.node);
                scope.spawn(move || {
                    std::thread::sleep(SLOW);
                    node.mend(Fault::Slow);
                    // What was started meanwhile is not slow.
                    while !over.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                        node.mend(Fault::Slow);
                    }
                });
            }
            let came = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(self.act(&key))
            });
            over.store(true, Ordering::SeqCst);
            came
        });
        if self.fault != Fault::Slow {
            self.node.mend(self.fault);
        }
        self.expect_recorded(&key);
        // Now that nothing is wrong any more, what was not done is done.
        if self.fault == Fault::Corrupt || self.fault == Fault::Vanished {
            self.client.remove_everywhere(self.scene, self.sample).await;
        }
        self.client.put_everywhere(self.scene, self.sample).await;
        came
    }

    async fn act(&self, key: &str) -> &'static str {
        let place = match self.target {
            Target::Cluster => self.scene.cluster.as_str(),
            Target::It => self.node.repo.uuid(),
            Target::Other => self.other.repo.uuid(),
        };
        match self.deed {
            Deed::Put => self.put(place, key).await,
            Deed::Get => self.get(place).await,
            Deed::Check => self.check(place).await,
            Deed::Remove | Deed::RemoveSoon => self.remove(place, key).await,
            Deed::Lock => self.lock(place).await,
        }
    }

    async fn put(&self, place: &str, key: &str) -> &'static str {
        let kill = || {
            if self.fault == Fault::Killed {
                self.node.kill();
            }
        };
        let put = self.client.put_and(place, self.sample, self.after, kill).await;
        let has = |node: &Node| node.has(key, &self.sample.bytes);
        match put {
            Ok(plus) => {
                let listed = self.scene.nodes.iter().filter(|node| {
                    plus.contains(&node.repo.uuid().to_owned()) || node.repo.uuid() == place
                });
                for node in listed {
                    let excused = std::ptr::eq(node, self.node) && self.is_mistaken();
                    assert!(has(node) || excused, "{}: not at {}", self.what(), node.name);
                }
                if self.target == Target::Cluster {
                    for node in self.others() {
                        assert!(has(node), "{}: not at {}", self.what(), node.name);
                    }
                }
                "stored"
            }
            Err(error) => {
                self.excuse(&error, self.target == Target::It);
                "error"
            }
        }
    }

    async fn get(&self, place: &str) -> &'static str {
        let kill = || {
            if self.fault == Fault::Killed {
                self.node.kill();
            }
        };
        match self.client.get_and(place, self.sample, kill).await {
            Ok(got) if got == self.sample.bytes => "content",
            Ok(got) => {
                // Nobody can know it but by its hash.
                let may = self.fault == Fault::Corrupt && self.target != Target::Other;
                assert!(
                    may && got.len() == self.sample.bytes.len(),
                    "{}: other bytes",
                    self.what()
                );
                "other bytes"
            }
            Err(error) => {
                let lacks = matches!(error, Error::Missing { .. });
                let may = [Fault::Vanished, Fault::Liar].contains(&self.fault);
                assert!(!lacks || may, "{}: {error}", self.what());
                self.excuse(&error, self.target == Target::It);
                if lacks { "missing" } else { "error" }
            }
        }
    }

    async fn check(&self, place: &str) -> &'static str {
        match self.client.check(place, self.sample).await {
            Ok(true) => {
                let gone = self.target == Target::It && self.fault == Fault::Vanished;
                assert!(!gone, "{}: it is not there", self.what());
                "present"
            }
            Ok(false) => {
                let gone = self.target == Target::It && self.fault == Fault::Vanished;
                assert!(gone, "{}: it is there", self.what());
                "absent"
            }
            Err(error) => {
                self.excuse(&error, self.target == Target::It);
                "error"
            }
        }
    }

    async fn remove(&self, place: &str, key: &str) -> &'static str {
        let removal = match self.deed {
            Deed::RemoveSoon => self.client.remove_soon(place, self.sample).await,
            _ => self.client.remove(place, self.sample).await,
        };
        let has = |node: &Node| node.repo.object(key).is_some() || self.is_out_of_sight(node);
        match removal {
            Ok(Removal { removed, plus }) => {
                let plus = names(&plus);
                for node in &self.scene.nodes {
                    let uuid = node.repo.uuid();
                    let all = removed && (self.target == Target::Cluster || uuid == place);
                    let told = all || plus.iter().any(|listed| listed == uuid);
                    assert!(!told || !has(node), "{}: still at {}", self.what(), node.name);
                    let asked = self.target == Target::Cluster || uuid == place;
                    let is_it = std::ptr::eq(node, self.node);
                    // Others do as they are told, and nobody does more.
                    assert!(is_it || asked != has(node), "{}: {}", self.what(), node.name);
                }
                let may_fail = self.target != Target::Other && self.fault != Fault::Nothing;
                assert!(removed || may_fail, "{}: not removed", self.what());
                if removed { "removed" } else { "in part" }
            }
            Err(error) => {
                self.excuse(&error, self.target != Target::Other);
                "error"
            }
        }
    }

    async fn lock(&self, place: &str) -> &'static str {
        match self.client.lock(place, self.sample).await {
            Ok(Some(lock)) => {
                assert!(self.target != Target::Cluster, "a cluster is locked");
                let gone = self.target == Target::It && self.fault == Fault::Vanished;
                assert!(!gone, "{}: it is not there", self.what());
                lock.release().await.expect("unlock");
                "locked"
            }
            Ok(None) => {
                let may = [Fault::Vanished, Fault::Liar].contains(&self.fault);
                let may = self.target == Target::Cluster || (self.target == Target::It && may);
                assert!(may, "{}: not locked", self.what());
                "not locked"
            }
            Err(error) => {
                self.excuse(&error, self.target == Target::It);
                "error"
            }
        }
    }

    /// What the gateway recorded of the other nodes is so.
    #[track_caller]
    fn expect_recorded(&self, key: &str) {
        eventually(SOON, || {
            let log = self.scene.gateway.location_log_now(&self.scene.world, key);
            let wrong = |node: &&Node| {
                let recorded = log.get(node.repo.uuid()) == Some(&true);
                recorded != node.repo.object(key).is_some()
            };
            match self.others().find(wrong) {
                None => Ok(()),
                Some(node) => Err(format!("{}: {}: {log:?}", self.what(), node.name)),
            }
        });
    }

    /// An error is right only where the failing node cannot be done without, and says something.
    #[track_caller]
    fn excuse(&self, error: &Error, concerns_it: bool) {
        let is_wrong = !matches!(self.fault, Fault::Nothing | Fault::Slow);
        assert!(is_wrong && concerns_it, "{}: {error}", self.what());
        assert!(!error.to_string().trim().is_empty(), "{}", self.what());
    }

    fn others(&self) -> impl Iterator<Item = &Node> {
        self.scene.nodes.iter().filter(|node| !std::ptr::eq(*node, self.node))
    }

    /// Whether the node believes that it has what it has not.
    fn is_mistaken(&self) -> bool {
        self.fault == Fault::Corrupt
    }

    /// Whether nobody can see what it has.
    fn is_out_of_sight(&self, node: &Node) -> bool {
        std::ptr::eq(node, self.node) && self.fault == Fault::Down && node.name == "near"
    }
}

const FAULTS: [Fault; 8] = [
    Fault::Nothing,
    Fault::Down,
    Fault::Slow,
    Fault::Full,
    Fault::Liar,
    Fault::Killed,
    Fault::Corrupt,
    Fault::Vanished,
];
const DEEDS: [Deed; 6] =
    [Deed::Put, Deed::Get, Deed::Check, Deed::Remove, Deed::RemoveSoon, Deed::Lock];
const SOON: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_millis(150);
