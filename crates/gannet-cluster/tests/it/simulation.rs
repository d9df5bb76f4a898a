//! Thousands of clusters to which everything happens, and what must be true whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gannet_cluster::Limits;
use gannet_core::backend::{Strength, strength};
use gannet_core::{Annex, AssociatedFile, Clock, Content, Error, PutOffset, Result, Span, Verdict};
use gannet_testkit::{Dice, Ending, Journey, Sample};
use tokio::time::{sleep, timeout};

use crate::scene::{Scene, asker, described, limits, node_uuid, place_of, read};
use crate::shaky::{Mishap, Mood, Shaky};

#[test]
fn whatever_happens_nothing_is_lost_or_made_up() {
    let runs = if std::env::var_os("GANNET_LONG").is_some() { 60_000 } else { 2000 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut seen = BTreeMap::new();
    for seed in 0..runs {
        let mut world = World::new(seed);
        runtime.block_on(async {
            for _ in 0..14 {
                world.step().await;
            }
        });
        for (what, times) in world.seen {
            *seen.entry(what).or_default() += times;
        }
    }
    println!("{seen:#?}");
    // Otherwise nothing was tried.
    for what in [
        "put: stored everywhere",
        "put: stored somewhere",
        "put: failed",
        "get: all",
        "get: broke off",
        "get: wrong bytes",
        "get: missing",
        "check: yes",
        "check: no",
        "check: unclear",
        "removed everywhere",
        "removed somewhere",
        "removed nowhere",
        "too late",
        "dropped",
        "at once",
        "unknown to the ledger",
    ] {
        let times: u32 = seen.get(what).copied().unwrap_or_default();
        assert!(times > 20, "{what}: {times} times");
    }
}

/// A cluster, and all that happens to it.
struct World {
    seed: u64,
    dice: Dice,
    scene: Scene,
    shaky: Vec<Shaky>,
    samples: Vec<Sample>,
    /// A put was dropped: nodes may have stored it, and nobody was told.
    dropped: bool,
    /// Wrong bytes were sent: nodes may hold them as a beginning, and reject what follows, once.
    spoiled: bool,
    seen: BTreeMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let limits = Limits {
            jobs: usize::try_from(1 + dice.below(4)).expect("few"),
            window_bytes: dice.below(3000),
            ..limits()
        };
        let scene = Scene::with(usize::try_from(1 + dice.below(5)).expect("few"), limits);
        let shaky: Vec<_> = scene.nodes.iter().cloned().map(Shaky::new).collect();
        let mut nodes = described(&scene.nodes);
        for (node, shaky) in nodes.iter_mut().zip(&shaky) {
            shaky.stern.set_faults(|faults| faults.piece_bytes = 700);
            node.annex = Arc::new(shaky.clone());
            if dice.percent(50) {
                node.cost = 100.0;
            }
        }
        scene.cluster.set_nodes(&nodes);
        let len = |dice: &mut Dice| usize::try_from(dice.below(6000)).expect("few");
        let samples = vec![
            Sample::secure(1, len(&mut dice)),
            Sample::hashed("MD5E", ".txt", Sample::secure(2, len(&mut dice)).bytes),
            Sample::unverifiable(3, len(&mut dice)),
        ];
        let seen = BTreeMap::new();
        Self { seed, dice, scene, shaky, samples, dropped: false, spoiled: false, seen }
    }

    /// Something happens, and what must be true is.
    async fn step(&mut self) {
        for place in 0..self.shaky.len() {
            if self.dice.percent(40) {
                let mood = self.some_mood();
                self.shaky[place].set_mood(mood);
            }
        }
        let sample = self.dice.pick(&self.samples).clone();
        match self.dice.below(12) {
            0..3 => self.put(&sample).await,
            3 => self.put_badly(&sample).await,
            4..6 => self.get(&sample).await,
            6 => self.check(&sample).await,
            7 => self.remove(&sample).await,
            8 => self.remove_before(&sample).await,
            9 => self.put_present(&sample).await,
            10 => self.two_at_once(&sample).await,
            _ => self.go_away(&sample).await,
        }
        self.all_is_quiet().await;
        self.the_ledger_is_true();
    }

    fn some_mood(&mut self) -> Mood {
        let dice = &mut self.dice;
        let after = |dice: &mut Dice| {
            let mishap = *dice.pick(&[Mishap::Killed, Mishap::Full, Mishap::Hangs]);
            (dice.below(6000), mishap)
        };
        let mut mood = Mood::default();
        match dice.below(20) {
            0 => mood.down = true,
            1 => mood.hangs = true,
            2 => mood.slow = Duration::from_millis(dice.below(30_000)),
            3 => mood.slow_pieces = Duration::from_millis(dice.below(5000)),
            4 => mood.lies = Some(dice.percent(50)),
            5 | 6 => mood.puts = Some(after(dice)),
            7 | 8 => mood.gets = Some(after(dice)),
            9 => mood.corrupt = true,
            10 => mood.vanishes = true,
            11 => mood.mute = true,
            _ => {}
        }
        mood
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn any(&self, is: impl Fn(&Mood, &Shaky) -> bool) -> bool {
        self.shaky.iter().any(|shaky| is(&shaky.mood(), shaky))
    }

    fn has(shaky: &Shaky, sample: &Sample) -> bool {
        shaky.stern.content_of(&sample.key).is_some()
    }

    async fn pour(&mut self, content: Content, sample: &Sample) -> Result<Vec<usize>> {
        let plus = self.scene.put("f", content, &sample.key).await?;
        Ok(plus.iter().map(place_of).collect())
    }

    async fn put(&mut self, sample: &Sample) {
        // Whoever is believed to have it, and has not, is not sent it.
        let holders = self.scene.ledger.holders(&sample.key);
        let good = self.any(|mood, shaky| {
            let in_vain = holders.contains(shaky.uuid()) && !Self::has(shaky, sample);
            mood.is_good() && !in_vain
        });
        let mut from = 0;
        if self.dice.percent(50) {
            let file = AssociatedFile("f".into());
            match self.scene.cluster.put_offset(&asker(), &sample.key, &file).await {
                Ok(PutOffset::From(held)) => from = held,
                Ok(PutOffset::AlreadyHave { plus }) => {
                    for node in plus {
                        assert!(Self::has(&self.shaky[place_of(&node)], sample), "{self:?}");
                    }
                }
                Err(error) => assert!(!good, "{self:?}: {error:?}"),
            }
        }
        let piece_bytes = usize::try_from(1 + self.dice.below(900)).expect("few");
        let journey = Journey { piece_bytes, ..Journey::of(&sample.bytes, from) };
        match self.pour(journey.content(), sample).await {
            Ok(plus) => {
                assert!(!plus.is_empty(), "{self:?}");
                for &place in &plus {
                    let content = self.shaky[place].stern.content_of(&sample.key);
                    assert!(content.as_ref() == Some(&sample.bytes), "{self:?}: {place}");
                }
                let all = plus.len() == self.shaky.len();
                self.saw(if all { "put: stored everywhere" } else { "put: stored somewhere" });
            }
            // A node that did not answer before may hold less.
            Err(Error::WrongOffset { .. }) if from > 0 => self.saw("put: from too far"),
            Err(error) => {
                let spoiled = self.spoiled && matches!(error, Error::Rejected { .. });
                assert!(!good || spoiled, "{self:?}: {error:?}");
                self.saw("put: failed");
            }
        }
    }

    /// Puts what must not be stored.
    async fn put_badly(&mut self, sample: &Sample) {
        let before: Vec<_> = self.shaky.iter().map(|shaky| Self::has(shaky, sample)).collect();
        let journey = Journey::of(&sample.bytes, 0);
        let sent = self.dice.below(sample.len() + 1);
        let proves = strength(&sample.key) != Strength::SizeOnly && !sample.is_empty();
        let how = self.dice.below(4);
        let journey = match how {
            0 => journey.cut(sent, Ending::Silence),
            1 => journey.cut(sent, Ending::Broken),
            2 if proves => {
                self.spoiled = true;
                let mut bytes = sample.bytes.to_vec();
                bytes[0] ^= 1;
                Journey::of(&bytes.into(), 0)
            }
            _ => journey.ending(Ending::Verdict(Verdict::Doubtful)),
        };
        let had = before.contains(&true);
        let stored = self.pour(journey.content(), sample).await.is_ok();
        for (shaky, before) in self.shaky.iter().zip(before) {
            let content = shaky.stern.content_of(&sample.key);
            assert!(content.as_ref().is_none_or(|content| *content == sample.bytes), "{self:?}");
            // Whoever holds the right beginning does not see the wrong one.
            assert!(before || content.is_none() || how == 2, "{self:?}");
        }
        assert!(!stored || had || how == 2, "{self:?}");
    }

    async fn get(&mut self, sample: &Sample) {
        let from = self.dice.below(sample.len() + 2);
        let to = self.dice.percent(30).then(|| self.dice.below(sample.len() + 2));
        let span = if self.dice.percent(50) { Span::ALL } else { Span { from, to } };
        let good = self.any(|mood, shaky| mood.is_good() && Self::has(shaky, sample));
        let corrupt = self.any(|mood, _| mood.corrupt);
        let proves = strength(&sample.key) != Strength::SizeOnly;
        let (from, len) = span.within(sample.len());
        let place = |offset: u64| usize::try_from(offset).expect("few");
        let expected = sample.bytes.slice(place(from)..place(from + len));
        let broke = match self.scene.get(&sample.key, span).await {
            Ok(content) => {
                assert_eq!((content.total, content.len), (sample.len(), len), "{self:?}");
                match read(content).await {
                    Ok((bytes, verdict)) => {
                        assert_eq!(verdict, Verdict::Valid, "{self:?}");
                        assert!(bytes == expected || corrupt, "{self:?}");
                        self.saw(if bytes == expected { "get: all" } else { "get: wrong bytes" });
                        return;
                    }
                    Err(error) => {
                        self.saw("get: broke off");
                        error
                    }
                }
            }
            Err(Error::Missing { .. }) => {
                assert!(!self.any(|_, shaky| Self::has(shaky, sample)), "{self:?}");
                self.saw("get: missing");
                return;
            }
            Err(error) => error,
        };
        assert!(!good || !proves, "{self:?}: {broke:?}");
    }

    async fn check(&mut self, sample: &Sample) {
        let says = |mood: &Mood, shaky: &Shaky| mood.lies.unwrap_or(Self::has(shaky, sample));
        match self.scene.cluster.check_present(&asker(), &sample.key).await {
            Ok(true) => {
                assert!(self.any(says), "{self:?}");
                self.saw("check: yes");
            }
            Ok(false) => {
                let no = |mood: &Mood, shaky: &Shaky| mood.answers() && !says(mood, shaky);
                assert!(!self.any(|mood, shaky| !no(mood, shaky)), "{self:?}");
                self.saw("check: no");
            }
            Err(error) => {
                assert!(!self.any(|mood, shaky| mood.is_good() && says(mood, shaky)), "{self:?}");
                assert!(self.any(|mood, _| !mood.is_good()), "{self:?}: {error:?}");
                self.saw("check: unclear");
            }
        }
    }

    async fn remove(&mut self, sample: &Sample) {
        let removal = self.scene.cluster.remove(&asker(), &sample.key).await;
        self.judge_removal(removal, sample);
    }

    fn judge_removal(&mut self, removal: Result<gannet_core::Removal>, sample: &Sample) {
        match removal {
            Ok(removal) => {
                for node in &removal.plus {
                    assert!(!Self::has(&self.shaky[place_of(node)], sample), "{self:?}");
                }
                if removal.removed {
                    assert!(!self.any(|_, shaky| Self::has(shaky, sample)), "{self:?}");
                    assert_eq!(removal.plus.len(), self.shaky.len(), "{self:?}");
                    self.saw("removed everywhere");
                } else {
                    self.saw("removed somewhere");
                }
            }
            Err(_) => {
                assert!(!self.any(|mood, _| mood.is_good()), "{self:?}");
                self.saw("removed nowhere");
            }
        }
    }

    async fn remove_before(&mut self, sample: &Sample) {
        let having: Vec<_> = self.shaky.iter().map(|shaky| Self::has(shaky, sample)).collect();
        let late = self.dice.percent(30);
        let now = self.scene.clock.boot();
        let deadline = if late { now } else { now.plus(1 + self.dice.below(100)) };
        let removal = self.scene.cluster.remove_before(&asker(), &sample.key, deadline).await;
        if late {
            for (shaky, had) in self.shaky.iter().zip(having) {
                assert_eq!(Self::has(shaky, sample), had, "{self:?}");
            }
            assert!(removal.is_err() || removal.is_ok_and(|it| !it.removed && it.plus.is_empty()));
            self.saw("too late");
        } else {
            self.judge_removal(removal, sample);
        }
    }

    async fn put_present(&mut self, sample: &Sample) {
        let file = AssociatedFile("f".into());
        match self.scene.cluster.put_present(&asker(), &sample.key, &file).await {
            Ok(stored) => {
                assert!(!stored.plus.is_empty(), "{self:?}");
                for node in &stored.plus {
                    assert!(Self::has(&self.shaky[place_of(node)], sample), "{self:?}");
                }
            }
            Err(Error::Missing { .. }) => {
                assert!(!self.any(|_, shaky| Self::has(shaky, sample)), "{self:?}");
            }
            Err(_) => {}
        }
    }

    /// What is recorded must be true in whatever order these end.
    async fn two_at_once(&mut self, sample: &Sample) {
        let (cluster, file) = (&self.scene.cluster, AssociatedFile("f".into()));
        let pause = Duration::from_millis(self.dice.below(3000));
        let asker = asker();
        let put = cluster.put(&asker, &sample.key, &file, sample.content(0));
        let other = self.dice.below(3);
        let other = async {
            sleep(pause).await;
            match other {
                0 => drop(cluster.put(&asker, &sample.key, &file, sample.content(0)).await),
                1 => drop(cluster.put_offset(&asker, &sample.key, &file).await),
                _ => drop(cluster.remove(&asker, &sample.key).await),
            }
        };
        drop(tokio::join!(put, other));
        self.saw("at once");
    }

    /// Whoever asked goes away in the middle.
    async fn go_away(&mut self, sample: &Sample) {
        let (cluster, file) = (Arc::clone(&self.scene.cluster), AssociatedFile("f".into()));
        let patience = Duration::from_millis(self.dice.below(20_000));
        let what = self.dice.below(3);
        let asker = asker();
        let asked = async {
            match what {
                0 => drop(cluster.put(&asker, &sample.key, &file, sample.content(0)).await),
                1 => drop(cluster.remove(&asker, &sample.key).await),
                _ => drop(self.scene.read(&sample.key, Span::ALL).await),
            }
        };
        if timeout(patience, asked).await.is_err() {
            self.dropped |= what == 0;
            self.saw("dropped");
        }
    }

    /// Nothing goes on once nobody waits, or soon afterwards.
    async fn all_is_quiet(&self) {
        let is_quiet =
            || self.scene.is_quiet() && self.shaky.iter().all(|shaky| shaky.alive() == 0);
        for _ in 0..500 {
            if is_quiet() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("something goes on: {self:?}");
    }

    /// What is recorded is so, unless nobody can know.
    fn the_ledger_is_true(&mut self) {
        for sample in self.samples.clone() {
            let holders = self.scene.ledger.holders(&sample.key);
            for place in 0..self.shaky.len() {
                let has = Self::has(&self.shaky[place], &sample);
                if has == holders.contains(&node_uuid(place)) {
                    self.shaky[place].forget(&sample.key);
                    continue;
                }
                let unknown = self.shaky[place].is_unknown(&sample.key) || has && self.dropped;
                assert!(unknown, "{self:?}: node {place} has {}: {has}", sample.key);
                self.saw("unknown to the ledger");
            }
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}", self.seed)?;
        for shaky in &self.shaky {
            write!(f, "\n  {:?}", shaky.mood())?;
        }
        Ok(())
    }
}
