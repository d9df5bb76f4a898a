//! Buckets behind a gateway.

use gannet_testkit::Sample;

use super::journeys::journey;
use super::*;
use crate::client::testremote::failed;
use crate::harness::{ABSENT, CLIENT, Moto, Request, usual_or_long};

#[test]
fn buckets_are_used_over_http() {
    let Town { moto, scene } = Town::new(&BUCKETS);
    let scene = scene.proxied();
    let server = scene.serve();
    let client = scene.http_client(&server);
    for (name, _) in BUCKETS {
        journey(&scene, &client, name);
    }
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
    for (name, _) in BUCKETS {
        let left = moto.objects(&scene.world, &format!("{name}s"));
        assert_eq!(left.as_object().expect("objects").len(), 1, "{left}");
    }
}

#[test]
fn buckets_are_used_over_ssh() {
    let Town { moto, scene } = Town::new(&BUCKETS[..1]);
    let scene = scene.proxied();
    let (sshd, client) = scene.ssh_client();
    journey(&scene, &client, BUCKETS[0].0);
    drop(sshd);
    scene.expect_clean();
    let left = moto.objects(&scene.world, "buckets");
    assert_eq!(left.as_object().expect("objects").len(), 1, "{left}");
}

#[test]
fn large_contents_are_not_held_in_memory() {
    let buckets = [("bucket", "storageclass=STANDARD"), ("slices", "partsize=16MiB")];
    let Town { moto: _moto, scene } = Town::new(&buckets);
    let scene = scene.proxied();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.annex(&client, args);
    let len = usual_or_long(48, 512) << 20;
    let content = Sample::secure(1, len).bytes;
    let small = Sample::secure(2, 100_000).bytes;
    let key = scene.add(&client, "large", &content);
    scene.add(&client, "small", &small);
    let round = |file: &str| {
        for (name, _) in buckets {
            annex(&["move", "--quiet", "--to", &format!("origin-{name}"), file]);
            annex(&["move", "--quiet", "--from", &format!("origin-{name}"), file]);
        }
    };
    round("small");
    let before = server.resident_bytes_peak();
    round("large");
    let grown = server.resident_bytes_peak() - before;
    assert!(grown < 16 << 20, "it grew by {grown} bytes for contents of {len}");
    assert!(fs::read(client.join("large")).expect("what came") == content);
    scene.expect_at(&key, &[]);
}

#[test]
fn a_bucket_is_the_node_of_a_cluster_beside_a_directory() {
    let Town { moto, mut scene } = Town::new(&BUCKETS[..1]);
    let dir = scene.objects("near");
    fs::create_dir(&dir).expect("make a directory");
    scene.init("near", &format!("type=directory directory={}", dir.display()), &[]);
    let scene = scene.clustered();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.annex(&client, args);
    let content = Seeded::new(9).bytes(100_000);
    let key = scene.add(&client, "file", &content);
    annex(&["move", "--quiet", "--to", "origin-mycluster", "file"]);
    scene.expect_at(&key, &["bucket", "near"]);
    scene.expect_whereis(&key, &["bucket", "near"]);
    for name in ["bucket", "near"] {
        scene.expect_read(&key, name, &content);
    }
    // The cheaper one has it no more, and nobody said so.
    fs::remove_dir_all(&dir).expect("lose the objects");
    fs::create_dir(&dir).expect("keep the directory");
    annex(&["get", "--quiet", "--from", "origin-mycluster", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    annex(&["drop", "--quiet", "--from", "origin-mycluster", "file"]);
    scene.expect_at(&key, &[]);
    // While the server is gone the other one takes what comes, and nobody believes that the bucket
    // has nothing.
    annex(&["copy", "--quiet", "--to", "origin-bucket", "file"]);
    drop(moto);
    let other = scene.add(&client, "other", b"what comes");
    let cluster = ["config", "annex.cluster.mycluster"];
    let cluster = scene.world.git(scene.gateway.path(), &cluster);
    let target = format!("/git-annex/{}/v4/put?key={other}&clientuuid={CLIENT}", cluster.trim());
    let put = server.send(&Request::put(target, 10, b"what comes"));
    assert_eq!(put.member("stored"), true, "{put:?}");
    let dropped = scene.world.try_annex(&client, &["drop", "--from", "origin-bucket", "file"]);
    assert!(!dropped.success(), "{dropped}");
    let has = |key: &str, name: &str| {
        let log = scene.gateway.location_log_now(&scene.world, key);
        log.get(&scene.uuid(name)) == Some(&true)
    };
    assert!(has(&key, "bucket") && has(&other, "near") && !has(&other, "bucket"));
}

#[test]
fn testremote_passes_on_a_bucket() {
    let Town { moto, scene } = Town::new(&BUCKETS[1..]);
    let scene = scene.proxied();
    let name = BUCKETS[1].0;
    let server = scene.serve();
    let client = scene.http_client(&server);
    let remote = format!("origin-{name}");
    let tested = scene.world.try_annex(&client, &["testremote", "--fast", &remote]);
    assert!(failed(&tested).is_empty(), "{tested}");
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
    let left = moto.objects(&scene.world, &format!("{name}s"));
    assert_eq!(left.as_object().expect("objects").len(), 1, "{left}");
}

#[test]
fn why_a_bucket_cannot_be_used_is_in_the_log_and_no_secret() {
    let Town { moto, scene } = Town::new(&BUCKETS);
    let scene = scene.proxied();
    let [(_, key_id), (_, secret)] = moto.environment();
    let kept = |name: &str| scene.gateway.annex_dir().join("creds").join(scene.uuid(name));
    fs::remove_file(kept("bucket")).expect("forget the credentials");
    let server = scene.serve();
    let ask = |name: &str| {
        let uuid = scene.uuid(name);
        let target = format!("/git-annex/{uuid}/v4/checkpresent?key={ABSENT}&clientuuid={CLIENT}");
        server.send(&Request::post(&target))
    };
    let reply = ask("bucket");
    assert_eq!(reply.status, 502, "{reply:?}");
    let reason = "the remote bucket: the special remote has no credentials that can be used";
    assert!(server.log().contains(reason), "{}", server.log());
    // As soon as there are some, they are used.
    fs::write(kept("bucket"), format!("{key_id}\n{secret}\n")).expect("write the credentials");
    assert_eq!(ask("bucket").member("present"), false);
    moto.python(&scene.world, "s3.delete_object(Bucket='slicess', Key='pre/annex-uuid')\ns3.delete_bucket(Bucket='slicess')\nresult = 0");
    let reply = ask("slices");
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(server.log().contains("NoSuchBucket: there is no such bucket"), "{}", server.log());
    assert!(!server.log().contains(secret));
}

/// A gateway with buckets.
struct Town {
    moto: Moto,
    scene: Scene,
}

impl Town {
    /// With these special remotes, and their settings.
    fn new(buckets: &[(&'static str, &str)]) -> Self {
        let mut scene = Scene::begin();
        let moto = Moto::start(&scene.world);
        for (name, settings) in buckets {
            let settings = format!(
                "type=S3 bucket={name}s host=localhost port={} protocol=http requeststyle=path \
                 {settings}",
                moto.port()
            );
            scene.init(name, &settings, &moto.environment());
        }
        Self { moto, scene }
    }
}

const BUCKETS: [(&str, &str); 2] =
    [("bucket", "storageclass=STANDARD_IA"), ("slices", "chunk=30kB fileprefix=pre/")];
