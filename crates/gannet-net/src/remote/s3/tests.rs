//! A bucket in memory, and servers that misbehave.

use std::net::SocketAddr;

use gannet_core::{Annex, Asker, AssociatedFile, Mode};
use gannet_testkit::{Place, Sample};

use self::bucket::{Bucket, Mood};
use super::*;
use crate::remote::http::HttpClientOptions;
use crate::remote::special::tests::{Setting, special_keeps_its_promise};

mod bucket;

special_keeps_its_promise!(whole, place(None).await, odd_names_are_kept_apart);
special_keeps_its_promise!(chunked, place(Some(7000)).await, odd_names_are_kept_apart);

async fn place(chunk: Option<u64>) -> gannet_testkit::Parts {
    let bucket = Bucket::serve().await;
    Setting::over(store(&bucket, &[]), chunk).place_with(bucket)
}

#[tokio::test]
async fn requests_have_the_form_that_is_set() {
    let bucket = Bucket::serve().await;
    let bytes = Sample::secure(1, 0).bytes;
    let sample = Sample::hashed("SHA256E", ".c d", bytes);
    let name = format!(
        "SHA256E-s0--{}.c%20d",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let port = bucket.address.port();
    for (style, host, path) in [
        (&[("requeststyle", "path")][..], "s3.test", "/mybucket"),
        (&[][..], "mybucket.s3.test", ""),
    ] {
        let more = [
            ("host", "s3.test"),
            ("fileprefix", "pre/fix-"),
            ("region", "here-1"),
            ("x-amz-meta-foo", "a b"),
            ("storageclass", "STANDARD_IA"),
        ];
        let setting = Setting::over(store(&bucket, &[&more[..], style].concat()), None);
        setting.put(&sample).await.unwrap();
        assert_eq!(bucket.objects(), [(format!("{path}/pre/fix-{name}"), 0)]);
        assert!(setting.remove(&sample.key).await.unwrap());
        assert_eq!(bucket.objects(), []);
        let asked = bucket.asked();
        let methods: Vec<&str> = asked.iter().map(|asked| asked.method.as_str()).collect();
        assert_eq!(methods[0], "HEAD");
        assert_eq!(methods.last(), Some(&"DELETE"));
        for asked in &asked {
            assert_eq!(asked.target, format!("{path}/pre/fix-{name}"));
            assert!(asked.headers.contains(&format!("host: {host}:{port}\r\n")), "{asked:?}");
            let is_put = asked.method == "PUT";
            for header in ["x-amz-meta-foo: a b\r\n", "x-amz-storage-class: STANDARD_IA\r\n"] {
                assert_eq!(asked.headers.contains(header), is_put, "{asked:?}");
            }
            let authorization = header(&asked.headers, "authorization");
            assert!(
                authorization.starts_with("AWS4-HMAC-SHA256 Credential=me/"),
                "{authorization}"
            );
            assert!(authorization.contains("/here-1/s3/aws4_request, SignedHeaders="));
            assert!(authorization.contains(";x-amz-security-token"), "{authorization}");
            assert_eq!(header(&asked.headers, "x-amz-security-token"), "for=now");
            let digest = header(&asked.headers, "x-amz-content-sha256");
            assert_eq!(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        }
    }
}

#[tokio::test]
async fn odd_names_are_kept_apart_or_refused() {
    let bucket = Bucket::serve().await;
    let setting = Setting::over(store(&bucket, &[]), None);
    let names: [&[u8]; 7] = [
        b"WORM-s9-m1--..%..%..%etc%passwd",
        b"WORM-s9-m1--a b+c?d#e&f",
        b"WORM-s9-m1--a%20b+c%3Fd#e&f",
        "WORM-s9-m1--\u{e9}".as_bytes(),
        "WORM-s9-m1--e\u{301}".as_bytes(),
        b"URL-s9--http://host//a",
        b"URL-s9--http://host/a",
    ];
    let odd = |(seed, name): (u8, &[u8])| Sample {
        key: Key::parse(name).unwrap(),
        ..Sample::unverifiable(seed, 9)
    };
    let samples: Vec<Sample> = (0..).zip(names).map(odd).collect();
    for sample in &samples {
        setting.put(sample).await.unwrap();
    }
    assert_eq!(bucket.objects().len(), samples.len());
    for sample in samples {
        let read = setting.read(&sample.key, Span::ALL).await;
        assert_eq!(read, (sample.bytes, Verdict::Valid));
        assert!(setting.remove(&sample.key).await.unwrap());
    }
    assert_eq!(bucket.objects(), []);
    for name in [&b"WORM-s9-m1--a/../b"[..], b"WORM-s9-m1--\xff\xfe"] {
        let sample = odd((1, name));
        let (annex, asker) = (setting.annex(), setting.asker());
        let present = annex.check_present(&asker, &sample.key).await;
        for error in [present.map(drop), setting.put(&sample).await.map(drop)] {
            assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_read_without_credentials_is_not_signed() {
    let bucket = Bucket::serve().await;
    let sample = Sample::secure(1, 4500);
    Setting::over(store(&bucket, &[]), None).put(&sample).await.unwrap();
    bucket.asked();
    let public = format!("http://{}/mybucket/", bucket.address);
    let settings = settings(&bucket, &[("host", "nowhere.invalid"), ("publicurl", &public)]);
    let reading = S3::new(client(bucket.address), settings, None).unwrap();
    assert!(reading.is_readonly());
    let setting = Setting::over(reading, None).readonly();
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    assert!(!setting.present(&Sample::secure(2, 4500).key).await);
    let without = self::settings(&bucket, &[]);
    let refused = S3::new(client(bucket.address), without, None).map(drop).unwrap_err();
    assert!(refused.to_string().contains("AWS_ACCESS_KEY_ID"), "{refused}");
    let anonymous = self::settings(&bucket, &[("signature", "anonymous")]);
    let anonymous = S3::new(client(bucket.address), anonymous, None).unwrap();
    assert!(!anonymous.is_readonly());
    let sample = Sample::secure(3, 4500);
    Setting::over(anonymous, None).put(&sample).await.unwrap();
    for asked in bucket.asked() {
        assert!(!asked.headers.contains("authorization"), "{asked:?}");
    }
}

#[tokio::test]
async fn only_a_404_about_the_object_means_that_it_is_absent() {
    let bucket = Bucket::serve().await;
    let sample = Sample::secure(1, 4500);
    for (moods, part) in [
        (vec![Mood::Fails(403, "")], "credentials"),
        (vec![Mood::Fails(301, "")], "another region"),
        (vec![Mood::Fails(400, "")], "400"),
        (vec![Mood::Fails(501, ""); 4], "501"),
        (vec![Mood::Fails(404, ""), Mood::Fails(404, "NoSuchBucket")], "no such bucket"),
        (vec![Mood::Fails(404, ""), Mood::Fails(404, "")], "does not seem to be an S3"),
        (vec![Mood::Fails(404, ""), Mood::Fails(403, "RequestTimeTooSkewed")], "clock"),
        (
            vec![Mood::Fails(404, ""), Mood::Fails(403, "SignatureDoesNotMatch")],
            "secret access key",
        ),
        (vec![Mood::Fails(404, ""), Mood::Fails(403, "AccessDenied")], "It is AccessDenied."),
    ] {
        let store = store(&bucket, &[]);
        bucket.be(moods.clone());
        let error = store.find(&sample.key).await.unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{moods:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(part) && text.starts_with("S3 bucket mybucket at "), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        bucket.be([]);
        assert_eq!(store.find(&sample.key).await.unwrap(), None);
    }
    let setting = Setting::over(store(&bucket, &[]), None);
    bucket.be_at("DELETE", [Mood::Fails(404, "NoSuchKey")]);
    assert!(setting.remove(&sample.key).await.unwrap());
    bucket.be_at("DELETE", [Mood::Fails(404, "NoSuchBucket")]);
    let error = setting.remove(&sample.key).await.unwrap_err();
    assert!(error.to_string().contains("no such bucket"), "{error}");
    setting.put(&sample).await.unwrap();
    bucket.be_at("GET", [Mood::Fails(404, "NoSuchKey")]);
    let content = setting.get(&sample.key, Span::ALL).await.unwrap();
    let error = content.pour(|_| Ok(())).await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn what_fails_for_a_moment_is_repeated_and_what_fails_for_long_is_not() {
    let bucket = Bucket::serve().await;
    let store = store(&bucket, &[]);
    let sample = Sample::secure(1, 4500);
    let setting = Setting::over(store, None);
    for mood in [Mood::Fails(500, "InternalError"), Mood::Fails(503, "SlowDown"), Mood::Mute] {
        setting.put(&sample).await.unwrap();
        bucket.be([mood, mood]);
        let read = setting.read(&sample.key, Span::starting_at(7)).await;
        assert_eq!(read, (sample.bytes.slice(7..), Verdict::Valid));
        bucket.be([mood, mood]);
        assert!(setting.remove(&sample.key).await.unwrap());
        assert_eq!(bucket.objects(), []);
        bucket.be_at("PUT", [mood, mood]);
        setting.put(&sample).await.unwrap();
        bucket.be([mood; 4]);
        bucket.asked();
        let error = setting.get(&sample.key, Span::ALL).await.unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error:?}");
        assert_eq!(bucket.asked().len(), 4);
        assert!(setting.present(&sample.key).await);
    }
}

#[tokio::test]
async fn what_is_cut_in_the_middle_is_resumed() {
    let bucket = Bucket::serve().await;
    let setting = Setting::over(store(&bucket, &[]), None);
    let sample = Sample::secure(1, 1_000_000);
    setting.put(&sample).await.unwrap();
    bucket.asked();
    bucket.be_at("GET", [Mood::Cuts(400_000), Mood::Cuts(100_000)]);
    let read = setting.read(&sample.key, Span::ALL).await;
    assert!(read == (sample.bytes.clone(), Verdict::Valid));
    let ranges: Vec<String> = bucket
        .asked()
        .iter()
        .filter(|asked| asked.headers.contains("range: "))
        .map(|asked| header(&asked.headers, "range"))
        .collect();
    assert_eq!(ranges, ["bytes=400000-999999", "bytes=500000-999999"]);
    bucket.be_at("GET", [Mood::Cuts(1000), Mood::Cuts(0), Mood::Cuts(0), Mood::Cuts(0)]);
    let content = setting.get(&sample.key, Span::ALL).await.unwrap();
    let error = content.pour(|_| Ok(())).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error:?}");
}

#[tokio::test]
async fn who_hangs_is_given_up_and_who_is_slow_is_not() {
    let bucket = Bucket::serve().await;
    let hasty = Patience { reply: Duration::from_millis(300), idle: Duration::from_millis(700) };
    let setting = Setting::over(store(&bucket, &[]).with_patience(hasty), None);
    let sample = Sample::secure(1, 4500);
    setting.put(&sample).await.unwrap();
    // A second altogether, but no wait is long.
    bucket.be_at("GET", [Mood::Trickles]);
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes.clone(), Verdict::Valid));
    bucket.be([Mood::Hangs; 4]);
    let error = setting.get(&sample.key, Span::ALL).await.unwrap_err();
    assert!(matches!(error, Error::Stalled), "{error:?}");
    bucket.be_at("PUT", [Mood::Hangs; 4]);
    let error = setting.put(&Sample::secure(2, 4500)).await.unwrap_err();
    assert!(matches!(error, Error::Stalled), "{error:?}");
    assert!(setting.present(&sample.key).await);
}

#[tokio::test]
async fn large_objects_are_uploaded_in_parts() {
    let bucket = Bucket::serve().await;
    let more = [("partsize", "5MiB"), ("x-amz-meta-foo", "bar")];
    let setting = Setting::over(store(&bucket, &more), None);
    let samples = [5 << 20, (5 << 20) + 1, 12 << 20].map(|len| Sample::secure(1, len));
    for (sample, parts) in samples.iter().zip([0, 2, 3]) {
        bucket.asked();
        setting.put(sample).await.unwrap();
        let asked = bucket.asked();
        let puts: Vec<_> = asked.iter().filter(|it| it.target.contains("partNumber=")).collect();
        assert_eq!(puts.len(), parts);
        for asked in asked.iter().filter(|it| matches!(it.method.as_str(), "PUT" | "POST")) {
            let begins = asked.target.ends_with("?uploads=") || parts == 0;
            assert_eq!(
                asked.headers.contains("x-amz-meta-foo: bar\r\n"),
                begins,
                "{}",
                asked.target
            );
        }
        let read = setting.read(&sample.key, Span::ALL).await;
        assert!(read == (sample.bytes.clone(), Verdict::Valid));
    }
    assert_eq!(bucket.uploads(), 0);
}

#[tokio::test]
async fn what_is_not_completed_is_aborted() {
    let bucket = Bucket::serve().await;
    let setting = Setting::over(store(&bucket, &[("partsize", "5MiB")]), None);
    let sample = Sample::secure(1, 11 << 20);
    let bad = Mood::Fails(403, "AccessDenied");
    for (at, mood) in [
        ("POST", bad),
        ("partNumber=1", bad),
        ("partNumber=3", bad),
        ("?uploadId=", bad),
        ("?uploadId=", Mood::FailsLate("AccessDenied")),
    ] {
        bucket.be_at(at, [mood]);
        let error = setting.put(&sample).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        no_uploads(&bucket).await;
        assert_eq!(bucket.objects(), []);
    }
    // A reply that was lost, and one that came late, are asked for again.
    for mood in [Mood::Mute, Mood::FailsLate("SlowDown")] {
        bucket.be_at("?uploadId=", [mood]);
        setting.put(&sample).await.unwrap();
        no_uploads(&bucket).await;
        assert_eq!(bucket.objects().len(), 1);
        assert!(setting.remove(&sample.key).await.unwrap());
    }
    // Who stops waiting leaves nothing either.
    bucket.be_at("partNumber=2", [Mood::Hangs]);
    {
        let putting = setting.put(&sample);
        tokio::pin!(putting);
        while bucket.uploads() == 0 {
            tokio::select! {
                _ = &mut putting => panic!("it cannot end"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }
    no_uploads(&bucket).await;
    assert_eq!(bucket.objects(), []);
}

#[tokio::test]
async fn nothing_is_removed_after_its_deadline() {
    let bucket = Bucket::serve().await;
    let setting = Setting::over(store(&bucket, &[]), None);
    let sample = Sample::secure(1, 4500);
    setting.put(&sample).await.unwrap();
    let place = setting.place();
    let (annex, clock) = (place.annex(), place.clock().unwrap());
    let asker = Asker::with_mode(Mode::FULL);
    let deadline = annex.timestamp(&asker).await.unwrap().plus(5);
    // The time is over when it is asked for again.
    let late = Arc::clone(&clock);
    bucket.when_asked(move || late.advance(10));
    bucket.be([Mood::Fails(503, "SlowDown")]);
    let removal = annex.remove_before(&asker, &sample.key, deadline).await.unwrap();
    assert!(!removal.removed);
    assert_eq!(bucket.objects().len(), 1);
    let nameless = AssociatedFile::default();
    assert!(annex.get(&asker, &sample.key, &nameless, Span::ALL).await.is_ok());
}

#[tokio::test]
async fn what_was_removed_in_time_is_not_said_to_be_refused() {
    for (mood, removed) in [(Mood::Mute, true), (Mood::Fails(500, "InternalError"), false)] {
        let bucket = Bucket::serve().await;
        let setting = Setting::over(store(&bucket, &[]), None);
        let sample = Sample::secure(1, 4500);
        setting.put(&sample).await.unwrap();
        let clock = setting.clock();
        bucket.when_asked(move || clock.advance(120));
        bucket.be([mood]);
        // Nobody knows what a server that broke down will still do.
        match setting.remove_soon(&sample.key).await {
            Ok(answer) => assert!(removed && answer, "{mood:?}"),
            Err(error) => assert!(!removed, "{mood:?}: {error}"),
        }
        assert_eq!(bucket.objects().is_empty(), removed);
    }
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let bucket = Bucket::serve().await;
    let unknown = store(&bucket, &[("host", "nowhere.invalid")]);
    let gone = store(&bucket, &[]);
    drop(bucket);
    tokio::task::yield_now().await;
    let key = Sample::secure(1, 10).key;
    for (store, place) in [(unknown, "nowhere.invalid"), (gone, "127.0.0.1")] {
        let error = store.find(&key).await.unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error:?}");
        assert!(error.to_string().contains(place), "{error}");
    }
}

fn store(bucket: &Bucket, more: &[(&str, &str)]) -> S3 {
    let variable = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some("me".into()),
        "AWS_SECRET_ACCESS_KEY" => Some(SECRET.into()),
        "AWS_SESSION_TOKEN" => Some("for=now".into()),
        _ => None,
    };
    let credentials = S3Credentials::find(variable, None, &Default::default()).unwrap();
    S3::new(client(bucket.address), settings(bucket, more), credentials).unwrap()
}

fn settings(bucket: &Bucket, more: &[(&str, &str)]) -> S3Settings {
    let port = bucket.address.port().to_string();
    let mut all = vec![("bucket", "MyBucket"), ("port", &port), ("protocol", "http")];
    if !more.iter().any(|(name, _)| *name == "host") {
        all.extend([("host", "127.0.0.1"), ("requeststyle", "path")]);
    }
    all.extend(more);
    let pair = |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    S3Settings::read(&all.into_iter().map(pair).collect()).unwrap()
}

/// Knows where `s3.test` is.
fn client(address: SocketAddr) -> HttpClient {
    // Chooses the cryptography.
    HttpClient::new(HttpClientOptions::default()).unwrap();
    let mut builder =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    for host in ["s3.test", "mybucket.s3.test"] {
        builder = builder.resolve(host, address);
    }
    HttpClient(builder.build().unwrap())
}

fn header(headers: &str, name: &str) -> String {
    let line = headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap().to_owned()
}

/// Looks again and again: it is aborted when nobody waits for that.
async fn no_uploads(bucket: &Bucket) {
    for _ in 0..1000 {
        if bucket.uploads() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("there are {} uploads", bucket.uploads());
}

const SECRET: &str = "my/secret+key";
