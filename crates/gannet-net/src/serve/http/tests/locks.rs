//! Locks held by id: every way in which they end.

use super::raw::Client;
use super::{Access, C, Limits, Scene, U, pass, post};

const OVER: (u16, &str) = (200, "{\"locked\":false}");
const CHUNKED: &str = "Transfer-Encoding: chunked";

impl Scene {
    fn with_lockable() -> Self {
        let scene = Self::new();
        scene.fake.have("WORM--k", b"content");
        scene
    }

    async fn lock(&self) -> String {
        let (status, text) = self.ask(&post(4, "lockcontent", "WORM--k")).await;
        assert_eq!(status, 200);
        let id = text.strip_prefix("{\"locked\":true,\"lockid\":\"").expect("a lock");
        id.strip_suffix("\"}").unwrap().to_owned()
    }

    /// A connection on which `keeplocked` has begun.
    async fn keep(&self, id: &str) -> Client {
        let mut client = self.connect();
        client.begin(&keep_locked(id), &[CHUNKED], b"").await;
        client.chunk(b"{\"unlock\":false}").await;
        client.chunk(b"\n").await;
        client
    }

    /// Held and released locks, once everything that is ready to run has run.
    async fn counts(&self) -> (usize, usize) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        (self.fake.held(), self.fake.released())
    }
}

fn keep_locked(id: &str) -> String {
    format!("POST /git-annex/{U}/v4/keeplocked?lockid={id}&clientuuid={C}")
}

async fn over(client: &mut Client) -> bool {
    let reply = client.reply().await;
    (reply.status, reply.text().as_str()) == OVER
}

