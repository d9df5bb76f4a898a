//! 401 or 403, and what each visitor may do.

use gannet_core::Mode;

use super::{Access, C, Limits, Scene, U, post};

const NOBODY: &str = "X-None: x";
/// `rw:pw`
const RIGHT: &str = "Authorization: Basic cnc6cHc=";
const UNPADDED: &str = "Authorization: basic  cnc6cHc";
/// `rw:no`
const WRONG: &str = "Authorization: Basic cnc6bm8=";
const FOREIGN: &str = "Authorization: Bearer cnc6cHc=";

/// Statuses of reading, writing, removing and locking.
async fn statuses(access: Access, header: &str) -> [u16; 4] {
    let scene = Scene::with(Limits::default(), access);
    let mut client = scene.connect();
    let mut found = [0; 4];
    let endpoints = ["checkpresent", "putoffset", "remove", "lockcontent"];
    for (status, endpoint) in found.iter_mut().zip(endpoints) {
        let reply = client.call(&post(4, endpoint, "WORM--k"), &[header], b"").await;
        *status = reply.status;
        let challenge =
            (reply.status == 401).then_some("Basic realm=\"git-annex\", charset=\"UTF-8\"");
        assert_eq!(reply.header("www-authenticate"), challenge);
    }
    found
}

#[tokio::test]
async fn whoever_may_log_in_is_asked_to() {
    let nothing = Mode::NOTHING;
    let (read, append, full) = (Mode::READ_ONLY, Mode::APPEND_ONLY, Mode::FULL);
    let cases = [
        (nothing, None, NOBODY, [403; 4]),
        (nothing, None, WRONG, [403; 4]),
        (full, None, NOBODY, [200; 4]),
        (full, None, WRONG, [200; 4]),
        (nothing, Some(full), NOBODY, [401; 4]),
        (nothing, Some(full), FOREIGN, [401; 4]),
        (nothing, Some(full), WRONG, [401; 4]),
        (nothing, Some(full), RIGHT, [200; 4]),
        (nothing, Some(full), UNPADDED, [200; 4]),
        (nothing, Some(read), RIGHT, [200, 403, 403, 200]),
        (nothing, Some(append), RIGHT, [200, 200, 403, 200]),
        (read, None, NOBODY, [200, 403, 403, 200]),
        (read.without_lock(), None, NOBODY, [200, 403, 403, 403]),
        (read, Some(full), NOBODY, [200, 401, 401, 200]),
        (read, Some(full), WRONG, [200, 401, 401, 200]),
        (read, Some(full), RIGHT, [200; 4]),
        (append, Some(read), RIGHT, [200, 200, 403, 200]),
        (full, Some(read), RIGHT, [200; 4]),
    ];
    for (anonymous, login, header, expected) in cases {
        let found = statuses(Access { anonymous, login }, header).await;
        assert_eq!(found, expected, "{anonymous:?} {login:?} {header}");
    }
}

#[tokio::test]
async fn all_actions_need_their_right() {
    let scene = Scene::with(Limits::default(), Access { anonymous: Mode::NOTHING, login: None });
    scene.fake.have("WORM--k", b"content");
    let mut client = scene.connect();
    let len = "X-git-annex-data-length: 1";
    for request in [
        format!("GET /git-annex/{U}/key/WORM--k"),
        format!("GET /git-annex/{U}/v4/key/WORM--k"),
        format!("HEAD /git-annex/{U}/v4/key/WORM--k"),
        post(4, "put", "WORM--k"),
        post(4, "put", "WORM--k") + "&data-present=true",
        post(4, "remove-before", "WORM--k") + "&timestamp=1",
        post(4, "gettimestamp", "WORM--k"),
        format!("POST /git-annex/{U}/v4/keeplocked?lockid=x"),
    ] {
        assert_eq!(client.call(&request, &[len], b"").await.status, 403, "{request}");
    }
    assert!(scene.fake.last_asker.lock().unwrap().is_none());
}

#[tokio::test]
async fn bad_requests_and_unknown_repositories_need_no_rights() {
    let access = Access { anonymous: Mode::NOTHING, login: Some(Mode::FULL) };
    let scene = Scene::with(Limits::default(), access);
    let mut client = scene.connect();
    for (request, status) in [
        (format!("POST /git-annex/{U}/v4/remove"), 400),
        (format!("POST /git-annex/{U}/v5/remove"), 404),
        (format!("POST /git-annex/{C}/v4/remove?key=WORM--k&clientuuid={C}"), 404),
        (post(4, "put", "WORM--k"), 400),
        (post(4, "remove", "WORM--k"), 401),
    ] {
        assert_eq!(client.call(&request, &[], b"").await.status, status, "{request}");
    }
}
