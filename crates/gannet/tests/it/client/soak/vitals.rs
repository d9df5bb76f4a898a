//! What a server needs, second by second, and whether that grows.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::harness::Server;

/// What a server needs at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    descriptors: u64,
    threads: u64,
    children: u64,
    resident_kibibytes: u64,
    /// How long the oldest file in the journal has been there, in seconds.
    journal_seconds: u64,
}

/// All samples of a run.
#[derive(Default)]
pub(super) struct Vitals(Vec<Sample>);

/// One row of the table.
struct Row {
    name: &'static str,
    of: fn(&Sample) -> u64,
    /// By how much the median may be larger at the end than at the begin, beside an eighth of it.
    slack: u64,
}

impl Sample {
    /// Looks at `server`, and at the journal of the repository at `dir`, which has a work tree.
    pub(super) fn take(server: &Server, dir: &Path) -> Self {
        let entries = fs::read_dir(dir.join(".git/annex/journal")).into_iter().flatten().flatten();
        let changed = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok());
        let now = SystemTime::now();
        let ages = changed.map(|then| now.duration_since(then).unwrap_or_default().as_secs());
        Self {
            descriptors: server.descriptors() as u64,
            threads: server.threads() as u64,
            children: server.children() as u64,
            resident_kibibytes: server.resident_bytes() / 1024,
            journal_seconds: ages.max().unwrap_or(0),
        }
    }

    /// Tells whether nothing is held that was not held at rest before.
    pub(super) fn holds_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors && self.children == 0 && self.journal_seconds == 0
    }
}

impl Vitals {
    /// Adds what was seen a second after the last.
    pub(super) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Draws the table: the first third of the run beside the last.
    pub(super) fn report(
        &self,
        minutes: u64,
        counts: &[(&str, u64)],
        idle: &Sample,
        after: &Sample,
    ) -> String {
        let mut text = format!("{minutes} minutes, {} samples\n\n", self.0.len());
        writeln!(
            text,
            "{:<20}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  verdict",
            "", "at rest", "first ½", "first ^", "last ½", "last ^", "at rest"
        )
        .expect("write to a string");
        for row in ROWS {
            let [(first, first_max), (last, last_max)] = self.thirds(&row);
            let verdict = if row.is_flat(first, last) { "flat" } else { "GROWING" };
            let (idle, after) = ((row.of)(idle), (row.of)(after));
            let name = row.name;
            writeln!(
                text,
                "{name:<20}{idle:>9}{first:>9}{first_max:>9}{last:>9}{last_max:>9}{after:>9}  {verdict}"
            )
            .expect("write to a string");
        }
        text.push_str("\n½: the median, ^: the most, of the first and of the last third\n\n");
        let tenth = (self.0.len() / 10).max(1);
        let course = self.0.chunks(tenth).map(|part| part[part.len() / 2].resident_kibibytes);
        let course: Vec<_> = course.map(|kibibytes| kibibytes.to_string()).collect();
        writeln!(text, "memory in its course (KiB): {}\n", course.join(" "))
            .expect("write to a string");
        for (what, count) in counts {
            writeln!(text, "{count:>9} {what}").expect("write to a string");
        }
        text
    }

    /// Fails if anything was larger in the last third than in the first.
    #[track_caller]
    pub(super) fn expect_flat(&self) {
        for row in ROWS {
            let [(first, _), (last, _)] = self.thirds(&row);
            assert!(row.is_flat(first, last), "{} grew from {first} to {last}", row.name);
        }
        let oldest = self.0.iter().map(|sample| sample.journal_seconds).max().unwrap_or(0);
        assert!(oldest <= JOURNAL_SECONDS_MAX, "the journal was not committed for {oldest} s");
    }

    /// Median and maximum of the first and of the last third.
    fn thirds(&self, row: &Row) -> [(u64, u64); 2] {
        let third = self.0.len() / 3;
        [&self.0[..third], &self.0[self.0.len() - third..]].map(|part| {
            let mut values: Vec<_> = part.iter().map(row.of).collect();
            values.sort_unstable();
            let median = values.get(values.len() / 2).copied().unwrap_or(0);
            (median, values.last().copied().unwrap_or(0))
        })
    }
}

impl Row {
    fn is_flat(&self, first: u64, last: u64) -> bool {
        last <= first + first / 8 + self.slack
    }
}

const ROWS: [Row; 5] = [
    Row { name: "descriptors", of: |it| it.descriptors, slack: 8 },
    Row { name: "threads", of: |it| it.threads, slack: 8 },
    Row { name: "children", of: |it| it.children, slack: 0 },
    Row { name: "memory (KiB)", of: |it| it.resident_kibibytes, slack: 4096 },
    Row { name: "journal age (s)", of: |it| it.journal_seconds, slack: 1 },
];
/// The journal is committed within a second; git-annex, git and a busy machine may hold that up.
const JOURNAL_SECONDS_MAX: u64 = 20;

#[test]
fn growth_is_told_from_noise() {
    let grows = |step: u64| {
        let sample = |second| Sample {
            descriptors: 30 + second * step / 10 + second % 3,
            threads: 10,
            children: 0,
            resident_kibibytes: 15_000 + second % 700,
            journal_seconds: second % 2,
        };
        let vitals = Vitals((0..120).map(sample).collect());
        let [(first, _), (last, _)] = vitals.thirds(&ROWS[0]);
        !ROWS[0].is_flat(first, last)
    };
    assert!(!grows(0));
    assert!(grows(3));
}
