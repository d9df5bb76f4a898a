//! What is done with each triple, and how it must have been done.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, Content, Error, Key, Lock, Mode, Piece, PutOffset,
    Removal, Result, Span, Uuid, Verdict,
};
use gannet_net::serve::p2p::Version;
use gannet_testkit::{Ending, Journey, Sample, TestClock, TestLedger};

use super::node::{Ears, Node, Told, spoiled};
use super::{Between, Maker, Triple, Way};
use crate::harness::CLIENT;
use crate::places::uuid;
use crate::remotes::eventually;

/// What is done with each triple.
pub(super) const THINGS: [&str; 13] = [
    "put",
    "put lists",
    "put doubt",
    "put lie",
    "get",
    "get doubt",
    "…resumed",
    "presence",
    "lock",
    "remove",
    "before",
    "present",
    "bypass",
];

/// A client, and what is behind the gateway that it asks.
pub(super) struct Run<'a> {
    pub(super) triple: Triple,
    pub(super) client: Arc<dyn Annex>,
    pub(super) node: &'a Node,
    pub(super) ledger: Arc<TestLedger>,
    /// The clock of the gateway, if a test may set it.
    pub(super) clock: Option<Arc<TestClock>>,
    pub(super) gateway: Uuid,
    /// Different for each run at the same node.
    pub(super) number: usize,
    /// How large other contents are.
    pub(super) bytes: usize,
    /// How large a content is that changes while it is sent.
    pub(super) changing_bytes: usize,
}

