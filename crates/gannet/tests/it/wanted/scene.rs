//! A repository whose git-annex branch knows of many others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use gannet_core::place::{Levels, log_path};
use gannet_core::{Key, Uuid};

use super::How;
use super::generate::{self, GROUPS, STANDARD};
use crate::harness::world::finish;
use crate::harness::{Repo, Seeded, World};

/// How much there is.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Repositories that want something.
    pub(super) askers: usize,
    /// Files of the work tree, each with a key of its own.
    pub(super) files: usize,
}

/// The repository, and what was made up.
pub(super) struct Scene {
    pub(super) repo: Repo,
    askers: Vec<Uuid>,
    /// Key of each file.
    pub(super) keys: BTreeMap<String, String>,
}

impl Scene {
    pub(super) fn make(world: &World, seed: u64, shape: Shape) -> Self {
        let chance = &mut Seeded::new(seed);
        let repo = Repo::create(world, "knowing", generate::KNOWING, false);
        let askers: Vec<Uuid> = (0..shape.askers)
            .map(|_| Uuid::from_random(chance.bytes(16).try_into().unwrap()))
            .collect();
        let keys: BTreeMap<String, String> = (0..shape.files)
            .map(|n| (generate::file(chance, n), generate::key(chance, n)))
            .collect();
        let scene = Self { repo, askers, keys };
        scene.write_logs_of_repositories(chance);
        for (n, key) in scene.keys.values().enumerate() {
            scene.write_logs_of_key(chance, n, key);
        }
        scene.add_files(world);
        scene
    }

    /// Everybody, and how they are asked: git-annex has to be started for each.
    pub(super) fn questions(&self) -> impl Iterator<Item = (&Uuid, How)> {
        let hows =
            |n: usize| if n.is_multiple_of(2) { &[How::Get, How::Drop][..] } else { &[How::Get] };
        let all = self.askers.iter().enumerate();
        all.flat_map(move |(n, asker)| hows(n).iter().map(move |how| (asker, *how)))
    }

    /// What git-annex says yes to.
    pub(super) fn ask_git_annex(&self, world: &World, asker: &Uuid, how: How) -> BTreeSet<String> {
        let option = match how {
            How::Get => format!("--want-get-by={asker}"),
            How::Drop => format!("--want-drop-by={asker}"),
        };
        let said = world.annex(self.repo.path(), &["find", "--print0", &option]);
        said.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn write_logs_of_repositories(&self, chance: &mut Seeded) {
        let old = |values: &BTreeMap<&Uuid, String>| {
            let mut log = String::new();
            for (uuid, value) in values {
                writeln!(log, "{uuid} {value} timestamp=1600000000s").unwrap();
            }
            log
        };
        let mut logs: BTreeMap<&str, String> = BTreeMap::new();
        let all = self.askers.iter();
        let knowing = Uuid::parse(generate::KNOWING.as_bytes()).unwrap();
        let described = all.clone().chain([&knowing]).map(|uuid| (uuid, format!("r {uuid}")));
        logs.insert("uuid.log", old(&described.collect()));
        let mut values = |share: u64, value: fn(&mut Seeded) -> String| {
            let chosen: Vec<_> = all.clone().filter(|_| chance.below(100) < share).collect();
            old(&chosen.into_iter().map(|uuid| (uuid, value(chance))).collect())
        };
        let trust = values(40, |chance| {
            ["1", "0", "X", "?"][usize::try_from(chance.below(4)).unwrap()].to_owned()
        });
        logs.insert("trust.log", trust);
        logs.insert("group.log", values(95, generate::groups));
        logs.insert("preferred-content.log", values(95, generate::expression));
        logs.insert("required-content.log", values(25, generate::expression));
        logs.insert(
            "remote.log",
            values(30, |_| {
                "name=x type=directory preferreddir=my&32;pics encryption=none".to_owned()
            }),
        );
        let mut of_groups = String::new();
        for group in GROUPS.iter().chain(STANDARD) {
            if chance.below(3) == 0 {
                continue;
            }
            let text =
                if chance.below(8) == 0 { String::new() } else { generate::expression(chance) };
            writeln!(of_groups, "1600000000s {group} {text}").unwrap();
        }
        logs.insert("group-preferred-content.log", of_groups);
        let mut limits = String::new();
        for uuid in &self.askers {
            if chance.below(2) == 0 {
                continue;
            }
            let limit = if chance.below(6) == 0 { 0 } else { chance.below(40_000_000) };
            writeln!(limits, "1600000000s {uuid} {limit}").unwrap();
        }
        logs.insert("maxsize.log", limits);
        logs.insert("numcopies.log", format!("1600000000s {}\n", 1 + chance.below(4)));
        for (name, log) in logs {
            self.journal(name.as_bytes(), &log);
        }
    }

    fn write_logs_of_key(&self, chance: &mut Seeded, n: usize, key: &str) {
        let parsed = Key::parse(key.as_bytes()).unwrap();
        let path = |suffix| log_path(Levels::Two, &parsed, suffix);
        let often = chance.below(60);
        let mut locations = String::new();
        for uuid in &self.askers {
            if chance.below(100) < often {
                writeln!(locations, "1600000000s 1 {uuid}").unwrap();
            } else if chance.below(8) == 0 {
                writeln!(locations, "1600000000s 0 {uuid}").unwrap();
            }
        }
        if locations.is_empty() {
            // Without a log, no key would be found.
            writeln!(locations, "1600000000s 0 {}", self.askers[n % self.askers.len()]).unwrap();
        }
        self.journal(&path(".log"), &locations);
        if chance.below(2) == 0 {
            self.journal(&path(".log.met"), &generate::metadata(chance));
        }
        if chance.below(3) == 0 {
            self.journal(&path(".log.web"), &generate::urls(chance));
        }
        if parsed.backend() == b"VURL" && chance.below(3) > 0 {
            let backend = if chance.below(2) == 0 { "MD5" } else { "SHA256" };
            self.journal(&path(".log.ek"), &format!("1600000000s 1 {backend}--x\n"));
        }
    }

    /// Writes a file of the branch where git-annex writes it before it commits.
    fn journal(&self, path: &[u8], log: &str) {
        let dir = self.repo.annex_dir().join("journal");
        fs::create_dir_all(&dir).unwrap();
        let path = std::str::from_utf8(path).unwrap();
        fs::write(dir.join(path.replace('_', "__").replace('/', "_")), log).unwrap();
    }

    /// Adds the files, and lets git-annex commit what is in the journal.
    fn add_files(&self, world: &World) {
        fs::write(self.repo.path().join(".gitattributes"), generate::ATTRIBUTES).unwrap();
        world.git(self.repo.path(), &["add", ".gitattributes"]);
        let mut command = world.command(self.repo.path(), "git");
        command.args(["annex", "fromkey", "--force", "--batch", "--quiet"]);
        let list = world.fresh("files");
        let lines = self.keys.iter().map(|(file, key)| format!("{key} {file}\n"));
        fs::write(&list, lines.collect::<String>()).unwrap();
        command.stdin(fs::File::open(list).unwrap());
        finish(&mut command, std::time::Duration::from_secs(60)).expect_ok();
        world.git(self.repo.path(), &["commit", "--quiet", "-m", "files"]);
        let left = fs::read_dir(self.repo.annex_dir().join("journal"));
        assert!(left.is_ok_and(|left| left.count() == 0), "the journal is committed");
    }
}
