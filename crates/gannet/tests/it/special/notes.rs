//! What a repository notes of its special remotes is the same whoever notes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread;

use gannet::clock::SystemClock;
use gannet_core::{Annex, Asker, Chunks, Clock, Key, Mode, Notes, Uuid};
use gannet_net::remote::external::External;
use gannet_net::remote::special::{Special, Whole};
use gannet_repo::Repo as Notebook;

use super::Scene;
use crate::harness::HELLO;

#[tokio::test]
async fn programs_have_the_same_noted_by_both() {
    let steps: [&[&str]; 4] = [
        &[
            "SETSTATE {key} some state",
            "SETURLPRESENT {key} http://host/a b",
            "SETURLPRESENT {key} http://host/c",
            "SETURIPRESENT {key} x:y",
            "SETWANTED include=*.x or  b",
            "SETCREDS it me pass word",
            "SETCREDS a/b me ",
        ],
        &["SETURLMISSING {key} http://host/a b", "SETSTATE {key}  two  "],
        &["SETURLMISSING {key} http://host/c", "SETURIMISSING {key} x:y", "SETWANTED "],
        &["SETURLMISSING {key} http://never", "SETSTATE {key} ", "SETURLPRESENT {key} ftp://h"],
    ];
    // An empty line has one more answer heard to what was asked last.
    let asks = [
        "GETSTATE {key}",
        "GETURLS {key} ",
        "\n\n\n",
        "GETURLS {key} http",
        "\n",
        "GETWANTED",
        "GETCREDS it",
        "GETCREDS a/b",
    ];
    let (theirs, ours) = (Pair::new(), Pair::new());
    let asker = Asker::with_mode(Mode::FULL);
    for step in steps {
        for pair in [&theirs, &ours] {
            pair.tell("notes", &step.join("\n"));
        }
        theirs.scene.annex(&["fsck", "--quiet", "--from", "there", "--fast", "file"]);
        let notebook = ours.notebook();
        assert!(ours.program(&notebook).check_present(&asker, &ours.key).await.unwrap());
        notebook.flush().await.unwrap();
        assert_eq!(theirs.noted(), ours.noted(), "{step:?}");
        assert_eq!(theirs.credentials(), ours.credentials());
    }
    // Each reads what the other noted.
    for pair in [&theirs, &ours] {
        pair.forget("notes");
        pair.tell("notes", &steps[0].join("\n"));
    }
    theirs.scene.annex(&["fsck", "--quiet", "--from", "there", "--fast", "file"]);
    let notebook = ours.notebook();
    ours.program(&notebook).check_present(&asker, &ours.key).await.unwrap();
    drop(notebook); // what is in the journal only is read as well
    for pair in [&theirs, &ours] {
        pair.forget("notes");
        pair.tell("asks", asks.join("\n").trim_end());
    }
    ours.scene.annex(&["fsck", "--quiet", "--from", "there", "--fast", "file"]);
    let notebook = theirs.notebook();
    theirs.program(&notebook).check_present(&asker, &theirs.key).await.unwrap();
    let answers = theirs.answers();
    assert_eq!(answers, ours.answers());
    assert!(answers.contains("VALUE some state\nVALUE x:y\nVALUE ftp://h\n"), "{answers}");
    assert!(answers.ends_with("VALUE include=*.x or  b\nCREDS me pass word\nCREDS me \n"));
}

#[tokio::test]
async fn chunks_are_noted_as_git_annex_does() {
    let scene = Scene::new("type=directory", Some(4));
    let notebook = open(&scene);
    let uuid = scene.uuid();
    fs::write(scene.repo.path().join("file"), "ten bytes!").unwrap();
    scene.annex(&["add", "--quiet", "file"]);
    let key = Key::parse(scene.annex(&["lookupkey", "file"]).trim().as_bytes()).unwrap();
    let chunks = |bytes, count| Chunks { bytes: NonZeroU64::new(bytes).unwrap(), count };
    // Committed, and in the journal only.
    scene.annex(&["copy", "--quiet", "--to", "there", "file"]);
    assert_eq!(notebook.chunks(&uuid, &key).await.unwrap(), [chunks(4, 3)]);
    let uncommitted = ["-c", "annex.alwayscommit=false"];
    scene.annex(&[&["drop", "--quiet", "--from", "there", "file"], &uncommitted[..]].concat());
    assert_eq!(notebook.chunks(&uuid, &key).await.unwrap(), []);
    // In the same second as what it changes.
    notebook.note_chunks(&uuid, &key, chunks(4, 3)).await.unwrap();
    notebook.note_chunks(&uuid, &key, chunks(5, 2)).await.unwrap();
    let expected = [chunks(4, 3), chunks(5, 2)];
    assert_eq!(notebook.chunks(&uuid, &key).await.unwrap(), expected);
    assert_eq!(notebook.chunks(&Uuid::web(), &key).await.unwrap(), []);
    notebook.flush().await.unwrap();
    // It is believed: where these chunks should be nothing is.
    fs::remove_dir_all(scene.objects()).unwrap();
    fs::create_dir(scene.objects()).unwrap();
    let log = committed(&scene).into_iter().find(|(path, _)| path.ends_with(".cnk")).unwrap();
    let counts: BTreeSet<_> = log.1.into_iter().collect();
    assert_eq!(counts, [format!("{uuid}:4 3"), format!("{uuid}:5 2")].into());
    scene.annex(&["setpresentkey", &key.to_string(), uuid.as_str(), "1"]);
    scene.annex(&["drop", "--quiet", "--force", "--from", "there", "file"]);
    assert_eq!(notebook.chunks(&uuid, &key).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_both_note() {
    let scene = Arc::new(Scene::new("type=directory", None));
    let notebook = open(&scene);
    let uuid = scene.uuid();
    let key = Key::parse(HELLO.as_bytes()).unwrap();
    let theirs = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || {
            for round in 0..ROUNDS {
                scene.annex(&["registerurl", "--quiet", HELLO, &format!("http://theirs/{round}")]);
            }
        })
    };
    let mut rounds = 0;
    while !theirs.is_finished() || rounds < ROUNDS {
        let url = format!("http://ours/{rounds}");
        notebook.note_url(&key, url.as_bytes(), true).await.unwrap();
        let state = rounds.to_string();
        notebook.note_state(&uuid, &key, state.as_bytes()).await.unwrap();
        assert_eq!(notebook.state(&uuid, &key).await.unwrap(), state.as_bytes());
        rounds += 1;
        if rounds.is_multiple_of(10) {
            notebook.flush().await.unwrap();
        }
    }
    theirs.join().unwrap();
    notebook.flush().await.unwrap();
    let urls: BTreeSet<_> = notebook.urls(&key).await.unwrap().into_iter().collect();
    let all = |who: &'static str, count| (0..count).map(move |n| format!("http://{who}/{n}"));
    let expected = all("ours", rounds).collect::<Vec<_>>();
    let expected = expected.into_iter().chain(all("theirs", ROUNDS)).map(String::into_bytes);
    assert_eq!(urls, expected.collect());
    assert!(scene.annex(&["whereis", "--key", HELLO]).contains("http://theirs/0"));
}

