//! Every endpoint in every version by every method, and every kind of bad input.

use crate::harness::http::{api, escape};
use crate::harness::{
    ABSENT, Body, CLIENT, EMPTY, Gannet, HELLO, Reply, Repo, Request, SERVER, Server, World,
};

/// An endpoint with what it needs, and the versions that have it (p2p-http §1).
struct Endpoint {
    name: &'static str,
    versions: &'static [&'static str],
    methods: &'static [&'static str],
    parameters: &'static [(&'static str, &'static str)],
    /// The member of the JSON reply that tells the result; `None` when content comes.
    result: Option<&'static str>,
}

/// Each cell of the table is asked: what exists answers, what does not is 404, and another method
/// is 405 with the allowed ones.
#[test]
fn every_endpoint_in_every_version_by_every_method() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let mut complaints = Vec::new();
    for endpoint in &ENDPOINTS {
        for version in ["v0", "v1", "v2", "v3", "v4", "v5", "V4", "v04", "v", "4"] {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB"] {
                if !repo.state(HELLO).present {
                    repo.set_content(&world, HELLO, b"hello\n");
                }
                let reply = server.send(&endpoint.request(version, method));
                if let Some(complaint) = endpoint.complaint(version, method, &reply) {
                    complaints.push(format!("{method} {version} {}: {complaint}", endpoint.name));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{} cells:\n{}", complaints.len(), complaints.join("\n"));
}

impl Endpoint {
    fn request(&self, version: &str, method: &str) -> Request {
        let parameters = [self.parameters, &[("clientuuid", CLIENT)]].concat();
        let request = Request::new(method, api(SERVER, version, self.name, &parameters));
        match (self.name, method) {
            ("put", _) => request.header("X-git-annex-data-length", "0").body(empty()),
            ("keeplocked", "POST") => request.body(unlock()),
            (_, "POST") => request.body(empty()),
            _ => request,
        }
    }

    fn complaint(&self, version: &str, method: &str, reply: &Reply) -> Option<String> {
        if !self.versions.contains(&version) {
            return refusal_complaint(reply, 404, "", method);
        }
        if !self.methods.contains(&method) {
            let allow = reply.header("Allow").unwrap_or_default();
            let allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            let all = self.methods.iter().all(|method| allowed.contains(method));
            return match all {
                true => refusal_complaint(reply, 405, "", method),
                false => Some(format!("{}, allows {allow:?}", reply.status)),
            };
        }
        let plus = match (self.name, version) {
            ("put" | "remove" | "remove-before", "v0" | "v1") => Some(false),
            ("put" | "remove" | "remove-before", _) => Some(true),
            _ => None,
        };
        match (reply.status, self.result) {
            (200, _) if method == "HEAD" => None,
            (200, None) if reply.body == b"hello\n" => None,
            (200, Some(result)) => {
                let json = reply.json();
                let has = |name: &str| !json[name].is_null();
                let right = has(result) && plus.is_none_or(|plus| has("plusuuids") == plus);
                (!right).then(|| reply.text())
            }
            (status, _) => Some(format!("{status} {}", reply.text())),
        }
    }
}

const ALL: &[&str] = &["v0", "v1", "v2", "v3", "v4"];
const POST: &[&str] = &["POST"];
const KEY: &[(&str, &str)] = &[("key", HELLO)];

/// `checkpresent` may be read by GET and HEAD as well (issue 2, "The door").
const ENDPOINTS: [Endpoint; 9] = [
    Endpoint {
        name: "key/SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt",
        versions: ALL,
        methods: &["GET", "HEAD"],
        parameters: &[],
        result: None,
    },
    Endpoint {
        name: "checkpresent",
        versions: ALL,
        methods: &["POST", "GET", "HEAD"],
        parameters: KEY,
        result: Some("present"),
    },
    Endpoint {
        name: "lockcontent",
        versions: ALL,
        methods: POST,
        parameters: &[("key", ABSENT)],
        result: Some("locked"),
    },
    Endpoint {
        name: "keeplocked",
        versions: ALL,
        methods: POST,
        parameters: &[("lockid", "none")],
        result: Some("locked"),
    },
    Endpoint {
        name: "remove",
        versions: ALL,
        methods: POST,
        parameters: KEY,
        result: Some("removed"),
    },
    Endpoint {
        name: "remove-before",
        versions: &["v3", "v4"],
        methods: POST,
        parameters: &[("key", HELLO), ("timestamp", "1")],
        result: Some("removed"),
    },
    Endpoint {
        name: "gettimestamp",
        versions: &["v3", "v4"],
        methods: POST,
        parameters: &[],
        result: Some("timestamp"),
    },
    Endpoint {
        name: "put",
        versions: ALL,
        methods: POST,
        parameters: &[("key", EMPTY)],
        result: Some("stored"),
    },
    Endpoint {
        name: "putoffset",
        versions: &["v1", "v2", "v3", "v4"],
        methods: POST,
        parameters: &[("key", ABSENT)],
        result: Some("offset"),
    },
];

/// Bad input is refused with the right status and one line that names the fault, and leaves no
/// trace on disk.
#[test]
fn bad_input_is_named_and_changes_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let before = repo.inventory();
    let mut complaints = Vec::new();
    for (what, request, status, named) in bad_requests() {
        let reply = server.send(&request);
        if let Some(complaint) = refusal_complaint(&reply, status, named, &request.method) {
            complaints.push(format!("{what}: {complaint}"));
        }
        if reply.text().contains(world.path().to_str().unwrap()) {
            complaints.push(format!("{what}: tells a path: {}", reply.text()));
        }
    }
    let after = repo.inventory();
    let changed: Vec<_> =
        after.iter().filter(|(path, about)| before.get(*path) != Some(about)).collect();
    if !changed.is_empty() || after.len() != before.len() {
        complaints.push(format!("on disk: {changed:?}"));
    }
    assert!(complaints.is_empty(), "{} differ:\n{}", complaints.len(), complaints.join("\n"));
    assert_still_serves(&server);
}

fn bad_requests() -> Vec<(String, Request, u16, &'static str)> {
    let mut all = Vec::new();
    let mut bad = |what: &str, request: Request, status: u16, named: &'static str| {
        all.push((what.to_owned(), request, status, named));
    };
    let post = |endpoint: &str, query: &str| {
        Request::post(format!("/git-annex/{SERVER}/v4/{endpoint}?clientuuid={CLIENT}{query}"))
    };
    let key = format!("&key={ABSENT}");

    for text in ["", "foo", "SHA256E", "SHA256E-s-5--x", "SHA256E-s5-s5--x", "-s1--x"] {
        for endpoint in ["checkpresent", "lockcontent", "remove", "putoffset"] {
            let what = format!("{endpoint} of key {text:?}");
            bad(&what, post(endpoint, &format!("&key={text}")), 400, "key");
        }
    }
    let long = format!("SHA256E-s1--{}.{}", "0".repeat(64), "e".repeat(64));
    bad("too long an extension", post("checkpresent", &format!("&key={long}")), 400, "key");
    for text in ["[!]", "[Zm9v]", "[Zm9v+/==]", "[]"] {
        bad(
            &format!("key in brackets {text}"),
            post("checkpresent", &format!("&key={}", escape(text))),
            400,
            "key",
        );
    }
    for endpoint in ["checkpresent", "lockcontent", "remove", "putoffset", "remove-before"] {
        bad(&format!("{endpoint} without key"), post(endpoint, "&timestamp=1"), 400, "key");
    }
    for endpoint in ["checkpresent", "lockcontent", "remove", "putoffset"] {
        let target = format!("/git-annex/{SERVER}/v4/{endpoint}?key={ABSENT}");
        bad(&format!("{endpoint} without clientuuid"), Request::post(&target), 400, "clientuuid");
        let target = format!("{target}&clientuuid=");
        bad(&format!("{endpoint}, empty clientuuid"), Request::post(target), 400, "clientuuid");
    }
    bad("empty bypass", post("checkpresent", &format!("{key}&bypass=")), 400, "bypass");
    bad("keeplocked without lockid", post("keeplocked", "").body(unlock()), 400, "lockid");

    for text in ["", "-1", "+1", "0x2", "(2)", "%202", "2%20", "1.5", "1e9", "abc", "%D9%A1"] {
        let offset = format!("&offset={text}");
        let get = format!("/git-annex/{SERVER}/v4/key/{HELLO}?clientuuid={CLIENT}{offset}");
        bad(&format!("get, offset {text:?}"), Request::get(get), 400, "offset");
        let put = post("put", &format!("{key}{offset}")).header("X-git-annex-data-length", "6");
        bad(&format!("put, offset {text:?}"), put.body(content()), 400, "offset");
        let before = post("remove-before", &format!("{key}&timestamp={text}"));
        bad(&format!("remove-before, timestamp {text:?}"), before, 400, "timestamp");
    }
    bad("remove-before without timestamp", post("remove-before", &key), 400, "timestamp");
    for text in ["", "-5", "abc", "1.0", "0x6", "6 6"] {
        let put = post("put", &key).header("X-git-annex-data-length", text).body(content());
        bad(&format!("put, data length {text:?}"), put, 400, "X-git-annex-data-length");
    }
    for text in ["1", "yes", "", "tru"] {
        let put = post("put", &format!("{key}&data-present={text}"));
        let put = put.header("X-git-annex-data-length", "6");
        bad(&format!("put, data-present {text:?}"), put, 400, "data-present");
    }
    for version in ["v0", "v1", "v2", "v3", "v4"] {
        let put = format!("/git-annex/{SERVER}/{version}/put?clientuuid={CLIENT}{key}");
        let put = Request::post(put).body(content());
        bad(&format!("{version} put without length"), put, 400, "X-git-annex-data-length");
        let key = format!("/git-annex/{SERVER}/{version}/key/{HELLO}?clientuuid={CLIENT}");
        let file = Request::get(format!("{key}&associatedfile=%5B!%5D"));
        bad(&format!("{version} get, associated file"), file, 400, "associatedfile");
    }

    let stranger = "00000000-0000-4000-8000-00000000000f";
    for uuid in [stranger, "xxx", "..", "%2e%2e", "%00", &SERVER.to_uppercase(), ""] {
        let check = format!("/git-annex/{uuid}/v4/checkpresent?clientuuid={CLIENT}{key}");
        bad(&format!("repository {uuid:?}"), Request::post(check), 404, "");
        bad(
            &format!("key of repository {uuid:?}"),
            Request::get(format!("/git-annex/{uuid}/key/{HELLO}")),
            404,
            "",
        );
    }
    for path in ["/", "/git-annex", "/foo", "/git-annex/x", "/x/git-annex/y/key/z", "/%", "/%zz"] {
        bad(&format!("path {path}"), Request::get(path), 404, "");
    }
    let unversioned = format!("/git-annex/{SERVER}/key/{HELLO}");
    for range in ["bytes=6-", "bytes=100-200", "bytes=-0"] {
        let request = Request::get(&unversioned).header("Range", range);
        bad(&format!("range {range}"), request, 416, "");
    }
    bad("absent key", Request::get(format!("/git-annex/{SERVER}/key/{ABSENT}")), 404, "");
    bad("no key", Request::get(format!("/git-annex/{SERVER}/key/foo")), 400, "key");
    all
}

