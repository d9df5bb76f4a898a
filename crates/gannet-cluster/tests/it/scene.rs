//! A cluster of stern places, its gateway, and whoever asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gannet_cluster::{Cluster, Gateway, Limits, Node};
use gannet_core::{
    Annex, Asker, AssociatedFile, ClusterUuid, Content, Error, Key, Mode, Result, Span, Uuid,
    Verdict,
};
use gannet_testkit::{Asked, Faults, Sample, Stern, TestClock, TestLedger, Verb};

/// A cluster of stern places, whose clocks all show something else.
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) nodes: Vec<Stern>,
    pub(crate) ledger: Arc<TestLedger>,
    pub(crate) clock: Arc<TestClock>,
}

impl Scene {
    /// A cluster of so many nodes, each a little more expensive than the one before.
    pub(crate) fn of(nodes: usize) -> Self {
        Self::with(nodes, limits())
    }

    pub(crate) fn with(nodes: usize, limits: Limits) -> Self {
        let ledger = TestLedger::new();
        let clock = TestClock::new();
        let node = |place| {
            let clock = TestClock::new();
            clock.set_boot(gannet_core::Timestamp { seconds: 500 + 7000 * (place as u64 % 3) });
            Stern::with(node_uuid(place), clock)
        };
        let nodes: Vec<_> = (0..nodes).map(node).collect();
        let gateway = Gateway {
            cluster: cluster_uuid(),
            name: "mycluster".to_owned(),
            uuid: gateway_uuid(),
            ledger: ledger.clone(),
            clock: clock.clone(),
            limits,
        };
        let cluster = Arc::new(Cluster::new(gateway, &described(&nodes)));
        Self { cluster, nodes, ledger, clock }
    }

    /// Says what a node wants.
    pub(crate) fn wish(&self, node: usize, expression: &str) {
        self.ledger.set_book(|book| {
            book.preferred.insert(node_uuid(node), expression.to_owned());
        });
    }

    /// Lets one verb of a node fail.
    pub(crate) fn fail(&self, node: usize, verb: Verb, why: &'static str) {
        self.nodes[node].set_faults(|faults| faults.fail(verb, move || remote(why)));
    }

    /// Lets a node fail at everything.
    pub(crate) fn down(&self, node: usize) {
        self.nodes[node].set_faults(is_down);
    }

    pub(crate) async fn put(&self, file: &str, content: Content, key: &Key) -> Result<Vec<Uuid>> {
        let file = AssociatedFile(Bytes::copy_from_slice(file.as_bytes()));
        Ok(self.cluster.put(&asker(), key, &file, content).await?.plus)
    }

    /// Puts all of a sample, which must succeed, and tells which nodes say that they have it.
    pub(crate) async fn store(&self, file: &str, sample: &Sample) -> Vec<usize> {
        let plus = self.put(file, sample.content(0), &sample.key).await.expect("a put");
        plus.iter().map(place_of).collect()
    }

    /// Makes a node have a content, and records it.
    pub(crate) fn give(&self, node: usize, sample: &Sample) {
        self.nodes[node].place(&sample.key, sample.bytes.clone());
        self.ledger.claim(&sample.key, &node_uuid(node), true);
    }

    /// Which nodes have a content.
    pub(crate) fn having(&self, key: &Key) -> Vec<usize> {
        let has = |&place: &usize| self.nodes[place].content_of(key).is_some();
        (0..self.nodes.len()).filter(has).collect()
    }

    /// Which nodes have a content, as far as the gateway knows.
    pub(crate) fn recorded(&self, key: &Key) -> Vec<usize> {
        self.ledger.holders(key).iter().map(place_of).collect()
    }

    pub(crate) async fn get(&self, key: &Key, span: Span) -> Result<Content> {
        self.cluster.get(&asker(), key, &AssociatedFile::default(), span).await
    }

    /// Reads all of a content, and what its sender says of it.
    pub(crate) async fn read(&self, key: &Key, span: Span) -> Result<(Bytes, Verdict)> {
        read(self.get(key, span).await?).await
    }

    /// Which nodes were asked this, in order.
    pub(crate) fn asked(&self, what: impl Fn(&Asked) -> bool) -> Vec<usize> {
        let mut asked = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            asked.extend(node.asked().iter().filter(|(_, it)| what(it)).map(|_| place));
        }
        asked
    }

    /// Nothing is under way at any node.
    pub(crate) fn is_quiet(&self) -> bool {
        self.nodes.iter().all(|node| (node.open_gets(), node.open_puts()) == (0, 0))
    }
}

/// A cluster without nodes yet, behind this gateway.
pub(crate) fn without_nodes(gateway: Uuid, ledger: Arc<TestLedger>) -> Cluster {
    let parts = Gateway {
        cluster: cluster_uuid(),
        name: "mycluster".to_owned(),
        uuid: gateway,
        ledger,
        clock: TestClock::new(),
        limits: limits(),
    };
    Cluster::new(parts, &[])
}

/// Reads all of a content, and what its sender says of it.
pub(crate) async fn read(content: Content) -> Result<(Bytes, Verdict)> {
    let mut bytes = Vec::new();
    let verdict = content.pour(|piece| {
        bytes.extend_from_slice(&piece);
        Ok(())
    });
    let verdict = verdict.await?;
    Ok((bytes.into(), verdict))
}

/// The nodes as the gateway describes them, each a little more expensive than the one before.
pub(crate) fn described(nodes: &[Stern]) -> Vec<Node> {
    let node = |(place, stern): (usize, &Stern)| Node {
        uuid: stern.uuid().clone(),
        name: format!("n{place}"),
        cost: 100.0 + place as f64,
        read_only: false,
        gateway: None,
        annex: Arc::new(stern.clone()),
    };
    nodes.iter().enumerate().map(node).collect()
}

pub(crate) fn limits() -> Limits {
    Limits {
        answer: Duration::from_secs(20),
        hedge: Duration::from_secs(2),
        stall: Duration::from_secs(30),
        settle: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// Fails at everything.
pub(crate) fn is_down(faults: &mut Faults) {
    for verb in [
        Verb::CheckPresent,
        Verb::Get,
        Verb::PutOffset,
        Verb::Put,
        Verb::PutPresent,
        Verb::Remove,
        Verb::RemoveBefore,
        Verb::Timestamp,
        Verb::Lock,
    ] {
        faults.fail(verb, || remote("cannot connect"));
    }
}

pub(crate) fn remote(why: &str) -> Error {
    Error::Remote { place: "a node".to_owned(), why: why.to_owned() }
}

pub(crate) fn node_uuid(place: usize) -> Uuid {
    uuid(&format!("0de00000-0000-4000-8000-{place:012}"))
}

pub(crate) fn place_of(node: &Uuid) -> usize {
    node.as_str().rsplit('-').next().and_then(|place| place.parse().ok()).expect("a node's uuid")
}

pub(crate) fn gateway_uuid() -> Uuid {
    uuid("6a7e0000-0000-4000-8000-000000000000")
}

pub(crate) fn cluster_uuid() -> ClusterUuid {
    ClusterUuid::from_random([0xc1; 16])
}

pub(crate) fn uuid(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).expect("a uuid")
}

pub(crate) fn asker() -> Asker {
    let client = Some(uuid("c11e0000-0000-4000-8000-000000000000"));
    Asker { client, bypass: Vec::new(), mode: Mode::FULL }
}
