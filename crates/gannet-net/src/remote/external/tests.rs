//! A program that keeps objects in a directory, and the ways in which programs go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use gannet_core::{Annex, Credentials, Span, Verdict};
use gannet_testkit::{EXTERNAL_PROGRAM, MemoryNotes, Sample, ScratchDir};

use super::*;
use crate::remote::special::tests::{Setting, special_keeps_its_promise};

special_keeps_its_promise!(whole, Sham::new().place(None), odd_names_are_kept_apart);
special_keeps_its_promise!(chunked, Sham::new().place(Some(50_000)), odd_names_are_kept_apart);

#[tokio::test]
async fn a_program_is_used_again_and_ended_in_the_end() {
    let sham = Sham::new();
    let setting = sham.setting();
    let samples = [1, 2, 3].map(|seed| Sample::secure(seed, 1000));
    for sample in &samples {
        setting.put(sample).await.unwrap();
        assert_eq!(setting.read(&sample.key, Span::ALL).await.1, Verdict::Valid);
        assert!(setting.remove(&sample.key).await.unwrap());
        assert!(!setting.present(&sample.key).await);
    }
    assert_eq!(sham.started().len(), 1);
    assert_eq!(setting.spooled(), 0);
    drop(setting);
    sham.all_end().await;
}

#[tokio::test]
async fn no_more_programs_run_than_may() {
    let sham = Sham::new();
    let setting = sham.setting();
    let samples: Vec<_> = (0..12).map(|seed| Sample::secure(seed, 1000)).collect();
    for put in join_all(samples.iter().map(|sample| setting.put(sample))).await {
        put.unwrap();
    }
    assert!((1..=PROGRAMS_MAX).contains(&sham.started().len()), "{:?}", sham.started());
    drop(setting);
    sham.all_end().await;
}

#[tokio::test]
async fn whatever_a_program_asks_is_answered() {
    let sham = Sham::new();
    let key = Sample::secure(1, 1000).key;
    let uuid = sham.options().uuid;
    for url in [&b"http://a/1"[..], b"ftp://a/2", b"http://a/3"] {
        sham.notes.note_url(&key, url, true).await.unwrap();
    }
    let lines = [
        ("GETCONFIG directory", format!("VALUE {}", sham.path("objects").display())),
        ("GETCONFIG nothing", "VALUE ".to_owned()),
        ("GETUUID", format!("VALUE {uuid}")),
        ("GETGITDIR", "VALUE /srv/a repo/.git".to_owned()),
        ("GETGITREMOTENAME", "VALUE sham remote".to_owned()),
        (&format!("DIRHASH {HELLO}"), "VALUE zK/02/".to_owned()),
        (&format!("DIRHASH-LOWER {HELLO}"), "VALUE 992/280/".to_owned()),
        ("GETCREDS it", "CREDS  ".to_owned()),
        (&format!("GETSTATE {key}"), "VALUE ".to_owned()),
        (&format!("GETURLS {key} http:"), "VALUE http://a/1".to_owned()),
        ("", "VALUE http://a/3".to_owned()),
        ("", "VALUE ".to_owned()),
        ("GETWANTED", "VALUE ".to_owned()),
    ];
    let mut asks = String::new();
    for (ask, _) in &lines {
        asks.push_str(ask);
        asks.push('\n');
    }
    fs::write(sham.path("asks"), asks).unwrap();
    let notes = format!(
        "SETCONFIG a b c\nSETCREDS it me pass word\nSETSTATE {key} some state\nDEBUG d\nINFO i\n\
         PROGRESS 7\nSETURLMISSING {key} ftp://a/2\nSETURIPRESENT {key} x:y\nSETWANTED anything\n",
    );
    fs::write(sham.path("notes"), notes).unwrap();
    let setting = sham.setting();
    assert!(!setting.present(&key).await);
    let answers = fs::read_to_string(sham.path("answers")).unwrap();
    let expected: Vec<&str> = lines.iter().map(|(_, answer)| answer.as_str()).collect();
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
    let notes = &sham.notes;
    assert_eq!(notes.state(&sham.options().config_uuid, &key).await.unwrap(), b"some state");
    assert_eq!(notes.wanted(&uuid).await.unwrap(), b"anything");
    assert_eq!(notes.urls(&key).await.unwrap(), [&b"http://a/1"[..], b"http://a/3", b":x:y"]);
    let credentials = Credentials { user: b"me".to_vec(), password: b"pass word".to_vec() };
    assert_eq!(notes.credentials(&uuid, Some(b"it")).await.unwrap(), Some(credentials));
}

