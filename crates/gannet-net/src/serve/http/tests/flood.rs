//! Clients of HTTP/2 that mean harm: frames without end, and windows that never open.

use gannet_testkit::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET_ROOT, HEADERS, PING, PREFACE, PRIORITY, RESET,
    SETTINGS, WINDOW_UPDATE, field, frame, reason, request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::raw::Client;
use super::{Access, C, Limits, Scene, U, pass, post};

const CALM: Option<u32> = Some(11);

fn get(stream: u32) -> Vec<u8> {
    request(stream, 2, &format!("/git-annex/{U}/v4/key/WORM--k?clientuuid={C}"))
}

/// Sends, from a client that reads all that comes, until the connection ends or all is sent;
/// returns the reason that the server gave for ending it.
async fn flood(scene: &Scene, frames: impl IntoIterator<Item = Vec<u8>>) -> Option<u32> {
    let (Client { io, .. }, task) = scene.connect_with(1 << 16);
    let (mut reading, mut writing) = tokio::io::split(io);
    let sending = async {
        drop(writing.write_all(PREFACE).await);
        for frame in frames {
            if writing.write_all(&frame).await.is_err() {
                break;
            }
        }
        drop(writing.shutdown().await);
    };
    let hearing = async {
        let mut heard = Vec::new();
        drop(reading.read_to_end(&mut heard).await);
        heard
    };
    let ((), heard) = tokio::join!(sending, hearing);
    task.await.unwrap();
    assert_eq!(scene.fake.moving(), 0);
    assert_eq!(scene.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    reason(&heard)
}

/// Requests that are taken back as soon as they are made end the connection, and no other.
#[tokio::test(start_paused = true)]
async fn a_rapid_reset_ends_its_connection() {
    let scene = Scene::new();
    let frames = (0..1000).map(|n| {
        let stream = 2 * n + 1;
        let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_ROOT);
        [headers, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert_eq!(flood(&scene, frames).await, CALM);
}

/// So do requests that break a rule each, and make the server take them back.
#[tokio::test(start_paused = true)]
async fn resets_that_the_server_is_made_to_send_end_the_connection() {
    let scene = Scene::new();
    let bad = |n: u32| {
        // That field belongs to HTTP/1.
        let block = [GET_ROOT, &field("connection", "close")].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block)
    };
    assert_eq!(flood(&scene, (0..100).map(bad)).await.unwrap_or(0), 0);
    assert_eq!(flood(&scene, (0..200).map(bad)).await, CALM);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_goes_on_and_on_ends_its_connection() {
    let scene = Scene::new();
    for part in [&[][..], &field("x-y", "z")] {
        let begin = frame(HEADERS, END_STREAM, 1, GET_ROOT);
        let more = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, part)).take(100_000);
        assert_eq!(flood(&scene, std::iter::once(begin).chain(more)).await, CALM);
    }
}

/// One field that is remembered and then named ten thousand times: 40 MB out of 14 KB.
#[tokio::test(start_paused = true)]
async fn a_small_head_that_unfolds_into_a_large_one_is_refused() {
    let scene = Scene::new();
    let value = [b'v'; 3900];
    // Literal with incremental indexing, a name of one byte, a value of 3900 = 127 + 3773.
    let mut block = [GET_ROOT, &[0x40, 1, b'x', 0x7f, 0xbd, 0x1d], &value].concat();
    block.extend(std::iter::repeat_n(0xbe, 10_000));
    let (mut client, task) = scene.connect_with(1 << 20);
    client.send(PREFACE).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    client.io.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.io.read_to_end(&mut heard).await.unwrap();
    task.await.unwrap();
    // An answer or the end of the connection, but no request was made of it.
    assert!(
        heard.windows(3).any(|bytes| bytes == b"431") || reason(&heard).is_some_and(|it| it != 0),
        "{heard:?}"
    );
}

/// Frames that want an answer, from a client that does not read any: it is not read any more
/// either, and its time runs out.
#[tokio::test(start_paused = true)]
async fn questions_of_a_client_that_hears_no_answer_are_not_read() {
    let scene = Scene::new();
    for question in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let (mut client, task) = scene.connect_with(1 << 14);
        client.send(PREFACE).await;
        let begun = Instant::now();
        let mut sent = 0;
        while client.io.write_all(&question).await.is_ok() {
            sent += question.len();
            assert!(sent < 4 << 20, "answers pile up somewhere");
        }
        task.await.unwrap();
        assert!(begun.elapsed().as_secs() <= 300, "{:?}", begun.elapsed());
    }
}