/// A scene with an external special remote, and a file that is there.
struct Pair {
    scene: Scene,
    key: Key,
}

impl Pair {
    fn new() -> Self {
        let scene = Scene::new("type=external externaltype=sham", None);
        fs::write(scene.repo.path().join("file"), "some content").unwrap();
        scene.annex(&["add", "--quiet", "file"]);
        scene.annex(&["copy", "--quiet", "--to", "there", "file"]);
        let key = Key::parse(scene.annex(&["lookupkey", "file"]).trim().as_bytes()).unwrap();
        Self { scene, key }
    }

    fn notebook(&self) -> Notebook {
        open(&self.scene)
    }

    /// The remote as we see it.
    fn program(&self, notebook: &Notebook) -> Special {
        let notes: Arc<dyn Notes> = Arc::new(notebook.clone());
        self.scene.special_with(self.scene.uuid(), &notes, |spool| {
            Arc::new(Whole::new(External::new(self.scene.external(&notes)), spool.clone()))
        })
    }

    /// What the program shall say when it is asked whether something is there.
    fn tell(&self, file: &str, text: &str) {
        let mut text = text.replace("{key}", &self.key.to_string());
        text.push('\n');
        fs::write(self.scene.world.join("bin").join(file), text).unwrap();
    }

    fn forget(&self, file: &str) {
        fs::remove_file(self.scene.world.join("bin").join(file)).unwrap();
    }

    fn answers(&self) -> String {
        fs::read_to_string(self.scene.world.join("bin/answers")).unwrap()
    }

    /// What the branch says, without times, the remote called `REMOTE`.
    fn noted(&self) -> BTreeMap<String, BTreeSet<String>> {
        let uuid = self.scene.uuid();
        let about = |(path, lines): (String, Vec<String>)| {
            let lines = lines.into_iter().map(|line| line.replace(uuid.as_str(), "REMOTE"));
            (path, lines.collect())
        };
        let mut noted: BTreeMap<_, _> = committed(&self.scene).into_iter().map(about).collect();
        for other in ["activity.log", "remote.log", "uuid.log"] {
            noted.remove(other);
        }
        noted
    }

    fn credentials(&self) -> BTreeMap<String, (String, u32)> {
        let dir = self.scene.repo.annex_dir().join("creds");
        let file = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let name = name.replace(self.scene.uuid().as_str(), "REMOTE");
            (name, (text, entry.metadata().unwrap().permissions().mode()))
        };
        fs::read_dir(dir).unwrap().map(|entry| file(entry.unwrap())).collect()
    }
}

fn open(scene: &Scene) -> Notebook {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Notebook::open(scene.repo.path(), clock).unwrap()
}

/// The files of the git-annex branch, and their lines without the times in them.
fn committed(scene: &Scene) -> Vec<(String, Vec<String>)> {
    let git = |args: &[&str]| scene.world.git(scene.repo.path(), args);
    let names = git(&["ls-tree", "-r", "--name-only", "git-annex"]);
    let lines = |name: &str| {
        let text = git(&["cat-file", "blob", &format!("git-annex:{name}")]);
        text.lines().map(|line| timeless(line).to_owned()).collect()
    };
    names.lines().map(|name| (name.to_owned(), lines(name))).collect()
}

fn timeless(line: &str) -> &str {
    let is_time =
        |word: &str| word.ends_with('s') && word.starts_with(|c: char| c.is_ascii_digit());
    match line.split_once(' ') {
        Some((time, rest)) if is_time(time) && !line.contains(" timestamp=") => rest,
        _ => line.split(" timestamp=").next().unwrap_or_default(),
    }
}

const ROUNDS: usize = 15;
