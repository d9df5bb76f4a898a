//! Clients that mean harm: heads on which two servers could disagree, bodies that
//! hardly move, floods.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw::Client;
use super::{Access, C, Limits, Scene, pass, post};

/// Sends bytes as they are, ends the sending side, and returns all that comes back.
async fn told(scene: &Scene, bytes: &[u8]) -> String {
    let (mut client, task) = scene.connect_with(1 << 20);
    // A server that has read enough may have closed already.
    drop(client.io.write_all(bytes).await);
    drop(client.io.shutdown().await);
    let mut reply = Vec::new();
    client.io.read_to_end(&mut reply).await.unwrap();
    task.await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

/// Whatever a server in front of this one takes for the end of the first request, the second is
/// never acted on: the connection ends with the first.
#[tokio::test(start_paused = true)]
async fn no_request_hides_behind_an_ambiguous_one() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let hidden = format!("{} HTTP/1.1\r\nHost: h\r\n\r\n", post(4, "remove", "WORM--k"));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let long = format!("0;{}\r\n\r\n", "x".repeat(40_000));
    let shapes = [
        ("length, then coding", format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n"),
        ("coding, then length", format!("{chunked}Content-Length: 5\r\n"), "0\r\n\r\n"),
        ("two lengths", "Content-Length: 0\r\nContent-Length: 9\r\n".into(), ""),
        ("a list of lengths", "Content-Length: 0, 9\r\n".into(), ""),
        ("a signed length", "Content-Length: +0\r\n".into(), ""),
        ("a negative length", "Content-Length: -1\r\n".into(), ""),
        ("an endless length", "Content-Length: 99999999999999999999999\r\n".into(), ""),
        ("a folded line", "X-A: b\r\n c: d\r\n".into(), ""),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n".into(), "0\r\n\r\n"),
        ("a space before the colon", "Content-Length : 0\r\n".into(), ""),
        ("a name with a space", "Content Length: 0\r\n".into(), ""),
        ("another coding", "Transfer-Encoding: xchunked\r\n".into(), "0\r\n\r\n"),
        ("no coding", "Transfer-Encoding: identity\r\n".into(), ""),
        ("chunked is not the last", "Transfer-Encoding: chunked, gzip\r\n".into(), "0\r\n\r\n"),
        ("a NUL", "X-A: \0\r\n".into(), ""),
        ("a lonely CR", "X-A: b\rX-B: c\r\n".into(), ""),
        ("a chunk without number", chunked.into(), "x\r\n\r\n"),
        ("a negative chunk", chunked.into(), "-1\r\n\r\n"),
        ("a chunk beyond all numbers", chunked.into(), "fffffffffffffffff\r\n\r\n"),
        ("a chunk longer than it says", chunked.into(), "1\r\nab\r\n0\r\n\r\n"),
        ("an absurd chunk extension", chunked.into(), long.as_str()),
    ];
    for (what, lines, body) in shapes {
        let head = format!("{} HTTP/1.1\r\nHost: h\r\n", post(4, "checkpresent", "WORM--k"));
        let reply = told(&scene, format!("{head}{lines}\r\n{body}{hidden}").as_bytes()).await;
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{what}: {reply}");
        assert!(scene.fake.has("WORM--k").is_some(), "{what}: {reply}");
    }
    assert_eq!(scene.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn garbage_after_a_request_ends_the_connection() {
    let scene = Scene::new();
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\u{1}\u{2}\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let request = format!(
            "{} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n{garbage}",
            post(4, "checkpresent", "WORM--k")
        );
        let reply = told(&scene, request.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{garbage:?}: {reply}");
        assert!(reply.matches("HTTP/1.1 ").count() <= 2, "{garbage:?}: {reply}");
    }
}

/// One byte in 290 seconds goes on for as long as it likes; nothing in 300 is the end.
#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_never_cut_and_one_that_stops_is() {
    let scene = Scene::new();
    let headers = ["X-git-annex-data-length: 100", "Content-Length: 100"];
    let mut client = scene.connect();
    client.begin(&post(4, "put", "WORM--slow"), &headers, b"").await;
    for _ in 0..100 {
        pass(290).await;
        client.send(b"x").await;
    }
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(scene.fake.has("WORM--slow").unwrap().len(), 100);
    let mut client = scene.connect();
    client.begin(&post(4, "put", "WORM--stopped"), &headers, b"x").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, scene.fake.has("WORM--stopped")), (408, None));
    assert_eq!(scene.fake.moving(), 0);
}

/// The client learns from the head of the reply that the rest of its body is not wanted.
#[tokio::test(start_paused = true)]
async fn an_early_reply_says_that_the_connection_ends() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    for (length, ends) in [("100", None), ("3000000", Some("close"))] {
        for framing in [format!("Content-Length: {length}"), "Transfer-Encoding: chunked".into()] {
            let announced = format!("X-git-annex-data-length: {length}");
            let mut client: Client = scene.connect();
            client.begin(&post(4, "put", "WORM--k"), &[&announced, &framing], b"").await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.header("connection")), (200, ends), "{framing}");
        }
    }
}

/// Locks of what is not here take no room, whoever asks for them.
#[tokio::test(start_paused = true)]
async fn a_flood_of_locks_of_absent_keys_takes_no_room() {
    let limits = Limits { locks_max: 1, locks_per_address_max: 1, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", b"content");
    let mut client = scene.connect();
    for n in 0..2000 {
        let request = post(4, "lockcontent", &format!("WORM--absent{n}"));
        let reply = client.ask(&request.replace(C, &format!("stranger-{n}"))).await;
        assert_eq!(reply, (200, "{\"locked\":false}".into()));
    }
    let reply = client.ask(&post(4, "lockcontent", "WORM--k")).await;
    assert!(reply.1.contains("\"locked\":true"), "{reply:?}");
}

/// Requests that are taken back as soon as they are made end the connection, and no other
/// (HTTP/2 rapid reset).
#[tokio::test(start_paused = true)]
async fn a_rapid_reset_ends_its_connection() {
    let scene = Scene::new();
    let (mut client, task) = scene.connect_with(1 << 20);
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for n in 0..1000_u32 {
        let stream = (2 * n + 1).to_be_bytes();
        // `GET`, `http` and `/` of the static table; END_HEADERS and END_STREAM.
        flood.extend_from_slice(&[0, 0, 3, 1, 5]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&[0x82, 0x86, 0x84]);
        flood.extend_from_slice(&[0, 0, 4, 3, 0]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&8_u32.to_be_bytes());
    }
    drop(client.io.write_all(&flood).await);
    let mut heard = Vec::new();
    drop(client.io.read_to_end(&mut heard).await);
    task.await.unwrap();
    // GOAWAY with ENHANCE_YOUR_CALM.
    assert_eq!(&last_frame(&heard)[3..4], &[7]);
    assert_eq!(last_frame(&heard)[13..17], 11_u32.to_be_bytes());
    assert_eq!(scene.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

fn last_frame(mut frames: &[u8]) -> &[u8] {
    loop {
        let len = u32::from_be_bytes([0, frames[0], frames[1], frames[2]]);
        let whole = 9 + usize::try_from(len).unwrap();
        if frames.len() <= whole {
            return frames;
        }
        frames = &frames[whole..];
    }
}
