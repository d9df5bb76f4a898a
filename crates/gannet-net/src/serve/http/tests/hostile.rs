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
    let mut client = scene.connect_from("192.0.2.1".parse().ok(), 1 << 16).0;
    for n in 0..2000 {
        let request = post(4, "lockcontent", &format!("WORM--absent{n}"));
        let reply = client.ask(&request.replace(C, &format!("stranger-{n}"))).await;
        assert_eq!(reply, (200, "{\"locked\":false}".into()));
    }
    let reply = client.ask(&post(4, "lockcontent", "WORM--k")).await;
    assert!(reply.1.contains("\"locked\":true"), "{reply:?}");
}

/// A body without end costs what was announced and a little more, and the connection.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let scene = Scene::new();
    let headers = ["X-git-annex-data-length: 10", "Transfer-Encoding: chunked"];
    let (mut client, task) = scene.connect_with(1 << 16);
    client.begin(&post(4, "put", "WORM--k"), &headers, b"").await;
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    let mut sent = 0_usize;
    while client.io.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "it is read for ever");
        pass(u64::from(sent > 8 << 20)).await;
    }
    task.await.unwrap();
    assert_eq!((scene.fake.has("WORM--k"), scene.fake.moving()), (None, 0));
    let (bytes, _) = scene.fake.last_pieces.lock().unwrap().clone();
    assert!(bytes < 1 << 20, "{bytes} bytes were handed on");
}

/// What comes after the announced length is another request, and this one is none.
#[tokio::test(start_paused = true)]
async fn more_than_the_announced_length_is_no_part_of_the_content() {
    let scene = Scene::new();
    for surplus in ["y", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n"] {
        let head = format!("{} HTTP/1.1\r\nHost: h\r\n", post(4, "put", "WORM--k"));
        let lengths = "X-git-annex-data-length: 3\r\nContent-Length: 3\r\n\r\n";
        let reply = told(&scene, format!("{head}{lengths}xxx{surplus}").as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"stored\":true"), "{reply}");
        assert_eq!(reply.matches("HTTP/1.1 200").count(), 1, "{reply}");
        assert_eq!(scene.fake.has("WORM--k").unwrap().as_ref(), b"xxx");
    }
}

/// Lines may end in LF alone, as RFC 9112 §2.2 allows for heads; those of chunks may not, because
/// a server in front could see other chunks.
#[tokio::test(start_paused = true)]
async fn a_bare_line_feed_ends_lines_of_heads_only() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let check = post(4, "checkpresent", "WORM--k");
    let reply = told(&scene, format!("{check} HTTP/1.1\nHost: h\n\n").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let remove = post(4, "remove", "WORM--k");
    let put = format!(
        "{} HTTP/1.1\r\nHost: h\r\nX-git-annex-data-length: 1\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        post(4, "put", "WORM--new")
    );
    for body in ["1\nx\n0\n\n", "1\r\nx\n0\r\n\r\n", "1\r\nx\r\n0\n\r\n"] {
        let bytes = format!("{put}{body}{remove} HTTP/1.1\r\nHost: h\r\n\r\n");
        let reply = told(&scene, bytes.as_bytes()).await;
        assert!(scene.fake.has("WORM--k").is_some(), "{body:?}: {reply}");
        assert_eq!(scene.fake.has("WORM--new"), None, "{body:?}: {reply}");
    }
}

/// Queries and heads as large as they may be are read like others; larger ones are not read.
#[tokio::test(start_paused = true)]
async fn absurd_heads_have_their_answer() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let check = post(4, "checkpresent", "WORM--k");
    let many = |n: usize| (0..n).map(|n| format!("&p{n}=")).collect::<String>();
    let repeated = |text: &str, n: usize| text.repeat(n);
    for (query, status) in [
        (many(8_000), 200),
        (repeated("&key=WORM--other", 3_000), 200), // the first counts
        (repeated("&bypass=b", 5_000), 200),
        (repeated("&", 60_000), 200),
        (repeated("&%zz=%&%=%e", 4_000), 200),
        ("&%ff%fe=%ff%00&bypass=%ff%00".to_owned(), 200),
        ("&bypass=".to_owned(), 400),
        (repeated("x", 100_000), 414),
        (many(10_000), 414),
        (repeated("x", 200_000), 431), // more than a head may have in all
    ] {
        let (got, text) = scene.ask(&format!("{check}{query}")).await;
        assert_eq!(got, status, "{query:.40}: {text:.200}");
        assert!(text.len() < 1000, "{query:.40} is echoed");
        assert!(status != 200 || text.contains("\"present\":true"), "{query:.40}: {text}");
    }
    for (request, status) in [
        (check.replace("POST", &"X".repeat(60_000)), 405),
        (check.replace("POST", "post"), 405),
        (check.replace("POST", "BREW"), 405),
        (check.replace("POST", "TRACE"), 405),
        ("OPTIONS *".to_owned(), 404),
        ("GET /".to_owned() + &"/".repeat(60_000), 404),
        ("GET /".to_owned() + &"a/".repeat(30_000), 404),
        ("GET /git-annex/../../../etc/passwd".to_owned(), 404),
        ("GET http://elsewhere/git-annex/".to_owned(), 404),
        ("GET /%00%ff%zz%".to_owned(), 404),
    ] {
        let reply = scene.connect().call(&request, &[], b"").await;
        assert_eq!(reply.status, status, "{request:.40}: {:.200}", reply.text());
        assert!(reply.body.len() < 1000, "{request:.40} is echoed");
    }
}
