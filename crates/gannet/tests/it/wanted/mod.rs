//! Preferred content: what Gannet says is wanted is what git-annex says is wanted.
//!
//! Repositories are made up, with expressions, groups, trust, limits, contents, metadata and URLs
//! chosen by chance. All that is written into the journal of one real repository, where git-annex is
//! asked about all files at once, repository by repository; and so is Gannet, which reads it from
//! there by itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gannet_cluster::wanted::{self, Question};
use gannet_core::{AssociatedFile, Key, Ledger, Uuid};

use crate::harness::{World, usual_or_long};

mod command;
mod generate;
mod nameless;
mod scene;

use scene::{Scene, Shape};

#[test]
fn expressions_mean_what_git_annex_says_they_mean() {
    let (scenes, shape) =
        usual_or_long((2, Shape { askers: 24, files: 80 }), (60, Shape { askers: 60, files: 90 }));
    let first = std::env::var("GANNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut cases = 0;
    let mut wanted = 0;
    for seed in first..first + scenes {
        let (asked, yes) = compare(seed, shape);
        cases += asked;
        wanted += yes;
    }
    println!("{cases} cases agree, in {wanted} of them the answer is yes");
    assert!(cases >= 2000, "only {cases} cases were compared");
    assert!(wanted > cases / 10 && wanted < cases * 9 / 10, "{wanted} of {cases} is no mixture");
}

/// Compares all answers about one scene. Returns how many there were, and how often it was yes.
fn compare(seed: u64, shape: Shape) -> (usize, usize) {
    let world = World::new();
    let scene = Scene::make(&world, seed, shape);
    let ours = Ours::of(&scene);
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    let totals = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((asker, how)) =
                    scene.questions().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let theirs = scene.ask_git_annex(&world, asker, how);
                    let (all, our) = ours.answer(&scene, asker, how);
                    let mut totals = totals.lock().unwrap();
                    totals.0 += all.len();
                    totals.1 += theirs.len();
                    for item in our.symmetric_difference(&theirs) {
                        let why = ours.explain(&scene, asker, how, item);
                        let yes = theirs.contains(item);
                        let what =
                            format!("seed {seed}, {how:?} {item}: git-annex says {yes}: {why}");
                        differences.lock().unwrap().push((asker, what));
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    // One for each of those who were asked is enough to begin with.
    let mut askers = BTreeSet::new();
    let shown: Vec<&str> = differences
        .iter()
        .filter(|(asker, _)| askers.insert(*asker))
        .take(SHOWN_MAX)
        .map(|(_, what)| what.as_str())
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
    totals.into_inner().unwrap()
}

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Which files are wanted.
    Get,
    /// Which files are not, when they are assumed to be gone.
    Drop,
}

/// What Gannet knows of a scene.
struct Ours {
    runtime: tokio::runtime::Runtime,
    repo: gannet_repo::Repo,
}

impl Ours {
    fn of(scene: &Scene) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let clock = gannet_testkit::TestClock::new();
        let repo = gannet_repo::Repo::open(scene.repo.path(), clock).unwrap();
        drop(guard);
        Self { runtime, repo }
    }

    /// Everything that was asked about, and what the answer is yes to.
    fn answer(
        &self,
        scene: &Scene,
        asker: &Uuid,
        how: How,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let items: BTreeSet<_> = scene.keys.keys().cloned().collect();
        let yes = items.iter().filter(|item| {
            let wants = self.with(scene, asker, how, item, wanted::wants);
            // What is not configured is not wanted by those who only get what is.
            wants.unwrap_or(false) != (how == How::Drop)
        });
        let yes = yes.cloned().collect();
        (items, yes)
    }

    fn explain(&self, scene: &Scene, asker: &Uuid, how: How, item: &str) -> String {
        self.with(scene, asker, how, item, |question| {
            let key = question.key;
            format!("{asker} {key} {}", wanted::explain(question, None))
        })
    }

    fn with<T>(
        &self,
        scene: &Scene,
        asker: &Uuid,
        how: How,
        item: &str,
        ask: impl FnOnce(&Question<'_>) -> T,
    ) -> T {
        let key = Key::parse(scene.keys[item].as_bytes()).unwrap();
        let file = AssociatedFile(item.to_owned().into());
        let (facts, sizes) = self.runtime.block_on(async {
            (self.repo.facts(&key, &file).await.unwrap(), self.repo.sizes().await.unwrap())
        });
        let gone = how == How::Drop;
        ask(&Question {
            repository: asker,
            key: &key,
            file: &file,
            facts: &facts,
            sizes: &sizes,
            gone,
        })
    }
}

/// git-annex processes at a time.
const AT_ONCE: usize = 2;
const SHOWN_MAX: usize = 12;
