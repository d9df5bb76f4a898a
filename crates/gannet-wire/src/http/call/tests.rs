use gannet_core::key::BadKey;
use proptest::prelude::*;

use super::*;

const U: &str = "5e5e5e5e-0000-4000-8000-000000000001";
const C: &str = "c1c1c1c1-0000-4000-8000-000000000002";
const ENDPOINTS: [&str; 8] = [
    "checkpresent",
    "lockcontent",
    "keeplocked",
    "remove",
    "remove-before",
    "gettimestamp",
    "put",
    "putoffset",
];

/// Reads `METHOD /target`, with the data length of a small put.
fn read(request: &str) -> Result<Call, Refusal> {
    read_below("", request, Some(b"3"))
}

fn read_below(base: &str, request: &str, len: Option<&[u8]>) -> Result<Call, Refusal> {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Routes::below(base).read(Head {
        method,
        path: path.as_bytes(),
        query: query.as_bytes(),
        data_length: len,
    })
}

fn status(request: &str) -> u16 {
    read(request).err().map_or(200, |refusal| refusal.status())
}

fn key(text: &[u8]) -> Key {
    Key::parse(text).unwrap()
}

#[test]
fn each_endpoint_exists_since_its_version() {
    let query = format!("key=WORM--k&clientuuid={C}&timestamp=1&lockid=x");
    for endpoint in ENDPOINTS {
        let since = match endpoint {
            "putoffset" => 1,
            "remove-before" | "gettimestamp" => 3,
            _ => 0,
        };
        for version in 0..=5 {
            let request = format!("POST /git-annex/{U}/v{version}/{endpoint}?{query}");
            let expected = if (since..=4).contains(&version) { 200 } else { 404 };
            assert_eq!(status(&request), expected, "{request}");
        }
    }
    for version in 0..=5 {
        let expected = if version <= 4 { 200 } else { 404 };
        for method in ["GET", "HEAD"] {
            let request = format!("{method} /git-annex/{U}/v{version}/key/WORM--k");
            assert_eq!(status(&request), expected, "{request}");
        }
    }
    assert_eq!(status(&format!("GET /git-annex/{U}/key/WORM--k")), 200);
}

#[test]
fn unknown_routes_are_not_found() {
    let query = format!("key=WORM--k&clientuuid={C}");
    let paths = [
        "/".to_owned(),
        String::new(),
        "/git-annex".to_owned(),
        format!("/git-annex/{U}"),
        format!("/git-annex/{U}/v4"),
        format!("/git-annex/{U}/v4/"),
        format!("/git-annex/{U}/v4/key"),
        format!("/git-annex/{U}/v4/key/"),
        format!("/git-annex/{U}/v4/key/WORM--a/b"),
        format!("/git-annex/{U}/v4/key/WORM--a/b/c/d"),
        format!("/git-annex/{U}/key"),
        format!("/git-annex/{U}/v4/other"),
        format!("/git-annex/{U}/v4/checkpresent/x"),
        format!("/git-annex/{U}/checkpresent"),
        format!("/git-annex/{U}/v4/checkpresent//"),
        format!("/Git-Annex/{U}/v4/checkpresent"),
        format!("/git-annex/{U}/v4/CheckPresent"),
        format!("/git-annex/{U}/vx/checkpresent"),
        format!("/git-annex/{U}/V4/checkpresent"),
        format!("/git-annex/{U}/v04/checkpresent"),
        format!("/other/git-annex/{U}/v4/checkpresent"),
        "/git-annex//v4/checkpresent".to_owned(),
        "/git-annex/a%2Fb/v4/checkpresent".to_owned(),
    ];
    for path in paths {
        assert_eq!(status(&format!("POST {path}?{query}")), 404, "{path}");
    }
}

