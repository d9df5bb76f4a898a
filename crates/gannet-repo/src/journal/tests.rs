use proptest::prelude::*;

use super::*;
use crate::init::scratch::{At, Scratch, key, uuid};

fn present(name: &str, who: u8) -> Change {
    Change { key: key(name), uuid: uuid(who), claim: Claim::Is(Status::Present) }
}

fn record_all(scratch: &Scratch, changes: &[Change]) -> Vec<bool> {
    let results = record(&scratch.settings(), &scratch.git, &At(100), changes).unwrap();
    results.into_iter().map(Result::unwrap).collect()
}

fn names(dir: PathBuf) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_batch_says_for_each_change_whether_it_was_news() {
    let scratch = Scratch::new(true);
    let missing = Change { claim: Claim::Is(Status::Missing), ..present("a", 1) };
    let changes = [present("a", 1), present("a", 1), present("b", 1), missing];
    assert_eq!(record_all(&scratch, &changes), [true, false, true, true]);
    let path = log_path(scratch.settings().branch_levels, &key("a"), LOCATION_SUFFIX);
    let log = read_log(&scratch.settings(), &scratch.git, &path).unwrap();
    assert_eq!(log, format!("101s 0 {}\n", uuid(1)).into_bytes());
    assert_eq!(names(scratch.annex().join("journal")).len(), 2);
    assert_eq!(names(scratch.annex().join("othertmp")), [""; 0]);
}

#[test]
fn what_is_found_is_what_the_disk_has_at_that_moment() {
    let scratch = Scratch::new(true);
    let settings = scratch.settings();
    let found = Change { claim: Claim::AsFound, ..present("a", 1) };
    assert_eq!(record_all(&scratch, std::slice::from_ref(&found)), [true]);
    let object = Object::locate(&settings, &key("a")).unwrap();
    std::fs::create_dir_all(object.path().parent().unwrap()).unwrap();
    std::fs::write(object.path(), "hello\n").unwrap();
    assert_eq!(record_all(&scratch, &[found]), [true]);
    let path = log_path(settings.branch_levels, &key("a"), LOCATION_SUFFIX);
    let log = read_log(&settings, &scratch.git, &path).unwrap();
    assert_eq!(log, format!("101s 1 {}\n", uuid(1)).into_bytes());
}

#[test]
fn clusters_are_not_recorded_and_unrepresentable_keys_are_refused_alone() {
    let scratch = Scratch::new(true);
    let cluster = gannet_core::ClusterUuid::from_random([1; 16]);
    let cluster = Change { uuid: cluster.as_uuid().clone(), ..present("a", 1) };
    let odd = Change { key: Key::parse(b"_FOO--bar_baz").unwrap(), ..present("a", 1) };
    let changes = [cluster, odd, present("b_c/d", 1)];
    let results = record(&scratch.settings(), &scratch.git, &At(100), &changes).unwrap();
    assert!(
        matches!(&results[..], [Ok(false), Err(Error::Refused { .. }), Ok(true)]),
        "{results:?}"
    );
}

#[test]
fn private_matters_stay_out_of_the_branch() {
    let scratch = Scratch::new(true);
    scratch.run(&["config", "annex.private", "true"]);
    let settings = scratch.settings();
    let mine = Change { uuid: settings.uuid.clone(), ..present("a", 1) };
    assert_eq!(record_all(&scratch, &[mine, present("a", 1)]), [true, true]);
    assert_eq!(names(settings.annex.join("journal")).len(), 1);
    assert_eq!(names(settings.annex.join("journal-private")).len(), 1);
    let commit = || crate::branch::commit_journal(&settings, &scratch.git, &At(100)).unwrap();
    assert_eq!(commit(), 1);
    assert_eq!(names(settings.annex.join("journal-private")).len(), 1);
    let path = log_path(settings.branch_levels, &key("a"), LOCATION_SUFFIX);
    let log = read_log(&settings, &scratch.git, &path).unwrap();
    assert_eq!(log, format!("100s 1 {}\n100s 1 {}\n", uuid(1), settings.uuid).into_bytes());
}

#[test]
fn a_line_that_was_not_finished_does_not_count() {
    let scratch = Scratch::new(true);
    record_all(&scratch, &[present("a", 1)]);
    let journal = scratch.annex().join("journal");
    let file = journal.join(&names(journal.clone())[0]);
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(format!("200s 1 {}", &uuid(2).as_str()[..9]).as_bytes());
    std::fs::write(&file, text).unwrap();
    assert_eq!(record_all(&scratch, &[present("a", 3)]), [true]);
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(log, format!("100s 1 {}\n100s 1 {}\n", uuid(1), uuid(3)));
}

#[test]
fn names_are_those_of_git_annex() {
    let path = b"cab/441/SHA3_256-s5--abc.log";
    assert_eq!(&*file_name(path), b"cab_441_SHA3__256-s5--abc.log");
    for bad in ["", "_", "a_", "_a", "a_._b", ".._b", "a_.git", ".GIT_config"] {
        assert_eq!(branch_path(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_file_is_committed_to_the_path_that_names_it(name in "[a_.]{0,12}") {
        if let Some(path) = branch_path(name.as_bytes()) {
            let again = file_name(&path);
            prop_assert_eq!(&*again, name.as_bytes());
            prop_assert_eq!(branch_path(&again), Some(path.clone()));
        }
    }

    #[test]
    fn an_unambiguous_path_survives_the_journal(
        path in "[a-z&%é]{1,4}(/[a-z][a-z_]{0,4}){0,3}",
    ) {
        let decoded = branch_path(&file_name(path.as_bytes()));
        if path.contains("_/") {
            return Ok(());
        }
        prop_assert_eq!(decoded, Some(path.into_bytes()));
    }
}