impl Run<'_> {
    /// How each of [`THINGS`] was done.
    pub(super) async fn outcomes(&self) -> Vec<&'static str> {
        let sample = self.sample(1, self.bytes);
        drop(self.told().await);
        let mut outcomes = vec![self.put(&sample).await];
        outcomes.push(self.put_lists().await);
        outcomes.push(self.put_doubt().await);
        outcomes.push(self.put_lie().await);
        outcomes.push(self.get(&sample).await);
        for from in [0, 1000] {
            outcomes.push(self.get_doubt(from).await);
        }
        outcomes.push(self.presence(&sample).await);
        outcomes.push(self.lock(&sample.key).await);
        outcomes.push(self.remove(&sample.key).await);
        outcomes.push(self.before(&sample).await);
        outcomes.push(self.present(&sample).await);
        outcomes.push(self.bypass(&sample.key).await);
        outcomes
    }

    /// Breaks off in the middle, and puts the rest.
    async fn put(&self, sample: &Sample) -> &'static str {
        if self.triple.breaks_puts() {
            let broken =
                Journey::of(&sample.bytes, 0).cut(self.bytes as u64 * 2 / 3, Ending::Broken);
            let put = self.store(&sample.key, broken.content()).await;
            assert!(put.is_err(), "{}: {put:?}", self.triple);
            assert!(!self.node.has(&sample.key) && !self.is_recorded(&sample.key));
        }
        // Whoever asks git-annex how much it has while it is still putting that away makes it
        // begin anew.
        if self.triple.maker == Maker::GitAnnex && self.triple.breaks_puts() {
            self.eventually("what came is put away", async || match self.node.kept(&sample.key) {
                Some(1..) => Ok(()),
                kept => Err(format!("{kept:?}")),
            })
            .await;
        }
        let resumes = self.triple.breaks_puts()
            && self.triple.near().has_offsets()
            && self.triple.far().has_offsets();
        let from = self.eventually("something was kept", async || {
            match self.client.put_offset(&self.asker(), &sample.key, &file()).await {
                Ok(PutOffset::From(0)) if resumes => Err("nothing".to_owned()),
                Ok(PutOffset::From(from)) => Ok(from),
                other => Err(format!("{other:?}")),
            }
        });
        let from = from.await;
        // Who was cut off may still be at it.
        self.eventually("it is stored", async || {
            let put = self.store(&sample.key, sample.content(from)).await;
            put.map_err(|error| error.to_string())
        })
        .await;
        assert!(self.node.has(&sample.key) && self.is_recorded(&sample.key));
        let told = self.told().await;
        let link = self.triple.far();
        // On a line it is said once.
        if !link.is_line() || self.number == 0 {
            assert_eq!(told.bypass(&self.gateway), link.newest().lists_others());
        }
        if link.is_line() {
            assert_eq!(told.valid(), link.says_invalid(), "{}: VALID", self.triple);
        }
        if from > 0 { "resumed" } else { "whole" }
    }

    /// Who learns where it went.
    async fn put_lists(&self) -> &'static str {
        let sample = self.sample(2, 500);
        let listed = self.store(&sample.key, sample.content(0)).await.expect("a put");
        assert!(self.is_recorded(&sample.key));
        let again = self.client.put_offset(&self.asker(), &sample.key, &file()).await;
        let PutOffset::AlreadyHave { plus } = again.expect("an answer") else {
            panic!("{}: it has it", self.triple)
        };
        // The offset is answered from version 1 on over HTTP, and the list then as elsewhere.
        assert_eq!(plus, listed, "{}", self.triple);
        self.node.clear(&sample.key).await;
        self.listed(&listed)
    }

    /// Content that changed while it was sent is stored by nobody who heard of it.
    async fn put_doubt(&self) -> &'static str {
        let sample = self.sample(3, self.bytes);
        let journey = Journey::of(&sample.bytes, 0).ending(Ending::Verdict(Verdict::Doubtful));
        drop(self.told().await);
        let put = self.store(&sample.key, journey.content()).await;
        assert!(matches!(put, Err(Error::Doubtful)), "{}: {put:?}", self.triple);
        assert!(!self.is_recorded(&sample.key), "{}", self.triple);
        let told = self.told().await;
        assert!(!told.valid(), "{}", self.triple);
        // git-annex verifies it then, and stores it if it is right (p2p-line §6.4).
        if told.invalid() && self.triple.maker == Maker::GitAnnex {
            self.node.clear(&sample.key).await;
        }
        assert!(!self.node.has(&sample.key), "{}", self.triple);
        if told.invalid() { "INVALID" } else { "cut short" }
    }

    /// Nor is content of which the client, in version 0, cannot say that it changed; whoever has
    /// been told nothing tells nobody that it is valid.
    async fn put_lie(&self) -> &'static str {
        let sample = self.sample(4, self.bytes);
        drop(self.told().await);
        let wrong = Sample { bytes: spoiled(&sample), ..sample.clone() };
        let put = self.store(&sample.key, wrong.content(0)).await;
        assert!(put.is_err() && !self.node.has(&sample.key), "{}: {put:?}", self.triple);
        assert!(!self.is_recorded(&sample.key), "{}", self.triple);
        let near = self.triple.near();
        if near.is_line() && !near.newest().tells_validity() {
            assert!(!self.told().await.valid(), "{}: nobody vouched for it", self.triple);
        }
        "refused"
    }

    async fn get(&self, sample: &Sample) -> &'static str {
        for from in [0, 1, self.bytes as u64 / 3, sample.len()] {
            let content = self.open(&sample.key, from).await.expect("the content");
            let (got, ended) = read(content).await;
            let rest = sample.bytes.slice(usize::try_from(from).unwrap()..);
            assert!(got == rest, "{} from {from}: {} bytes", self.triple, got.len());
            assert!(matches!(ended, Ok(Verdict::Valid)), "{} from {from}: {ended:?}", self.triple);
        }
        let absent = self.open(&self.sample(9, 77).key, 0).await;
        // Our line door says so in words in version 0, which are an error like any other.
        let has_words = [self.triple.near(), self.triple.far()].contains(&Way::Line(Version::V0));
        match (&absent, has_words) {
            (Err(Error::Missing { .. }), _) | (Err(Error::Remote { .. }), true) => {}
            _ => panic!("{}: {absent:?}", self.triple),
        }
        "valid"
    }

    /// Nobody is made to believe in content that changed while it was sent, also if the node could
    /// not say so, or the client cannot be told.
    async fn get_doubt(&self, from: u64) -> &'static str {
        let sample = self.sample(if from == 0 { 5 } else { 6 }, self.changing_bytes);
        self.node.place(&sample).await;
        self.ledger.claim(&sample.key, self.node.uuid(), true);
        self.node.will_change(&sample);
        let mut content = self.open(&sample.key, from).await.expect("the content");
        let first = content.pieces.next().await;
        self.node.changes(&sample);
        let Some(Ok(Piece::Bytes(first))) = first else { panic!("{}: {first:?}", self.triple) };
        let (rest, ended) =
            read(Content { len: content.len - first.len() as u64, ..content }).await;
        let outcome = match ended {
            Ok(Verdict::Doubtful) => "INVALID",
            Ok(Verdict::Valid) => "believed",
            Err(Error::Interrupted | Error::Doubtful) => {
                let missing = sample.len() - from - first.len() as u64 - rest.len() as u64;
                assert!(missing > 0, "{}: all of it came", self.triple);
                "cut short"
            }
            Err(error) => panic!("{}: {error}", self.triple),
        };
        self.node.clear(&sample.key).await;
        outcome
    }

    async fn presence(&self, sample: &Sample) -> &'static str {
        let present = async |key| self.client.check_present(&self.asker(), key).await;
        assert!(present(&sample.key).await.expect("an answer"));
        assert!(!present(&self.sample(9, 77).key).await.expect("an answer"));
        "yes"
    }

    async fn lock(&self, key: &Key) -> &'static str {
        let Some(lock) = self.locked(key).await else { return "none" };
        match self.client.remove(&self.asker(), key).await {
            Ok(removal) => assert_eq!(removal, Removal::refused()),
            // It closes the connection, or says 500 (p2p-line §13, 4).
            Err(Error::Remote { .. }) if self.triple.maker == Maker::GitAnnex => {}
            Err(error) => panic!("{}: {error}", self.triple),
        }
        assert!(self.node.has(key) && self.is_recorded(key));
        lock.release().await.expect("unlock");
        assert!(self.locked(&self.sample(9, 77).key).await.is_none(), "what is absent");
        "yes"
    }

    async fn locked(&self, key: &Key) -> Option<Lock> {
        self.client.lock(&self.asker(), key).await.expect("an answer")
    }

    async fn remove(&self, key: &Key) -> &'static str {
        // The unlocking has no answer: the removal may be quicker.
        let plus = self.eventually("it is removed", async || {
            match self.client.remove(&self.asker(), key).await {
                Ok(Removal { removed: true, plus }) => Ok(plus),
                other => Err(format!("{other:?}")),
            }
        });
        let plus = plus.await;
        assert!(!self.node.has(key) && !self.is_recorded(key));
        self.listed(&plus)
    }

    /// However old the node is, and whatever its clock shows: nothing is removed once it is late.
    async fn before(&self, sample: &Sample) -> &'static str {
        let (key, asker) = (&sample.key, self.asker());
        self.node.place(sample).await;
        drop(self.told().await);
        let now = match self.client.timestamp(&asker).await {
            Ok(now) => now,
            Err(Error::Unsupported(_)) => {
                self.node.clear(key).await;
                return "refused";
            }
            Err(error) => panic!("{}: {error}", self.triple),
        };
        let before = async |deadline| self.client.remove_before(&asker, key, deadline).await;
        let late = before(now).await.expect("an answer");
        assert_eq!(late, Removal::refused(), "{}", self.triple);
        let mut deadline = now.plus(60);
        if let (Some(ours), Some(theirs)) = (&self.clock, self.node.clock()) {
            let clock: &dyn Clock = &**theirs;
            let near: &dyn Clock = &**ours;
            assert!(super::node::are_skewed(clock, near));
            for clock in [ours, theirs] {
                clock.advance(60);
            }
            let late = before(deadline).await.expect("an answer");
            assert_eq!(late, Removal::refused(), "{}: a minute later", self.triple);
            deadline = deadline.plus(2);
        }
        assert!(self.node.has(key), "{}: it was too late", self.triple);
        let told = self.told().await;
        assert!(!told.remove(key), "{}: it was told to remove it nevertheless", self.triple);
        let removal = before(deadline).await.expect("an answer");
        assert!(removal.removed && !self.node.has(key), "{}: {removal:?}", self.triple);
        self.listed(&removal.plus);
        let last = self.told().await;
        match (last.remove(key), last.remove_before(), told.timestamp() || told.remove_before()) {
            (false, true, _) => "yes",
            (true, false, false) => "by ours",
            how => panic!("{}: {how:?} {last}", self.triple),
        }
    }

    async fn present(&self, sample: &Sample) -> &'static str {
        let (asker, key) = (self.asker(), &sample.key);
        drop(self.told().await);
        let put = self.client.put_present(&asker, key, &file()).await;
        assert!(matches!(put, Err(Error::Missing { .. })), "{}: {put:?}", self.triple);
        let told: Told = self.told().await;
        assert!(!self.is_recorded(key));
        self.node.place(sample).await;
        self.client.put_present(&asker, key, &file()).await.expect("it is there");
        // Without offsets nothing is asked but whether it is there.
        assert_eq!(self.is_recorded(key), self.triple.near().has_offsets(), "{}", self.triple);
        if told.data_present() { "yes" } else { "asked" }
    }

    /// Which gateways the node hears of: those that the client names, and ours.
    async fn bypass(&self, key: &Key) -> &'static str {
        let other = uuid("6a7e3a70-0000-4000-8000-000000000003");
        let asker = Asker { bypass: vec![other.clone()], ..self.asker() };
        drop(self.told().await);
        // Whoever writes down what is heard has done so before he passes on the next request.
        for _ in 0..2 {
            self.client.check_present(&asker, key).await.expect("an answer");
        }
        let told = self.told().await;
        self.node.clear(key).await;
        match told.bypass(&other) {
            true => "both",
            false if self.triple.far().newest().lists_others() => "ours",
            false => "none",
        }
    }

    /// What the node was told since this was asked last. Whoever writes it down has done so before
    /// he passes on the next request.
    async fn told(&self) -> Told {
        if matches!(self.node.ears, Ears::File { .. }) {
            let absent = self.sample(9, 77).key;
            self.node.annex.check_present(&self.asker(), &absent).await.expect("an answer");
        }
        self.node.told()
    }

    async fn store(&self, key: &Key, content: Content) -> Result<Vec<Uuid>> {
        Ok(self.client.put(&self.asker(), key, &file(), content).await?.plus)
    }

    async fn open(&self, key: &Key, from: u64) -> Result<Content> {
        self.client.get(&self.asker(), key, &file(), Span::starting_at(from)).await
    }

    fn listed(&self, plus: &[Uuid]) -> &'static str {
        match (plus, self.triple.between) {
            ([], _) => "yes",
            ([node], Between::Cluster) if node == self.node.uuid() => "listed",
            _ => panic!("{}: {plus:?}", self.triple),
        }
    }

    fn is_recorded(&self, key: &Key) -> bool {
        self.ledger.holders(key).contains(self.node.uuid())
    }

    fn asker(&self) -> Asker {
        Asker { client: Some(uuid(CLIENT)), ..Asker::with_mode(Mode::FULL) }
    }

    /// Contents of which no other run at the same node has any.
    fn sample(&self, seed: u8, len: usize) -> Sample {
        Sample::secure(seed, len + self.number)
    }

    async fn eventually<T>(
        &self,
        what: &str,
        ask: impl AsyncFnMut() -> std::result::Result<T, String>,
    ) -> T {
        eventually(&format!("{}: {what}", self.triple), ask).await
    }
}

/// All that came, and how it ended.
async fn read(content: Content) -> (Vec<u8>, Result<Verdict>) {
    let mut got = Vec::new();
    let ended = content.pour(|bytes| {
        got.extend_from_slice(&bytes);
        Ok(())
    });
    let ended = ended.await;
    (got, ended)
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a dir/a file"))
}