#[test]
fn slashes_and_a_base_path_are_tolerated() {
    let query = format!("key=WORM--k&clientuuid={C}");
    for path in ["git-annex", "///git-annex"] {
        for end in ["", "/"] {
            let request = format!("POST /{path}/{U}/v4/checkpresent{end}?{query}");
            assert_eq!(status(&request), 200, "{request}");
        }
    }
    for base in ["sub/dir", "/sub/dir", "/sub/dir/"] {
        let below = |path: &str| read_below(base, &format!("POST {path}?{query}"), None).is_ok();
        assert!(below(&format!("/sub/dir/git-annex/{U}/v4/checkpresent")));
        assert!(below(&format!("//sub/dir//git-annex/{U}/v4/checkpresent/")));
        assert!(!below(&format!("/git-annex/{U}/v4/checkpresent")));
        assert!(!below(&format!("/sub/dirgit-annex/{U}/v4/checkpresent")));
        assert!(!below("/sub/dir"));
    }
}

#[test]
fn wrong_methods_are_told_which_are_right() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"] {
        for endpoint in ENDPOINTS {
            let request = format!("{method} /git-annex/{U}/v4/{endpoint}");
            match (endpoint, method) {
                ("checkpresent", "GET" | "HEAD") => assert_eq!(status(&request), 400),
                ("checkpresent", _) => {
                    assert_eq!(read(&request), Err(Refusal::Method { allow: "POST, GET, HEAD" }));
                }
                _ => assert_eq!(read(&request), Err(Refusal::Method { allow: "POST" })),
            }
        }
    }
    for version in ["", "v0/", "v4/"] {
        let request = format!("POST /git-annex/{U}/{version}key/WORM--k");
        assert_eq!(read(&request), Err(Refusal::Method { allow: "GET, HEAD" }));
    }
}

#[test]
fn errors_come_in_their_order() {
    let at = |rest: &str| format!("POST /git-annex/%20/{rest}");
    let client = format!("clientuuid={C}");
    let cases = [
        (at("v9/nothing"), Refusal::NoRoute),
        (at("v9/put"), Refusal::NoVersion),
        (at("v2/gettimestamp"), Refusal::NotInVersion(Version::V2)),
        ("GET /git-annex/%20/v4/put".to_owned(), Refusal::Method { allow: "POST" }),
        (
            "GET /git-annex/%20/v4/key/k?clientuuid=".to_owned(),
            Refusal::PathKey(BadText::Key(BadKey::NoName)),
        ),
        (at("v4/put"), Refusal::Missing("key")),
        (at("v4/put?key=k"), Refusal::Parameter("key", BadText::Key(BadKey::NoName))),
        (at("v4/put?key"), Refusal::Missing("key")),
        (at("v4/put?key=[!]"), Refusal::Parameter("key", BadText::Spelling)),
        (at("v4/put?key=WORM--k&offset=x"), Refusal::Missing("clientuuid")),
        (at("v4/put?key=WORM--k&clientuuid"), Refusal::Missing("clientuuid")),
        (at("v4/put?key=WORM--k&clientuuid="), Refusal::Parameter("clientuuid", BadText::Empty)),
        (
            at(&format!("v4/put?key=WORM--k&{client}&offset=-1")),
            Refusal::Parameter("offset", BadText::Number),
        ),
        (
            at(&format!("v4/put?key=WORM--k&{client}&data-present=yes")),
            Refusal::Parameter("data-present", BadText::Truth),
        ),
        (
            at(&format!("v4/put?key=WORM--k&{client}&bypass=")),
            Refusal::Parameter("bypass", BadText::Empty),
        ),
        (at(&format!("v4/remove-before?key=WORM--k&{client}")), Refusal::Missing("timestamp")),
        (at("v4/keeplocked"), Refusal::Missing("lockid")),
    ];
    for (request, expected) in cases {
        assert_eq!(read_below("", &request, None), Err(expected), "{request}");
    }
    let put = at(&format!("v4/put?key=WORM--k&{client}"));
    assert_eq!(read_below("", &put, None), Err(Refusal::NoDataLength));
    for bad in ["", "abc", "-1", "0x2", "99999999999999999999"] {
        assert_eq!(read_below("", &put, Some(bad.as_bytes())), Err(Refusal::DataLength), "{bad}");
    }
    assert_eq!(read_below("", &put, Some(b"0")), Err(Refusal::NoRepository));
    let present = at(&format!("v4/put?key=WORM--k&{client}&data-present=true"));
    assert_eq!(read_below("", &present, None), Err(Refusal::NoDataLength));
}

