//! Buckets that Gannet and git-annex both use, on a server that is neither's.

use std::collections::BTreeMap;

use gannet_core::{Credentials, Error};
use gannet_net::remote::http::{HttpClient, HttpClientOptions};
use gannet_net::remote::s3::{S3, S3Credentials, S3Settings};
use serde_json::Value;

use super::*;
use crate::harness::Moto;

#[tokio::test]
async fn buckets_are_shared_with_git_annex() {
    for chunk in [None, Some(4000)] {
        let bucket = Bucket::new(chunk, &["fileprefix=pre/fix-"]);
        bucket.scene.exchange(&bucket.special()).await;
        let left = bucket.objects();
        assert_eq!(left.keys().collect::<Vec<_>>(), ["pre/fix-annex-uuid"]);
    }
}

#[tokio::test]
async fn large_contents_are_shared_in_parts() {
    let more = ["partsize=6MiB", "x-amz-meta-foo=a b", "storageclass=STANDARD_IA"];
    let bucket = Bucket::new(None, &more);
    let special = bucket.special();
    let sizes = [5 << 20, 14 << 20].map(|len| (u8::try_from(len >> 20).unwrap(), len));
    bucket.scene.exchange_of(&special, &sizes).await;
    // Each side stores as the other does, and in as many parts.
    for (seed, len) in sizes {
        let (key, bytes) = bucket.scene.add(seed, len);
        bucket.scene.annex(&["copy", "--quiet", "--to", "there", &format!("--key={key}")]);
        let theirs = bucket.objects();
        let expected = if len == 5 << 20 { "" } else { "3" };
        assert_eq!(theirs[&key.to_string()]["parts"], expected, "{theirs:?}");
        assert_eq!(theirs[&key.to_string()]["metadata"]["foo"], "a b", "{theirs:?}");
        assert!(special.remove(&asker(), &key).await.unwrap().removed);
        put(&special, &key, bytes).await;
        assert_eq!(bucket.objects(), theirs);
        assert!(special.remove(&asker(), &key).await.unwrap().removed);
    }
}

#[tokio::test]
async fn odd_names_of_keys_are_shared() {
    let bucket = Bucket::new(None, &["fileprefix=a b%20c/"]);
    let special = bucket.special();
    let world = &bucket.scene.world;
    for (number, key) in [
        "URL-s9--http://localhost:9755/a b//c%20?x=ü#&é~",
        "WORM-s9-m1--a&b%c:d+e*'(f)!\"[g]{h}|^`\\@,;=$",
        "WORM-s9-m1--e\u{301}",
    ]
    .into_iter()
    .enumerate()
    {
        let file = world.join(format!("odd{number}"));
        let bytes = Sample::unverifiable(u8::try_from(number).unwrap(), 9).bytes;
        fs::write(&file, &bytes).unwrap();
        bucket.scene.annex(&["setkey", key, file.to_str().unwrap()]);
        bucket.scene.annex(&["copy", "--quiet", "--to", "there", &format!("--key={key}")]);
        let name = Key::parse(key.as_bytes()).unwrap();
        assert_eq!(read(&special, &name, 0).await, bytes);
        let theirs = bucket.objects();
        assert!(special.remove(&asker(), &name).await.unwrap().removed);
        assert_eq!(bucket.objects().len(), 1, "only its uuid is left");
        put(&special, &name, bytes).await;
        assert_eq!(bucket.objects(), theirs);
        let there = world.try_annex(bucket.scene.repo.path(), &["checkpresentkey", key, "there"]);
        assert_eq!(there.code, Some(0), "{there}");
        bucket.scene.annex(&[
            "drop",
            "--quiet",
            "--from",
            "there",
            "--force",
            &format!("--key={key}"),
        ]);
    }
}

