//! Contents on their way in.

use gannet_core::error::Denied;
use gannet_core::{Error, Key};

use super::{Scene, pass, post};

const STORED: &str = "{\"plusuuids\":[\"node\"],\"stored\":true}";
const NOT_STORED: &str = "{\"plusuuids\":[],\"stored\":false}";
const LEN_10: &str = "X-git-annex-data-length: 10";
const CHUNKED: &str = "Transfer-Encoding: chunked";

#[tokio::test]
async fn a_body_may_be_framed_either_way() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let request = post(4, "put", "WORM--a") + "&associatedfile=f&offset=0";
    let reply = client.call(&request, &[LEN_10], b"0123456789").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, STORED));
    assert_eq!(*scene.fake.last_file.lock().unwrap(), "f");
    client.begin(&post(4, "put", "WORM--b"), &[LEN_10, CHUNKED], b"").await;
    for chunk in ["012", "3", "456789"] {
        client.chunk(chunk.as_bytes()).await;
    }
    client.chunk(b"").await;
    assert_eq!(client.reply().await.text(), STORED);
    assert_eq!(scene.fake.has("WORM--a"), scene.fake.has("WORM--b"));
    let reply = client.call(&post(4, "put", "WORM--c"), &["X-git-annex-data-length: 0"], b"").await;
    assert_eq!(reply.text(), STORED);
    assert_eq!(scene.fake.has("WORM--c").unwrap(), "");
}

#[tokio::test]
async fn whoever_closes_after_the_last_byte_still_gets_the_reply() {
    use tokio::io::AsyncWriteExt;
    let scene = Scene::new();
    let mut client = scene.connect();
    client.begin(&post(4, "put", "WORM--a"), &[LEN_10], b"0123456789").await;
    client.io.shutdown().await.unwrap();
    assert_eq!(client.reply().await.text(), STORED);
    let mut client = scene.connect();
    client.begin(&post(4, "checkpresent", "WORM--a"), &[], b"").await;
    client.io.shutdown().await.unwrap();
    assert_eq!(client.reply().await.text(), "{\"present\":true}");
}

#[tokio::test]
async fn heads_that_two_servers_could_read_differently_are_refused() {
    let scene = Scene::new();
    for coding in ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let header = format!("Transfer-Encoding: {coding}");
        let mut client = scene.connect();
        client.begin(&post(4, "put", "WORM--a"), &[LEN_10, &header], b"").await;
        client.chunk(b"0123456789").await;
        client.chunk(b"").await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 501, "{coding}: {}", reply.text());
        assert_eq!(scene.fake.has("WORM--a"), None);
    }
    let mut client = scene.connect();
    let request = post(4, "checkpresent", "WORM--a");
    client.send(format!("{request} HTTP/1.1\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (400, "no Host header\n"));
}

#[tokio::test]
async fn the_length_is_required_and_a_number() {
    let scene = Scene::new();
    let mut client = scene.connect();
    for version in 0..=4 {
        let request = post(version, "put", "WORM--k");
        assert_eq!(client.call(&request, &[], b"0").await.status, 400);
        for bad in ["", "abc", "-1", "1.5", "99999999999999999999"] {
            let header = format!("X-git-annex-data-length: {bad}");
            let reply = client.call(&request, &[&header], b"0").await;
            assert_eq!(reply.status, 400, "{bad:?}");
            assert!(reply.text().contains("X-git-annex-data-length"), "{}", reply.text());
        }
    }
    assert_eq!(scene.fake.has("WORM--k"), None);
}

#[tokio::test]
async fn bodies_of_another_length_are_not_stored() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let request = post(4, "put", "WORM--k");
    for body in ["", "012345678", "0123456789x", "0123456789 and more"] {
        let reply = client.call(&request, &[LEN_10], body.as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, NOT_STORED), "{body:?}");
    }
    for chunks in [vec!["0123"], vec!["0123456789", "x"], vec!["012345678", "9x", "y"]] {
        client.begin(&request, &[LEN_10, CHUNKED], b"").await;
        for chunk in &chunks {
            client.chunk(chunk.as_bytes()).await;
        }
        client.chunk(b"").await;
        assert_eq!(client.reply().await.text(), NOT_STORED, "{chunks:?}");
    }
    assert_eq!(scene.fake.has("WORM--k"), None);
}

#[tokio::test]
async fn a_body_says_itself_how_it_ended() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let cases = [
        (vec!["0123456789"], 10, "Valid"),
        (vec!["0123", "456"], 7, "Interrupted"),
        (vec!["0123456789", "x", "yz"], 11, "WrongLength"),
        (vec!["012345678", "9x", "yz"], 11, "WrongLength"),
    ];
    for (place, (chunks, len, end)) in cases.into_iter().enumerate() {
        client.begin(&post(4, "put", &format!("WORM--{place}")), &[LEN_10, CHUNKED], b"").await;
        for chunk in &chunks {
            // One at a time, so that each is a piece of its own.
            tokio::task::yield_now().await;
            client.chunk(chunk.as_bytes()).await;
        }
        client.chunk(b"").await;
        client.reply().await;
        let ended = scene.fake.last_pieces.lock().unwrap().clone();
        assert_eq!(ended, (len, end.to_owned()), "{chunks:?}");
    }
}

