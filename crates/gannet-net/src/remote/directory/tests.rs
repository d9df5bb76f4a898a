//! The layout of git-annex, and disks that are gone.

use gannet_core::{Annex, Span, Verdict};
use gannet_testkit::{Sample, ScratchDir};

use super::*;
use crate::remote::special::tests::{Setting, special_keeps_its_promise};

special_keeps_its_promise!(whole, place(None));
special_keeps_its_promise!(chunked, place(Some(7000)));

fn place(chunk: Option<u64>) -> gannet_testkit::Parts {
    let dir = ScratchDir::new();
    Setting::over(Directory::new(dir.path()), chunk).place_with(dir)
}

#[tokio::test]
async fn objects_lie_where_git_annex_has_them() {
    let dir = ScratchDir::new();
    let setting = Setting::over(Directory::new(dir.path()), None);
    let bytes = Sample::secure(1, 0).bytes;
    let sample = Sample::hashed("SHA256E", "", bytes);
    setting.put(&sample).await.unwrap();
    let name = "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut found = Vec::new();
    list(dir.path(), "", &mut found);
    let expected = [
        ("/f87".to_owned(), 0o755),
        ("/f87/4d5".to_owned(), 0o755),
        (format!("/f87/4d5/{name}"), 0o555),
        (format!("/f87/4d5/{name}/{name}"), 0o444),
        ("/tmp".to_owned(), 0o755),
    ];
    assert_eq!(found, expected);
    assert!(setting.remove(&sample.key).await.unwrap());
    found.clear();
    list(dir.path(), "", &mut found);
    assert_eq!(found, [("/tmp".to_owned(), 0o755)]);
}

#[tokio::test]
async fn objects_of_old_are_found_and_removed() {
    let dir = ScratchDir::new();
    let setting = Setting::over(Directory::new(dir.path()), None);
    let sample = Sample::secure(1, 1000);
    let dirs = hash_dirs(Scheme::Mixed, Levels::Two, &sample.key);
    let place = dir.path().join(dirs).join(sample.key.to_string());
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(sample.key.to_string()), &sample.bytes).unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o555)).unwrap();
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    assert!(setting.remove(&sample.key).await.unwrap());
    assert!(!setting.present(&sample.key).await);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_not_empty() {
    let dir = ScratchDir::new();
    let setting = Setting::over(Directory::new(&dir.path().join("disk")), None);
    let (annex, asker) = (setting.annex(), setting.asker());
    let sample = Sample::secure(1, 1000);
    for _ in 0..2 {
        assert!(annex.check_present(&asker, &sample.key).await.is_err());
        assert!(matches!(setting.get(&sample.key, Span::ALL).await, Err(Error::Disk { .. })));
        assert!(setting.put(&sample).await.is_err());
        assert!(setting.remove(&sample.key).await.is_err());
        // Nor is a file.
        fs::write(dir.path().join("disk"), "").unwrap();
    }
    fs::remove_file(dir.path().join("disk")).unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    setting.put(&sample).await.unwrap();
    assert!(setting.present(&sample.key).await);
}

#[tokio::test]
async fn what_a_crash_left_goes_with_the_next_put() {
    let dir = ScratchDir::new();
    let setting = Setting::over(Directory::new(dir.path()), None);
    let [left, theirs] = ["tmp/gannet-0123", "tmp/SHA256--x"].map(|it| dir.path().join(it));
    for dir in [&left, &theirs] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("half"), "half").unwrap();
    }
    setting.put(&Sample::secure(1, 1000)).await.unwrap();
    assert!(!left.exists());
    assert!(theirs.exists(), "git-annex may be writing it");
}

#[tokio::test]
async fn a_crash_between_two_steps_shows_nothing() {
    let dir = ScratchDir::new();
    let store = Directory::new(dir.path());
    let sample = Sample::secure(1, 1000);
    let beside = Beside::new(dir.path()).unwrap();
    fs::write(beside.dir.join(sample.key.to_string()), &sample.bytes).unwrap();
    assert_eq!(store.find(&sample.key).await.unwrap(), None);
    let kept = beside.dir.clone();
    drop(beside);
    assert!(!kept.exists());
}

fn list(root: &Path, below: &str, found: &mut Vec<(String, u32)>) {
    let mut entries: Vec<_> =
        fs::read_dir(root.join(below.trim_start_matches('/'))).unwrap().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata().unwrap();
        found.push((name.clone(), metadata.permissions().mode() & 0o7777));
        if metadata.is_dir() {
            list(root, &name, found);
        }
    }
}