#[tokio::test]
async fn what_broke_is_resumed_and_what_is_whole_is_read_by_git_annex() {
    let bucket = Bucket::new(Some(300_000), &[]);
    let special = bucket.special();
    let (key, bytes) = bucket.scene.add(7, 1_000_000);
    let nameless = AssociatedFile::default();
    let broken = Journey::of(&bytes, 0).cut(700_000, Ending::Silence).content();
    special.put(&asker(), &key, &nameless, broken).await.unwrap_err();
    let offset = special.put_offset(&asker(), &key, &nameless).await.unwrap();
    assert_eq!(offset, PutOffset::From(700_000));
    let rest = Journey::of(&bytes, 700_000).content();
    special.put(&asker(), &key, &nameless, rest).await.unwrap();
    assert_eq!(bucket.objects().len(), 5);
    bucket.scene.annex(&["fsck", "--quiet", "--from", "there", "file7"]);
    assert_eq!(read(&special, &key, 650_000).await, bytes[650_000..]);
    // Of chunks that are there only those that are missing are stored again.
    let third = key.chunk(NonZeroU64::new(300_000).unwrap(), 3);
    bucket.python(&format!("s3.delete_object(Bucket='mybucket', Key='{third}')\nresult = None"));
    assert!(!special.check_present(&asker(), &key).await.unwrap());
    let puts = |log: &str| log.matches("\"PUT ").count();
    let before = puts(&bucket.server.log());
    put(&special, &key, bytes.clone()).await;
    assert_eq!(puts(&bucket.server.log()) - before, 2);
    bucket.scene.annex(&["drop", "--quiet", "file7"]);
    bucket.scene.annex(&["get", "--quiet", "file7"]);
    assert!(fs::read(bucket.scene.repo.path().join("file7")).unwrap() == bytes);
}

#[tokio::test]
async fn credentials_are_found_where_git_annex_keeps_them() {
    let bucket = Bucket::new(None, &["embedcreds=yes"]);
    let [key_id, secret] = bucket.server.environment();
    let git_dir = bucket.scene.repo.git_dir();
    let file = git_dir.join("annex/creds").join(bucket.scene.uuid().as_str());
    let kept = Credentials::parse(&fs::read(file).unwrap());
    let settings = bucket.settings();
    let given = |name: &str| {
        [key_id, secret].into_iter().find(|it| it.0 == name).map(|(_, value)| value.into())
    };
    let from_environment = S3Credentials::find(given, None, &BTreeMap::new()).unwrap();
    let nothing = |_: &str| None;
    let from_file = S3Credentials::find(nothing, kept.as_ref(), &BTreeMap::new()).unwrap();
    let from_settings = S3Credentials::find(nothing, None, &settings).unwrap();
    assert!(from_environment.is_some());
    assert_eq!(from_file, from_environment);
    assert_eq!(from_settings, from_environment);
}