#[tokio::test]
async fn a_broken_connection_stores_nothing_and_frees_everything() {
    let scene = Scene::new();
    let (mut client, task) = scene.connect_with(1 << 16);
    client.begin(&post(4, "put", "WORM--k"), &[LEN_10, CHUNKED], b"").await;
    client.chunk(b"0123").await;
    while scene.fake.moving() == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    task.await.unwrap();
    assert_eq!((scene.fake.moving(), scene.fake.has("WORM--k")), (0, None));
}

#[tokio::test]
async fn data_present_has_no_body() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let request = post(4, "put", "WORM--k") + "&data-present=true";
    let len = "X-git-annex-data-length: 0";
    assert_eq!(client.call(&request, &[len], b"").await.text(), NOT_STORED);
    scene.fake.have("WORM--k", b"content");
    let stored = "{\"plusuuids\":[],\"stored\":true}";
    assert_eq!(client.call(&request, &[len], b"").await.text(), stored);
    assert_eq!(client.call(&request, &[], b"").await.status, 400);
}

#[tokio::test]
async fn failures_are_results_unless_the_server_is_at_fault() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let key = || Key::parse(b"WORM--k").unwrap();
    let why = || "/secret/path".to_owned();
    let cases: [(Error, u16); 14] = [
        (Error::Missing { key: key() }, 200),
        (Error::Rejected { key: key(), why: why() }, 200),
        (Error::Refused { key: key(), why: why() }, 200),
        (Error::WrongLength, 200),
        (Error::Interrupted, 200),
        (Error::Doubtful, 200),
        (Error::WrongOffset { from: 5, held: 3 }, 200),
        (Error::Busy { key: key(), why: "x" }, 200),
        (Error::Overloaded { what: "puts" }, 503),
        (Error::NoSpace { needed: 5, free: 3 }, 507),
        (Error::Forbidden { denied: Denied::Write }, 403),
        (Error::Unsupported(why()), 501),
        (Error::disk("write", "/secret/path", std::io::Error::other("x")), 500),
        (Error::Internal(why()), 500),
    ];
    for (error, status) in cases {
        let name = error.to_string();
        scene.fake.fail_with(error);
        let reply = client.call(&post(4, "put", "WORM--k"), &[LEN_10], b"0123456789").await;
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.text() == NOT_STORED, status == 200, "{name}: {}", reply.text());
        assert!(!reply.text().contains("secret"), "{name}: {}", reply.text());
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_reply_leaves_a_small_rest_to_be_drained() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let mut client = scene.connect();
    let len = "Content-Length: 5000";
    client.begin(&post(4, "put", "WORM--k"), &["X-git-annex-data-length: 5000", len], b"").await;
    assert_eq!(client.reply().await.text(), STORED);
    client.send(&[b'x'; 5000]).await;
    assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    // It was drained, and the connection is idle, not slow.
    pass(100).await;
    assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn an_early_reply_to_a_large_body_arrives_before_the_end() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let (client, task) = scene.connect_with(1 << 14);
    let mut client = client;
    let len = "Content-Length: 31457280";
    let headers = ["X-git-annex-data-length: 31457280", len];
    client.begin(&post(4, "put", "WORM--k"), &headers, b"").await;
    let (mut read, mut write) = tokio::io::split(client.io);
    // A client that writes all before it reads, as simple ones do.
    let piece = [b'x'; 1 << 14];
    let mut sent = 0;
    while sent < 31_457_280 {
        let written = tokio::io::AsyncWriteExt::write_all(&mut write, &piece).await;
        assert!(written.is_ok(), "the connection broke after {sent} bytes");
        sent += piece.len();
    }
    drop(write);
    let mut reply = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut read, &mut reply).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with(STORED), "{reply}");
    drop(read);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_large_body_that_stops_does_not_keep_the_connection() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let (mut client, task) = scene.connect_with(1 << 14);
    let len = "Content-Length: 31457280";
    client
        .begin(&post(4, "put", "WORM--k"), &["X-git-annex-data-length: 31457280", len], b"")
        .await;
    assert_eq!(client.reply().await.text(), STORED);
    let begun = tokio::time::Instant::now();
    assert!(client.closed().await);
    task.await.unwrap();
    assert!(begun.elapsed().as_secs() <= 5, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn expectations_are_met_only_if_the_body_is_wanted() {
    let scene = Scene::new();
    let (mut client, _task) = scene.connect_with(1 << 16);
    let headers = [LEN_10, "Expect: 100-continue", "Content-Length: 10"];
    client.begin(&post(4, "put", "WORM--k"), &headers, b"").await;
    assert_eq!(client.reply().await.status, 100);
    client.send(b"0123456789").await;
    assert_eq!(client.reply().await.text(), STORED);
    client.begin(&post(4, "put", "WORM--k"), &headers, b"").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, STORED));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_is_dropped_and_a_slow_one_is_not() {
    let scene = Scene::new();
    let mut client = scene.connect();
    client.begin(&post(4, "put", "WORM--k"), &[LEN_10, CHUNKED], b"").await;
    for _ in 0..10 {
        pass(290).await;
        client.chunk(b"x").await;
    }
    pass(290).await;
    client.chunk(b"").await;
    assert_eq!(client.reply().await.text(), STORED);
    client.begin(&post(4, "put", "WORM--other"), &[LEN_10, CHUNKED], b"").await;
    client.chunk(b"0123").await;
    let begun = tokio::time::Instant::now();
    let reply = client.reply().await;
    assert_eq!((reply.status, begun.elapsed().as_secs()), (408, 300));
    assert!(client.closed().await);
    assert_eq!((scene.fake.moving(), scene.fake.has("WORM--other")), (0, None));
}