/// They are answered one by one if the answers are read, and keep nobody waiting.
#[tokio::test(start_paused = true)]
async fn frames_without_a_request_are_not_kept() {
    let scene = Scene::new();
    let often = |frame: Vec<u8>| std::iter::repeat_n(frame, 50_000);
    let setting = [0, 4, 0, 0, 0xff, 0xff]; // the window, as it is
    let mut grow = [0; 4];
    grow[3] = 1;
    assert_eq!(flood(&scene, often(frame(PING, 0, 0, &[7; 8]))).await.unwrap_or(0), 0);
    assert_eq!(flood(&scene, often(frame(SETTINGS, 0, 0, &setting))).await.unwrap_or(0), 0);
    assert_eq!(flood(&scene, often(frame(WINDOW_UPDATE, 0, 0, &grow))).await.unwrap_or(0), 0);
    assert_eq!(flood(&scene, often(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]))).await.unwrap_or(0), 0);
    // A window has an end.
    let grow = [0x7f, 0xff, 0xff, 0xff];
    assert_eq!(flood(&scene, often(frame(WINDOW_UPDATE, 0, 0, &grow))).await, Some(3));
}

/// A body of empty frames moves nothing, and is not waited for.
#[tokio::test(start_paused = true)]
async fn a_body_of_nothing_ends_its_connection() {
    let scene = Scene::new();
    let path = format!("/git-annex/{U}/v4/put?key=WORM--new&clientuuid={C}");
    let length = field("x-git-annex-data-length", "100000");
    let block = [&[0x83, 0x86][..], &field(":path", &path), &length].concat();
    let begin = frame(HEADERS, END_HEADERS, 1, &block);
    let nothing = std::iter::repeat_with(|| frame(DATA, 0, 1, &[])).take(1_000_000);
    assert_eq!(flood(&scene, std::iter::once(begin).chain(nothing)).await, CALM);
    assert_eq!(scene.fake.has("WORM--new"), None);
}

/// As many requests as there may be, by a client whose window never opens: their time runs out.
#[tokio::test(start_paused = true)]
async fn windows_that_never_open_hold_nothing_for_ever() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", &[b'x'; 1 << 20]);
    let (mut client, task) = scene.connect_with(1 << 20);
    client.send(&PREFACE[..24]).await;
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for n in 0..200 {
        client.send(&get(2 * n + 1)).await;
    }
    pass(299).await;
    // More than there may be are refused one by one.
    assert_eq!(scene.fake.moving(), 128);
    pass(2).await;
    assert_eq!(scene.fake.moving(), 0);
    drop(client);
    task.await.unwrap();
}

/// Streams may cost as much as connections, so all of them are counted, and those of one address:
/// one more is reset.
#[tokio::test(start_paused = true)]
async fn streams_of_many_connections_are_counted_together() {
    let limits =
        Limits { connections_max: 12, connections_per_address_max: 5, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", &[b'x'; 1 << 20]);
    let mut crowd = Vec::new();
    for (address, moving) in [
        (Some("192.0.2.1"), 3),
        (Some("192.0.2.1"), 5),
        (Some("192.0.2.1"), 5),
        (Some("192.0.2.2"), 8),
        (Some("192.0.2.2"), 10),
        (None, 12),
        (None, 12),
    ] {
        let from = address.map(|address| address.parse().unwrap());
        let (mut client, task) = scene.connect_from(from, 1 << 16);
        client.send(&PREFACE[..24]).await;
        client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        for n in 0..3 {
            client.send(&get(2 * n + 1)).await;
        }
        pass(1).await;
        assert_eq!(scene.fake.moving(), moving, "{address:?}");
        crowd.push((client, task));
    }
    for (client, task) in crowd {
        drop(client);
        task.await.unwrap();
    }
    assert_eq!(scene.fake.moving(), 0);
    let frames = (0..8).map(|n| get(2 * n + 1));
    assert_eq!(flood(&scene, frames).await.unwrap_or(0), 0);
}

/// A connection on which no request is ever whole has as long as any first request has.
#[tokio::test(start_paused = true)]
async fn a_first_head_must_arrive_in_time() {
    let scene = Scene::new();
    let begun = Instant::now();
    let (mut client, task) = scene.connect_with(1 << 16);
    client.send(PREFACE).await;
    client.send(&frame(HEADERS, END_STREAM, 1, GET_ROOT)).await;
    for _ in 0..3 {
        pass(9).await;
        client.send(&frame(CONTINUATION, 0, 1, &[])).await;
    }
    task.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
}