/// What a refusal lacks: the status, one line of text, the name of the fault.
fn refusal_complaint(reply: &Reply, status: u16, named: &str, method: &str) -> Option<String> {
    let text = reply.text();
    if reply.status != status {
        return Some(format!("{} instead of {status}: {text}", reply.status));
    }
    if !reply.complete {
        return Some("cut off".to_owned());
    }
    if method == "HEAD" {
        return None;
    }
    let line = text.trim_end_matches('\n');
    let plain = reply.header("Content-Type").is_some_and(|kind| kind.starts_with("text/plain"));
    let one_line = !line.is_empty() && !line.contains('\n') && line.len() < 1000;
    let names = line.to_lowercase().contains(&named.to_lowercase());
    (!plain || !one_line || !names).then(|| {
        format!("{status} {text:?} ({:?}) should name {named:?}", reply.header("Content-Type"))
    })
}

/// What is no HTTP at all is refused or dropped, and the next client is served.
#[test]
fn what_is_not_http_is_dropped() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let before = server.descriptors();
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let many = "X-A: b\r\n".repeat(100_000);
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    let both = format!(
        "POST /git-annex/{SERVER}/v4/put?key={ABSENT}&clientuuid={CLIENT} HTTP/1.1\r\nHost: h\r\n\
         X-git-annex-data-length: 6\r\nContent-Length: abc\r\n\r\nabsent"
    );
    let garbage: [&[u8]; 7] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        huge.as_bytes(),
        many.as_bytes(),
        both.as_bytes(),
    ];
    for bytes in garbage {
        let mut connection = server.connect();
        if connection.write(bytes).is_err() {
            continue;
        }
        connection.finish_sending();
        if let Ok(reply) = connection.reply_to("GET") {
            assert!((400..=505).contains(&reply.status), "{reply:?}");
        }
    }
    assert_still_serves(&server);
    assert!(!repo.state(ABSENT).present);
    crate::harness::eventually(std::time::Duration::from_secs(10), || {
        let now = server.descriptors();
        if now <= before { Ok(()) } else { Err(format!("{now} descriptors, {before} before")) }
    });
}

#[track_caller]
fn assert_still_serves(server: &Server) {
    let reply = server.send(&Request::get(format!("/git-annex/{SERVER}/key/{HELLO}")));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
}

fn empty() -> Body {
    Body::Length(Vec::new())
}

fn content() -> Body {
    Body::Length(b"absent".to_vec())
}

fn unlock() -> Body {
    Body::Length(b"{\"unlock\":true}\n".to_vec())
}