#[test]
fn numbers_are_digits_only() {
    for bad in ["-1", "0x2", "(2)", "+2", "%202", "", "1e9", "1.5"] {
        let get = format!("GET /git-annex/{U}/v4/key/WORM--k?offset={bad}");
        assert_eq!(read(&get), Err(Refusal::Parameter("offset", BadText::Number)), "{bad}");
        let remove = format!(
            "POST /git-annex/{U}/v4/remove-before?key=WORM--k&clientuuid={C}&timestamp={bad}"
        );
        let expected = Err(Refusal::Parameter("timestamp", BadText::Number));
        assert_eq!(read(&remove), expected, "{bad}");
    }
    let deadline = |text: &str| {
        let request = format!(
            "POST /git-annex/{U}/v4/remove-before?key=WORM--k&clientuuid={C}&timestamp={text}"
        );
        match read(&request).unwrap().action {
            Action::RemoveBefore { deadline, .. } => deadline.seconds,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(deadline("007"), 7);
    assert_eq!(deadline("99999999999999999999"), u64::MAX);
}

#[test]
fn a_put_is_read_with_all_it_says() {
    let request = format!(
        "POST /git-annex/{U}/v4/put?key=WORM-s3-m1--a+b&clientuuid={C}&associatedfile=%FFx%2F+y\
         &offset=5&bypass=b1&bypass=b2&bypass=a%2Fb&data-present=FALSE&offset=6&other=1"
    );
    let call = read(&request).unwrap();
    assert_eq!(call.server.as_str(), U);
    assert_eq!(call.version, Some(Version::V4));
    assert_eq!(call.client, Uuid::parse(C.as_bytes()).ok());
    let bypass: Vec<_> = call.bypass.iter().map(Uuid::as_str).collect();
    assert_eq!(bypass, ["b1", "b2"]);
    let file = AssociatedFile(b"\xffx/ y"[..].into());
    let put = Action::Put { key: key(b"WORM-s3-m1--a b"), file, offset: 5, len: 3 };
    assert_eq!(call.action, put);
}

#[test]
fn data_present_begins_with_version_4() {
    for version in Version::ALL {
        for text in ["true", "TRUE", "True"] {
            let request = format!(
                "POST /git-annex/{U}/{}/put?key=WORM--k&clientuuid={C}&data-present={text}",
                version.name()
            );
            let present = matches!(read(&request).unwrap().action, Action::PutPresent { .. });
            assert_eq!(present, version == Version::V4, "{request}");
        }
    }
    let request =
        format!("POST /git-annex/{U}/v3/put?key=WORM--k&clientuuid={C}&data-present=nonsense");
    assert_eq!(status(&request), 200);
}

#[test]
fn the_path_is_split_before_it_is_decoded() {
    let get = |path: &str| match read(&format!("GET /git-annex/{U}/v4/key/{path}"))
        .map(|call| call.action)
    {
        Ok(Action::Get { key, .. }) => Ok(key.as_bytes().to_vec()),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal),
    };
    assert_eq!(get("WORM--a+b").unwrap(), b"WORM--a+b");
    assert_eq!(get("WORM--a%20b").unwrap(), b"WORM--a b");
    assert_eq!(get("WORM--a%2Fb").unwrap(), b"WORM--a/b");
    assert_eq!(get("WORM--a%2fb/").unwrap(), b"WORM--a/b");
    assert_eq!(get("WORM--%FF%FE").unwrap(), b"WORM--\xff\xfe");
    assert_eq!(get("WORM--%zz%4").unwrap(), b"WORM--%zz%4");
    assert_eq!(get("%5BV09STS1zMy1tMS0t__4=%5D").unwrap(), b"WORM-s3-m1--\xff\xfe");
    assert_eq!(get("[V09STS1zMy1tMS0t__4]").unwrap(), b"WORM-s3-m1--\xff\xfe");
    assert_eq!(get("[WORM--k").unwrap(), b"[WORM--k");
    assert_eq!(get("[!!!!]"), Err(Refusal::PathKey(BadText::Spelling)));
    assert!(get("foo").is_err());
}

#[test]
fn servers_and_clients_may_stand_in_brackets() {
    let request = "POST /git-annex/%5BYWI=%5D/v4/checkpresent?key=WORM--k&clientuuid=[Y2Q]";
    let call = read(request).unwrap();
    assert_eq!(call.server.as_str(), "ab");
    assert_eq!(call.client.unwrap().as_str(), "cd");
    for (text, expected) in [("a%2F+b", "a/_b"), ("..", ".._"), ("%C3%A9", "__")] {
        let request = format!("POST /git-annex/{U}/v4/checkpresent?key=WORM--k&clientuuid={text}");
        let client = read(&request).unwrap().client.unwrap();
        assert_eq!(client.as_str(), expected.replace('/', "_"), "{text}");
    }
}

#[test]
fn the_unversioned_route_takes_no_parameters() {
    let request = format!("GET /git-annex/{U}/key/WORM--k?clientuuid=&offset=x&bypass=");
    let call = read(&request).unwrap();
    assert_eq!((call.version, call.client, call.bypass), (None, None, Vec::new()));
    let file = AssociatedFile::default();
    assert_eq!(call.action, Action::Get { key: key(b"WORM--k"), file, offset: 0 });
}

#[test]
fn a_versioned_get_need_not_tell_the_client() {
    let call = read(&format!("GET /git-annex/{U}/v4/key/WORM--k?associatedfile=a")).unwrap();
    assert_eq!(call.client, None);
    assert!(!call.head_only);
    assert!(read(&format!("HEAD /git-annex/{U}/v4/key/WORM--k")).unwrap().head_only);
}

#[test]
fn refusals_are_one_line() {
    let refusals = [
        Refusal::NoRoute,
        Refusal::NoVersion,
        Refusal::NotInVersion(Version::V0),
        Refusal::Method { allow: "POST" },
        Refusal::NoRepository,
        Refusal::PathKey(BadText::Spelling),
        Refusal::Missing("key"),
        Refusal::Parameter("key", BadText::Key(BadKey::LongExtension)),
        Refusal::NoDataLength,
        Refusal::DataLength,
    ];
    for refusal in refusals {
        let text = refusal.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(
        path in prop::collection::vec(any::<u8>(), 0..80),
        query in prop::collection::vec(any::<u8>(), 0..80),
        len in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        endpoint in prop::sample::select(ENDPOINTS.to_vec()),
    ) {
        let mut routed = format!("/git-annex/{U}/v4/{endpoint}").into_bytes();
        for path in [&path, &routed.clone()] {
            let head = Head {
                method: "POST", path, query: &query, data_length: len.as_deref(),
            };
            if let Err(refusal) = Routes::default().read(head) {
                prop_assert!((400..500).contains(&refusal.status()));
            }
        }
        routed.truncate(30);
        routed.extend(path);
        let head = Head { method: "GET", path: &routed, query: &query, data_length: None };
        if let Ok(call) = Routes::default().read(head) {
            prop_assert!(!call.head_only);
        }
    }

    #[test]
    fn any_key_survives_the_journey(name in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut text = b"WORM-s3--".to_vec();
        text.extend(name);
        let escaped: String = text.iter().map(|byte| format!("%{byte:02X}")).collect();
        let in_path = read(&format!("GET /git-annex/{U}/v4/key/{escaped}")).unwrap();
        let in_query =
            read(&format!("POST /git-annex/{U}/v4/checkpresent?key={escaped}&clientuuid={C}"));
        match (in_path.action, in_query.unwrap().action) {
            (Action::Get { key: one, .. }, Action::CheckPresent { key: two }) => {
                prop_assert_eq!(one.as_bytes(), &text[..]);
                prop_assert_eq!(two.as_bytes(), &text[..]);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