#[tokio::test]
async fn a_program_that_goes_wrong_is_ended_and_the_next_one_does_better() {
    let sample = Sample::secure(1, 1000);
    for (says, expected) in [
        ("exit", "the program ended"),
        ("exec sleep 1000", "the program said nothing for 3 seconds"),
        ("say ERROR it is over", "it is over"),
        ("say NONSENSE", "the program said what makes no sense: an unfitting line: NONSENSE"),
        ("say CHECKPRESENT-SUCCESS SHA256--other", "an answer about another key"),
        ("say DIRHASH no-key", "an unfitting line"),
        ("echo it hurts >&2; exit 1", "the program ended (it hurts)"),
        ("say CHECKPRESENT-UNKNOWN $key no idea", "looking for content failed: no idea"),
        ("head -c 100000 /dev/zero", "a line of more than 65536 bytes"),
    ] {
        let mut sham = Sham::new();
        sham.setting().put(&sample).await.unwrap();
        if expected.contains("seconds") {
            sham.patience = Duration::from_secs(3);
        }
        let setting = sham.setting();
        fs::write(sham.path("on-CHECKPRESENT"), says).unwrap();
        let (annex, asker) = (setting.annex(), setting.asker());
        let error = annex.check_present(&asker, &sample.key).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{says}: {error}");
        fs::remove_file(sham.path("on-CHECKPRESENT")).unwrap();
        assert!(setting.present(&sample.key).await, "{says}");
        drop((setting, annex));
        sham.all_end().await;
    }
}