#[tokio::test]
async fn requests_are_signed_as_the_server_wants_it() {
    let world = World::new();
    let server = Moto::strict(&world);
    server.make_bucket(&world, "mybucket");
    let scene = Scene::begin(None);
    let port = server.port().to_string();
    let fixed = [
        ("bucket", "mybucket"),
        ("host", "localhost"),
        ("port", &port),
        ("protocol", "http"),
        ("requeststyle", "path"),
        ("partsize", "5MiB"),
        ("x-amz-meta-foo", "a  b"),
        ("fileprefix", "pre fix/"),
    ];
    let pair = |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let settings: BTreeMap<_, _> = fixed.into_iter().map(pair).collect();
    let uuid = Uuid::parse(b"5bec1a10-0000-4000-8000-000000000001").unwrap();
    let special = scene.special_of(uuid, |_| Arc::new(store(&settings, server.environment())));
    for sample in [
        Sample::secure(1, 0),
        Sample::secure(2, 12 << 20),
        Sample::named("WORM-s9-m1--a b+c?d#e&f=g:h/i//ü~", Sample::secure(3, 9).bytes),
    ] {
        put(&special, &sample.key, sample.bytes.clone()).await;
        assert!(read(&special, &sample.key, 0).await == sample.bytes);
        let from = sample.bytes.len() / 2;
        assert!(read(&special, &sample.key, from as u64).await == sample.bytes[from..]);
        assert_eq!(server.objects(&world, "mybucket").as_object().unwrap().len(), 1);
        assert!(special.remove(&asker(), &sample.key).await.unwrap().removed);
        assert!(!special.check_present(&asker(), &sample.key).await.unwrap());
    }
    let [(_, key_id), (_, secret)] = server.environment();
    let other = Sample::secure(4, 100);
    for (key_id, secret, part) in [
        (key_id, "another/secret", "secret access key is wrong"),
        ("AKIASOMEBODY", secret, "does not know the access key id"),
    ] {
        let environment = [("AWS_ACCESS_KEY_ID", key_id), ("AWS_SECRET_ACCESS_KEY", secret)];
        let store = store(&settings, environment);
        // A look alone is only told that it may not.
        let error = Store::find(&store, &other.key).await.unwrap_err();
        assert!(error.to_string().contains("403"), "{error}");
        let content = Store::get(&store, &other.key, Some(100), Span::ALL).await.unwrap();
        let error = content.pour(|_| Ok(())).await.unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains(secret), "{error}");
    }
    let elsewhere = [("bucket", "nobodys"), ("fileprefix", "")];
    let settings = settings.into_iter().chain(elsewhere.map(pair)).collect();
    let error = store(&settings, server.environment()).find(&other.key).await.unwrap_err();
    assert!(error.to_string().contains("there is no such bucket"), "{error}");
}

/// A repository with a bucket for a special remote.
struct Bucket {
    server: Moto,
    scene: Scene,
}

impl Bucket {
    fn new(chunk: Option<u64>, more: &[&str]) -> Self {
        let scene = Scene::begin(chunk);
        let server = Moto::start(&scene.world);
        let port = format!("port={}", server.port());
        let fixed = [
            "type=S3",
            "bucket=MyBucket",
            "host=localhost",
            &port,
            "protocol=http",
            "requeststyle=path",
        ];
        scene.init(&[&fixed[..], more].concat(), &server.environment());
        Self { server, scene }
    }

    /// The same remote as we see it, through the settings that git-annex wrote.
    fn special(&self) -> Special {
        let store = store(&self.settings(), self.server.environment());
        self.scene.special(|_| Arc::new(store))
    }

    fn settings(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let repo = self.scene.repo.path();
        let log = self.scene.world.git(repo, &["show", "git-annex:remote.log"]);
        let words = log.trim().split(' ').filter_map(|word| word.split_once('='));
        let text = |text: &str| text.replace("&32;", " ").replace("&38;", "&").into_bytes();
        words.map(|(name, value)| (text(name), text(value))).collect()
    }

    fn objects(&self) -> BTreeMap<String, Value> {
        let objects = self.server.objects(&self.scene.world, "mybucket");
        objects.as_object().unwrap().clone().into_iter().collect()
    }

    fn python(&self, lines: &str) {
        self.server.python(&self.scene.world, lines);
    }
}

fn store(settings: &BTreeMap<Vec<u8>, Vec<u8>>, environment: [(&str, &str); 2]) -> S3 {
    let variable =
        |name: &str| environment.into_iter().find(|it| it.0 == name).map(|(_, value)| value.into());
    let credentials = S3Credentials::find(variable, None, settings).unwrap();
    let client = HttpClient::new(HttpClientOptions::default()).unwrap();
    S3::new(client, S3Settings::read(settings).unwrap(), credentials).unwrap()
}

async fn put(special: &Special, key: &Key, bytes: Bytes) {
    let nameless = AssociatedFile::default();
    special.put(&asker(), key, &nameless, Content::whole(bytes)).await.unwrap();
}
