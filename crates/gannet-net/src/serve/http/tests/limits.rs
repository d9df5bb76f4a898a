//! How much at once, and for how long.

use std::time::Duration;

use tokio::time::Instant;

use super::{Access, Limits, Scene, U, pass, post};

#[tokio::test(start_paused = true)]
async fn more_requests_than_allowed_are_told_to_come_again() {
    let limits = Limits { requests_max: 2, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", &[b'x'; 1 << 20]);
    let get = format!("GET /git-annex/{U}/v4/key/WORM--k");
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (mut client, task) = scene.connect_with(1 << 12);
        client.begin(&get, &[], b"").await;
        readers.push((client, task));
    }
    pass(1).await;
    assert_eq!(scene.fake.moving(), 2);
    let mut client = scene.connect();
    let reply = client.call(&post(4, "checkpresent", "WORM--k"), &[], b"").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    for (client, task) in readers {
        drop(client);
        task.await.unwrap();
    }
    assert_eq!(scene.fake.moving(), 0);
    assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_all_requests() {
    let limits = Limits { requests_max: 4, requests_per_address_max: 2, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", &[b'x'; 1 << 20]);
    let get = format!("GET /git-annex/{U}/v4/key/WORM--k");
    let from = |address: &str| scene.connect_from(address.parse().ok(), 1 << 12).0;
    let mut readers = Vec::new();
    for (address, status) in [
        ("192.0.2.1", 200),
        ("::ffff:192.0.2.1", 200),
        ("192.0.2.1", 503),
        ("2001:db8::1", 200),
        ("2001:db8::2", 200),
        ("192.0.2.2", 503), // all are taken
    ] {
        let mut client = from(address);
        client.begin(&get, &[], b"").await;
        assert_eq!(client.head().await.status, status, "{address}");
        readers.extend((status == 200).then_some(client));
    }
    drop(readers);
    pass(1).await;
    assert_eq!(from("192.0.2.1").ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn aborted_requests_free_their_room() {
    let limits = Limits { requests_max: 1, connections_max: 1, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", &[b'x'; 1 << 20]);
    for round in 0..200_u64 {
        let (mut client, task) = scene.connect_with(1 << 12);
        if round % 2 == 0 {
            client.begin(&format!("GET /git-annex/{U}/v4/key/WORM--k"), &[], b"").await;
        } else {
            let headers = ["X-git-annex-data-length: 9", "Content-Length: 9"];
            client.begin(&post(4, "put", "WORM--new"), &headers, b"").await;
            client.send(b"x").await;
        }
        if round % 4 < 2 {
            pass(1).await;
            assert_eq!(scene.fake.moving(), 1, "round {round}");
        }
        drop(client);
        task.await.unwrap();
        assert_eq!(scene.fake.moving(), 0, "round {round}");
    }
    assert_eq!(scene.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_allowed_are_told_to_come_again() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    let (mut first, task) = scene.connect_with(1 << 16);
    assert_eq!(first.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    let (mut second, turned_away) = scene.connect_with(1 << 16);
    let reply = second.reply().await;
    assert_eq!((reply.status, reply.whole), (503, true));
    assert!(second.closed().await);
    turned_away.await.unwrap();
    drop(first);
    task.await.unwrap();
    assert_eq!(scene.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn heads_must_arrive_in_time() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let begun = Instant::now();
    assert!(client.closed().await);
    assert_eq!(begun.elapsed().as_secs(), 30);

    let mut client = scene.connect();
    let begun = Instant::now();
    client.send(b"GET / HT").await;
    pass(20).await;
    client.send(b"TP/1.1\r\nHost:").await;
    assert!(client.closed().await);
    assert_eq!(begun.elapsed().as_secs(), 30);

    // On a connection that was used before, time counts from the first byte.
    let mut client = scene.connect();
    assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    pass(500).await;
    client.send(b"GET / HT").await;
    let begun = Instant::now();
    assert!(client.closed().await);
    assert_eq!(begun.elapsed().as_secs(), 30);
}

/// Sent together with a request, it is no more than any other head that does not end.
#[tokio::test(start_paused = true)]
async fn a_head_behind_a_request_must_arrive_in_time_too() {
    let scene = Scene::new();
    let put = post(4, "put", "WORM--k");
    let chunked = ["X-git-annex-data-length: 1", "Transfer-Encoding: chunked"];
    let check = post(4, "checkpresent", "WORM--k");
    for (request, headers, body, seconds) in [
        (&check, &[][..], "GET / HT", 30),
        (&check, &[][..], "\r", 30),
        (&check, &[][..], "", 600),
        (&put, &chunked[..], "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n", 30),
        (&put, &chunked[..], "1\r\nx\r\n0\r\n\r\n", 600),
    ] {
        let mut client = scene.connect();
        let mut text = format!("{request} HTTP/1.1\r\nHost: h\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        client.send(format!("{text}\r\n{body}").as_bytes()).await;
        assert_eq!(client.reply().await.status, 200, "{body:?}");
        let begun = Instant::now();
        assert!(client.closed().await);
        assert_eq!(begun.elapsed().as_secs(), seconds, "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_kept_for_long() {
    let scene = Scene::new();
    let mut client = scene.connect();
    for _ in 0..5 {
        assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
        pass(590).await;
    }
    assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    let begun = Instant::now();
    assert!(client.closed().await);
    assert_eq!(begun.elapsed().as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_cut_and_a_slow_one_is_not() {
    let scene = Scene::new();
    let content = vec![b'x'; 1 << 20];
    scene.fake.have("WORM--k", &content);
    let get = format!("GET /git-annex/{U}/v4/key/WORM--k");
    let (mut slow, _task) = scene.connect_with(1 << 16);
    slow.begin(&get, &[], b"").await;
    let mut read = 0;
    let mut buffer = vec![0; 1 << 15];
    while read < content.len() {
        pass(290).await;
        let len = tokio::io::AsyncReadExt::read(&mut slow.io, &mut buffer).await.unwrap();
        assert!(len > 0, "cut after {read} bytes");
        read += len;
    }
    let (mut stopped, task) = scene.connect_with(1 << 12);
    stopped.begin(&get, &[], b"").await;
    let begun = Instant::now();
    task.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 300);
    assert_eq!(scene.fake.moving(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_what_is_under_way() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", &[b'x'; 1 << 18]);
    let (mut busy, busy_task) = scene.connect_with(1 << 12);
    busy.begin(&format!("GET /git-annex/{U}/v4/key/WORM--k"), &[], b"").await;
    let (mut idle, idle_task) = scene.connect_with(1 << 16);
    assert_eq!(idle.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    let (_fresh, fresh_task) = scene.connect_with(1 << 16);
    let (mut halting, halting_task) = scene.connect_with(1 << 16);
    halting.send(b"GET / HT").await;
    pass(1).await;
    scene.stop.send(true).unwrap();
    let begun = Instant::now();
    fresh_task.await.unwrap();
    halting_task.await.unwrap();
    idle_task.await.unwrap();
    assert!(idle.closed().await);
    let reply = busy.reply().await;
    assert_eq!((reply.status, reply.whole, reply.body.len()), (200, true, 1 << 18));
    assert!(busy.closed().await);
    busy_task.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Up to the last byte and field. What is refused for that has no body.
#[tokio::test]
async fn long_heads_are_refused() {
    let scene = Scene::new();
    let check = post(4, "checkpresent", "WORM--k");
    let target = |len: usize| format!("{check}&x={}", "x".repeat(len + 5 - check.len() - 3));
    for (len, status) in [(65_534, 200), (65_535, 414), (70_000, 414)] {
        let (got, text) = scene.ask(&target(len)).await;
        assert_eq!((got, text.is_empty()), (status, status != 200), "{len} bytes");
    }
    for (len, status) in [(130_000, 200), (200_000, 431)] {
        let mut client = scene.connect_with(1 << 20).0;
        let header = format!("X-Long: {}", "x".repeat(len));
        client.begin(&check, &[&header], b"").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.is_empty()), (status, status != 200), "{len} bytes");
    }
    // Two more say where the request goes, and how long it is.
    for (count, status) in [(98, 200), (99, 431), (3_000, 431)] {
        let fields: Vec<_> = (0..count).map(|n| format!("X-{n}: y")).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let mut client = scene.connect_with(1 << 20).0;
        client.begin(&check, &fields, b"").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.is_empty()), (status, status != 200), "{count}");
    }
}
