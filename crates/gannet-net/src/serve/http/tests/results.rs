//! Each endpoint in each version: what it answers, and what it refuses.

use gannet_core::{Error, Key, Uuid};

use super::{BROKEN, C, Scene, U, post};

#[tokio::test]
async fn every_endpoint_answers_in_every_version() {
    let scene = Scene::new();
    let mut client = scene.connect();
    for version in 0..=4 {
        let plus = if version >= 2 { "\"plusuuids\":[\"node\"]," } else { "" };
        let none = if version >= 2 { "\"plusuuids\":[]," } else { "" };
        scene.fake.have("WORM--k", b"content");
        let (k, absent) = ("WORM--k", "WORM--absent");
        let unknown =
            || (404, format!("version v{version} of the API does not have this endpoint\n"));
        let removed = format!("{{{plus}\"removed\":true}}");
        let put_offset = |key| match (version, key) {
            (0, _) => unknown(),
            (_, "WORM--absent") => (200, "{\"offset\":0}".to_owned()),
            (1, _) => (200, "{\"alreadyhave\":true}".to_owned()),
            _ => (200, "{\"alreadyhave\":true,\"plusuuids\":[\"node\"]}".to_owned()),
        };
        let before = |text: String| if version < 3 { unknown() } else { (200, text) };
        let cases = [
            (post(version, "checkpresent", k), (200, "{\"present\":true}".to_owned())),
            (post(version, "checkpresent", absent), (200, "{\"present\":false}".to_owned())),
            (post(version, "lockcontent", absent), (200, "{\"locked\":false}".to_owned())),
            (post(version, "putoffset", k), put_offset(k)),
            (post(version, "putoffset", absent), put_offset(absent)),
            (post(version, "gettimestamp", k), before("{\"timestamp\":1000}".to_owned())),
            (
                post(version, "remove-before", k) + "&timestamp=1000",
                before(format!("{{{none}\"removed\":false}}")),
            ),
            (post(version, "remove-before", k) + "&timestamp=1001", before(removed.clone())),
            (post(version, "remove", k), (200, removed.clone())),
            (post(version, "remove", absent), (200, removed)),
        ];
        for (request, expected) in cases {
            assert_eq!(client.ask(&request).await, expected, "{request}");
        }
        assert_eq!(scene.fake.has(k), None);
        let put =
            client.call(&post(version, "put", k), &["X-git-annex-data-length: 3"], b"new").await;
        let stored = format!("{{{plus}\"stored\":true}}");
        assert_eq!((put.status, put.text()), (200, stored), "put v{version}");
        assert_eq!(put.header("content-type"), Some("application/json;charset=utf-8"));
        assert_eq!(scene.fake.has(k).unwrap(), "new");
    }
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let cases = [
        ("GET /".to_owned(), 404),
        ("GET /favicon.ico".to_owned(), 404),
        ("POST /git-annex".to_owned(), 404),
        (post(5, "remove", "WORM--k"), 404),
        (post(4, "nothing", "WORM--k"), 404),
        (post(4, "remove", "foo"), 400),
        (post(4, "remove", "%5B!!%5D"), 400),
        (format!("POST /git-annex/{U}/v4/remove?key=WORM--k"), 400),
        (format!("POST /git-annex/{U}/v4/keeplocked"), 400),
        (format!("POST /git-annex/{C}/v4/remove?key=WORM--k&clientuuid={C}"), 404),
        (format!("POST /git-annex/{C}/v4/remove"), 400),
        (format!("GET /git-annex/{U}/v4/key/foo"), 400),
        (format!("GET /git-annex/{U}/v4/key/WORM--k?offset=-1"), 400),
        (format!("POST /git-annex/{BROKEN}/v4/remove?key=WORM--k&clientuuid={C}"), 500),
    ];
    for (request, status) in cases {
        let reply = client.call(&request, &[], b"").await;
        assert_eq!(reply.status, status, "{request}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{request}");
        let text = reply.text();
        assert!(text.len() > 1 && text.find('\n') == Some(text.len() - 1), "{text:?}");
        assert!(!text.contains("secret"), "{text:?}");
    }
    for (request, allow) in [
        (post(4, "remove", "WORM--k").replace("POST", "GET"), "POST"),
        (post(4, "checkpresent", "WORM--k").replace("POST", "DELETE"), "POST, GET, HEAD"),
        (format!("POST /git-annex/{U}/key/WORM--k"), "GET, HEAD"),
    ] {
        let reply = client.call(&request, &[], b"").await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{request}");
    }
}