#[tokio::test(start_paused = true)]
async fn unlocking_is_answered_before_the_body_ends() {
    let scene = Scene::with_lockable();
    for version in 0..=4 {
        let id = scene.lock().await;
        let mut client = scene.connect();
        let request = format!("POST /git-annex/{U}/v{version}/keeplocked?lockid={id}");
        client.begin(&request, &[CHUNKED], b"").await;
        for chunk in ["{\"unlock\":fal", "se}", "\n", "{\"unl", "ock\":true"] {
            client.chunk(chunk.as_bytes()).await;
        }
        assert_eq!(scene.counts().await, (1, version));
        client.chunk(b"}").await;
        assert!(over(&mut client).await);
        assert_eq!(scene.counts().await, (0, version + 1));
        // The rest of the body is drained, and the connection serves on.
        client.chunk(b"\n").await;
        client.chunk(b"").await;
        assert_eq!(client.ask(&post(4, "checkpresent", "WORM--k")).await.0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn unlocking_in_one_piece_works_too() {
    let scene = Scene::with_lockable();
    for body in
        ["{\"unlock\":true}", "{\"unlock\":true}\n", "{\"unlock\":false}\n{\"unlock\":true}"]
    {
        let id = scene.lock().await;
        let reply = scene.connect().call(&keep_locked(&id), &[], body.as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), OVER, "{body:?}");
        assert_eq!(scene.counts().await.0, 0, "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_ids_are_answered_at_once() {
    let scene = Scene::with_lockable();
    let mut client = scene.keep("nobody").await;
    let begun = tokio::time::Instant::now();
    assert!(over(&mut client).await);
    assert_eq!(begun.elapsed().as_secs(), 0);
    let id = scene.lock().await;
    for _ in 0..2 {
        let body = b"{\"unlock\":true}\n";
        let reply = scene.connect().call(&keep_locked(&id), &[], body).await;
        assert_eq!((reply.status, reply.text().as_str()), OVER);
    }
    assert_eq!(scene.counts().await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_nobody_keeps_is_released_in_time() {
    let scene = Scene::with_lockable();
    let id = scene.lock().await;
    pass(658).await;
    assert_eq!(scene.counts().await, (1, 0));
    pass(3).await;
    assert_eq!(scene.counts().await, (0, 1));
    let mut late = scene.keep(&id).await;
    assert!(over(&mut late).await);
}

#[tokio::test(start_paused = true)]
async fn a_kept_lock_does_not_expire() {
    let scene = Scene::with_lockable();
    let id = scene.lock().await;
    pass(500).await;
    let mut client = scene.keep(&id).await;
    pass(100_000).await;
    assert_eq!(scene.counts().await, (1, 0));
    client.chunk(b"{\"unlock\":true}").await;
    assert!(over(&mut client).await);
    assert_eq!(scene.counts().await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_the_lock_its_time() {
    let scene = Scene::with_lockable();
    let id = scene.lock().await;
    let client = scene.keep(&id).await;
    pass(100).await;
    drop(client);
    pass(500).await;
    assert_eq!(scene.counts().await, (1, 0));
    // It can be taken up again.
    let client = scene.keep(&id).await;
    pass(1000).await;
    assert_eq!(scene.counts().await, (1, 0));
    drop(client);
    assert_eq!(scene.counts().await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_without_unlocking_leaves_the_lock_its_time() {
    let scene = Scene::with_lockable();
    for body in ["", "{\"unlock\":false}\n", "\n"] {
        let (held, released) = scene.counts().await;
        let id = scene.lock().await;
        let reply = scene.connect().call(&keep_locked(&id), &[], body.as_bytes()).await;
        assert_eq!((reply.status, reply.text().as_str()), OVER, "{body:?}");
        assert_eq!(scene.counts().await, (held + 1, released), "{body:?}");
    }
    pass(661).await;
    assert_eq!(scene.counts().await, (0, 3));
}

#[tokio::test(start_paused = true)]
async fn garbage_is_refused_and_leaves_the_lock_its_time() {
    let scene = Scene::with_lockable();
    for body in ["garbage\n", "{\"unlock\":\"yes\"}\n", "{}", "[true]", "{\"unlock\":true"] {
        let (held, released) = scene.counts().await;
        let id = scene.lock().await;
        let reply = scene.connect().call(&keep_locked(&id), &[], body.as_bytes()).await;
        assert_eq!(reply.status, 400, "{body:?}");
        assert_eq!(scene.counts().await, (held + 1, released), "{body:?}");
    }
    pass(661).await;
    assert_eq!(scene.counts().await, (0, 5));
}

#[tokio::test(start_paused = true)]
async fn all_who_keep_a_lock_learn_that_it_is_gone() {
    let scene = Scene::with_lockable();
    let id = scene.lock().await;
    let (mut one, mut two) = (scene.keep(&id).await, scene.keep(&id).await);
    pass(1000).await;
    one.chunk(b"{\"unlock\":true}").await;
    assert!(over(&mut one).await);
    assert!(over(&mut two).await);
    assert_eq!(scene.counts().await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn failed_locks_take_no_room() {
    let limits = Limits { locks_max: 2, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", b"content");
    let mut client = scene.connect();
    for _ in 0..500 {
        let (status, text) = client.ask(&post(4, "lockcontent", "WORM--absent")).await;
        assert_eq!((status, text.as_str()), OVER);
    }
    let (one, _two) = (scene.lock().await, scene.lock().await);
    let full = client.ask(&post(4, "lockcontent", "WORM--k")).await;
    assert_eq!((full.0, full.1.as_str()), OVER);
    client.call(&keep_locked(&one), &[], b"{\"unlock\":true}").await;
    scene.lock().await;
    pass(661).await;
    assert_eq!(scene.counts().await, (0, 3));
    scene.lock().await;
    scene.lock().await;
}

#[tokio::test(start_paused = true)]
async fn one_client_does_not_take_all_the_room() {
    let limits = Limits { locks_max: 3, locks_per_client_max: 2, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", b"content");
    scene.lock().await;
    scene.lock().await;
    let request = post(4, "lockcontent", "WORM--k");
    let full = scene.ask(&request).await;
    assert_eq!((full.0, full.1.as_str()), OVER);
    let other = scene.ask(&request.replace(C, "other")).await;
    assert!(other.1.contains("\"locked\":true"), "{other:?}");
}

/// Whoever makes up a uuid for each lock gets what one address may have, and leaves no trace.
#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_all_the_room() {
    let limits = Limits { locks_max: 8, locks_per_address_max: 3, ..Limits::default() };
    let scene = Scene::with(limits, Access::open());
    scene.fake.have("WORM--k", b"content");
    let mut made_up = 0;
    let mut next = |address: Option<&str>| {
        made_up += 1;
        let request = post(4, "lockcontent", "WORM--k").replace(C, &format!("stranger-{made_up}"));
        let from = address.map(|address| address.parse().unwrap());
        let mut client = scene.connect_from(from, 1 << 16).0;
        async move { client.ask(&request).await.1.contains("\"locked\":true") }
    };
    for round in 0..2 {
        for _ in 0..20 {
            next(Some("192.0.2.1")).await;
        }
        assert_eq!(scene.counts().await.0, 3, "round {round}");
        // The same one, and its neighbours in IPv6; others have what is left in all.
        assert!(!next(Some("::ffff:192.0.2.1")).await);
        for (address, gets) in [
            (Some("2001:db8::1"), true),
            (Some("2001:db8::2"), true),
            (Some("2001:db8::ffff:3"), true),
            (Some("2001:db8::4"), false),
            // Through a unix socket all come alike, and are limited in all only.
            (None, true),
            (Some("192.0.2.2"), true),
            (Some("192.0.2.3"), false),
            (None, false),
        ] {
            assert_eq!(next(address).await, gets, "{address:?} in round {round}");
        }
        pass(661).await;
        assert_eq!(scene.counts().await.0, 0, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_answers_keepers_and_drops_locks_without_releasing_them() {
    let scene = Scene::with_lockable();
    let id = scene.lock().await;
    let mut client = scene.keep(&id).await;
    pass(10).await;
    scene.stop.send(true).unwrap();
    assert!(over(&mut client).await);
    assert_eq!(scene.counts().await, (1, 0));
    let Scene { fake, door, .. } = scene;
    drop(client);
    pass(10).await;
    drop(door);
    pass(1).await;
    use std::sync::atomic::Ordering::SeqCst;
    assert_eq!((fake.held.load(SeqCst), fake.released.load(SeqCst)), (0, 0));
}