#[tokio::test]
async fn a_program_that_cannot_begin_says_why() {
    let sample = Sample::secure(1, 1000);
    for (when, says, expected) in [
        ("on-start", "say VERSION 3", "it speaks version 3 of the protocol"),
        ("on-start", "say HELLO", "an unfitting line: HELLO"),
        ("on-start", "exit", "the program ended"),
        ("on-PREPARE", "say PREPARE-FAILURE no password", "no password"),
        ("on-EXTENSIONS", "say UNSUPPORTED-REQUEST", ""),
    ] {
        let sham = Sham::new();
        fs::write(sham.path(when), says).unwrap();
        let setting = sham.setting();
        let (annex, asker) = (setting.annex(), setting.asker());
        let present = annex.check_present(&asker, &sample.key).await;
        match expected {
            "" => assert!(!present.unwrap(), "{says}"),
            expected => {
                let error = present.unwrap_err().to_string();
                assert!(error.contains(expected), "{says}: {error}");
            }
        }
    }
    let sham = Sham::new();
    fs::remove_file(sham.path("git-annex-remote-sham")).unwrap();
    let setting = sham.setting();
    let error = setting.annex().check_present(&setting.asker(), &sample.key).await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[tokio::test]
async fn one_that_ended_while_it_was_idle_is_not_missed() {
    let sham = Sham::new();
    let setting = sham.setting();
    let sample = Sample::secure(1, 1000);
    setting.put(&sample).await.unwrap();
    for pid in sham.started() {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    assert!(setting.present(&sample.key).await);
    drop(setting);
    sham.all_end().await;
}

#[tokio::test]
async fn what_is_given_up_is_ended() {
    let sham = Sham::new();
    let setting = sham.setting();
    let [sample, other] = [1, 2].map(|seed| Sample::secure(seed, 1000));
    setting.put(&other).await.unwrap();
    fs::write(sham.path("on-TRANSFER"), "touch \"$0.reached\"; sleep 1000").unwrap();
    let reached = sham.path("git-annex-remote-sham.reached");
    {
        let putting = setting.put(&sample);
        tokio::pin!(putting);
        tokio::select! {
            put = &mut putting => panic!("it cannot end: {put:?}"),
            () = comes_to_be(&reached) => {}
        }
    }
    // Until the program has ended it might still store something.
    let busy = setting.put(&sample).await;
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    fs::remove_file(&reached).unwrap();
    {
        let content = setting.get(&other.key, Span::ALL).await.unwrap();
        let reading = content.pour(|_| Ok(()));
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => panic!("it cannot end: {read:?}"),
            () = comes_to_be(&reached) => {}
        }
        assert_eq!(setting.spooled(), 1, "what is to be stored is kept");
    }
    sham.all_end().await;
    fs::remove_file(sham.path("on-TRANSFER")).unwrap();
    for _ in 0..1000 {
        match setting.put(&sample).await {
            Err(Error::Busy { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            put => {
                put.unwrap();
                break;
            }
        }
    }
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    setting.comes_to_spool(0).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let sham = Sham::new();
    let setting = sham.setting();
    let sample = Sample::named("WORM-s4-m1--a b", bytes::Bytes::from_static(b"data"));
    let refused = setting.put(&sample).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert!(!setting.present(&sample.key).await);
    assert!(setting.remove(&sample.key).await.unwrap());
    fs::write(sham.path("on-GETCOST"), "say COST 250").unwrap();
    let external = External::new(sham.options());
    assert_eq!(external.cost().await.unwrap(), Some(250));
    fs::remove_file(sham.path("on-GETCOST")).unwrap();
    assert_eq!(external.cost().await.unwrap(), None);
}

/// A program that keeps objects in a directory, and does what files beside it say.
struct Sham {
    dir: Arc<ScratchDir>,
    notes: Arc<MemoryNotes>,
    patience: Duration,
}

impl Sham {
    fn new() -> Self {
        let dir = Arc::new(ScratchDir::new());
        let patience = Patience::default().answer;
        let sham = Self { dir, notes: Arc::default(), patience };
        fs::create_dir(sham.path("objects")).unwrap();
        let program = sham.path("git-annex-remote-sham");
        fs::write(&program, EXTERNAL_PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        sham
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> ExternalOptions {
        let objects = self.path("objects").into_os_string().into_encoded_bytes();
        ExternalOptions {
            program: Program {
                name: "sham".to_owned(),
                program: self.path("git-annex-remote-sham").into(),
                arguments: Vec::new(),
                environment: Vec::new(),
                attended: false,
            },
            uuid: Uuid::parse(b"5bec1a10-0000-4000-8000-000000000001").unwrap(),
            config_uuid: Uuid::parse(b"5bec1a10-0000-4000-8000-000000000002").unwrap(),
            name: b"sham remote".to_vec(),
            config: BTreeMap::from([(b"directory".to_vec(), objects)]),
            git_dir: "/srv/a repo/.git".into(),
            notes: Arc::clone(&self.notes) as Arc<dyn Notes>,
            programs_max: PROGRAMS_MAX,
            patience: Patience { answer: self.patience, ..Patience::default() },
        }
    }

    fn setting(&self) -> Setting {
        Setting::over_files(External::new(self.options()), None)
    }

    fn place(&self, chunk: Option<u64>) -> gannet_testkit::Parts {
        let external = External::new(self.options());
        Setting::over_files(external, chunk).place_with(Arc::clone(&self.dir))
    }

    /// The ids of all programs that were started.
    fn started(&self) -> Vec<i32> {
        let started = fs::read_to_string(self.path("started")).unwrap_or_default();
        started.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until all programs have ended, and have been waited for.
    async fn all_end(&self) {
        let there = |pid: &i32| Path::new(&format!("/proc/{pid}")).exists();
        for _ in 0..2000 {
            if !self.started().iter().any(there) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("a program does not end");
    }
}

async fn comes_to_be(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const PROGRAMS_MAX: usize = 3;
const HELLO: &str = "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