#[tokio::test]
async fn presence_may_be_asked_with_get_and_head() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let mut client = scene.connect();
    let get = post(4, "checkpresent", "WORM--k").replace("POST", "GET");
    assert_eq!(client.ask(&get).await, (200, "{\"present\":true}".to_owned()));
    let head = client.call(&get.replace("GET", "HEAD"), &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("16")));
    let nowhere = client.call("HEAD /nowhere", &[], b"").await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(client.ask(&get).await.0, 200);
}

#[tokio::test]
async fn a_base_path_goes_before_everything() {
    let mut scene = Scene::new();
    let shared = std::sync::Arc::into_inner(scene.door).unwrap();
    scene.door = std::sync::Arc::new(shared.below("/sub/dir/"));
    let request = post(4, "checkpresent", "WORM--k");
    assert_eq!(scene.ask(&request).await.0, 404);
    assert_eq!(scene.ask(&request.replace("/git-annex", "/sub/dir/git-annex")).await.0, 200);
}

#[tokio::test]
async fn the_place_learns_who_asks() {
    let scene = Scene::new();
    let request = post(4, "checkpresent", "WORM--k") + "&bypass=b1&bypass=b2";
    assert_eq!(scene.ask(&request).await.0, 200);
    let asker = scene.fake.last_asker.lock().unwrap().clone().unwrap();
    assert_eq!(asker.client, Uuid::parse(C.as_bytes()).ok());
    assert_eq!(asker.bypass.len(), 2);
}

#[tokio::test]
async fn failures_choose_their_status() {
    let scene = Scene::new();
    let mut client = scene.connect();
    let key = || Key::parse(b"WORM--k").unwrap();
    let secret = || "/secret/path".to_owned();
    let disk = || Error::disk("open", "/secret/path", std::io::Error::other("x"));
    let cases: [(&str, Error, u16); 15] = [
        ("checkpresent", disk(), 500),
        ("checkpresent", Error::Internal(secret()), 500),
        ("checkpresent", Error::Git { doing: "read", why: secret() }, 500),
        ("checkpresent", Error::Command { program: secret(), why: secret() }, 500),
        ("checkpresent", Error::Remote { place: secret(), why: secret() }, 502),
        ("checkpresent", Error::Unsupported(secret()), 501),
        ("checkpresent", Error::Overloaded { what: "x" }, 503),
        ("checkpresent", Error::Busy { key: key(), why: "x" }, 503),
        ("remove", Error::Busy { key: key(), why: "x" }, 200),
        ("remove", disk(), 500),
        ("putoffset", Error::Busy { key: key(), why: "x" }, 200),
        ("putoffset", disk(), 500),
        ("lockcontent", Error::Busy { key: key(), why: "x" }, 200),
        ("lockcontent", Error::Missing { key: key() }, 200),
        ("lockcontent", disk(), 500),
    ];
    for (endpoint, error, status) in cases {
        let name = format!("{endpoint}: {error}");
        scene.fake.fail_with(error);
        let reply = client.call(&post(4, endpoint, "WORM--k"), &[], b"").await;
        assert_eq!(reply.status, status, "{name}");
        assert!(!reply.text().contains("secret"), "{name}: {}", reply.text());
        assert_eq!(reply.header("retry-after").is_some(), status == 503, "{name}");
        let no = match endpoint {
            "remove" => "{\"plusuuids\":[],\"removed\":false}",
            "putoffset" => "{\"offset\":0}",
            _ => "{\"locked\":false}",
        };
        assert_eq!(reply.text() == no, status == 200, "{name}");
    }
}
