//! Each target on its seeds and on some thousand changed ones, always the same.

use gannet_fuzz::{Mutator, TARGETS, Target, target};

fn smoke(target: &Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has seeds", target.name);
    for seed in &seeds {
        (target.run)(seed);
    }
    let mut mutator = Mutator::new(target.name.len() as u64);
    for _ in 0..target.smoke_runs {
        (target.run)(&mutator.change(&seeds));
    }
}

#[test]
fn what_is_quick_holds() {
    for target in TARGETS.iter().filter(|target| target.smoke_runs >= 1000) {
        smoke(target);
    }
}

#[test]
fn files_of_any_content_do_no_harm() {
    for name in ["keys-db", "config"] {
        smoke(target(name).expect("a target"));
    }
}

#[test]
fn any_sequence_of_requests_leaves_what_it_should() {
    smoke(target("api").expect("a target"));
}

#[test]
fn names_of_targets_differ() {
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
}
