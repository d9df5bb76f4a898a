//! The unversioned GET, for everybody else.

use bytes::Bytes;
use gannet_core::{Error, Piece, Verdict};

use super::raw::Raw;
use super::{C, Scene, U};

const HASHED: &str =
    "SHA256E-s10--84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

struct Plain(Scene);

impl Plain {
    fn new() -> Self {
        let scene = Scene::new();
        scene.fake.have(HASHED, b"0123456789");
        scene.fake.have("WORM--k", b"0123456789");
        Self(scene)
    }

    async fn call(&self, method: &str, key: &str, headers: &[&str]) -> Raw {
        let mut client = self.0.connect();
        client.call(&format!("{method} /git-annex/{U}/key/{key}"), headers, b"").await
    }
}

#[tokio::test]
async fn whole_contents_have_a_length_and_a_tag() {
    let plain = Plain::new();
    for method in ["GET", "HEAD"] {
        let reply = plain.call(method, HASHED, &[]).await;
        assert_eq!((reply.status, reply.whole), (200, true));
        assert_eq!(reply.text(), if method == "GET" { "0123456789" } else { "" });
        assert_eq!(reply.header("content-length"), Some("10"), "{method}");
        assert_eq!(reply.header("x-git-annex-data-length"), Some("10"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert_eq!(reply.header("etag"), Some(format!("\"{HASHED}\"").as_str()));
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        let sizeless = plain.call(method, "WORM--k", &[]).await;
        assert_eq!((sizeless.status, sizeless.header("etag")), (200, None));
        assert_eq!(plain.call(method, "WORM--absent", &[]).await.status, 404);
    }
    let with_client = format!("WORM--k?clientuuid={C}&offset=5");
    assert_eq!(plain.call("GET", &with_client, &[]).await.text(), "0123456789");
}

#[tokio::test]
async fn one_range_is_a_part() {
    let plain = Plain::new();
    for key in [HASHED, "WORM--k"] {
        for (range, part, text) in [
            ("bytes=0-0", "bytes 0-0/10", "0"),
            ("bytes=3-5", "bytes 3-5/10", "345"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=0-99", "bytes 0-9/10", "0123456789"),
        ] {
            let reply = plain.call("GET", key, &[&format!("Range: {range}")]).await;
            assert_eq!((reply.status, reply.text().as_str()), (206, text), "{range}");
            assert_eq!(reply.header("content-range"), Some(part));
            assert_eq!(reply.header("content-length"), Some(text.len().to_string().as_str()));
        }
    }
    let head = plain.call("HEAD", HASHED, &["Range: bytes=3-5"]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(plain.call("GET", HASHED, &["Range: lines=1-2"]).await.status, 200);
}

#[tokio::test]
async fn several_ranges_are_parts_of_one_body() {
    let plain = Plain::new();
    let reply = plain.call("GET", HASHED, &["Range: bytes=0-1, 5-5,-3"]).await;
    assert_eq!((reply.status, reply.whole), (206, true));
    let kind = reply.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let head = |range: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {range}/10\r\n\r\n"
        )
    };
    let (one, two, three) = (head("0-1"), head("5-5"), head("7-9"));
    let expected = format!("{one}01{two}5{three}789\r\n--{boundary}--\r\n");
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("content-range"), None);
}

#[tokio::test]
async fn ranges_beyond_the_end_do_not_exist() {
    let plain = Plain::new();
    for range in ["bytes=10-", "bytes=-0", "bytes=10-20,30-"] {
        let reply = plain.call("GET", HASHED, &[&format!("Range: {range}")]).await;
        assert_eq!((reply.status, reply.whole), (416, true), "{range}");
        assert_eq!(reply.header("content-range"), Some("bytes */10"));
    }
}

#[tokio::test]
async fn tags_decide() {
    let plain = Plain::new();
    let tag = format!("\"{HASHED}\"");
    for method in ["GET", "HEAD"] {
        let known = format!("If-None-Match: \"x\", W/{tag}");
        let reply = plain.call(method, HASHED, &[&known, "Range: bytes=0-1"]).await;
        assert_eq!(reply.status, 304);
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
        assert_eq!(plain.call(method, HASHED, &["If-None-Match: \"x\""]).await.status, 200);
    }
    let range = "Range: bytes=0-1";
    let same = plain.call("GET", HASHED, &[&format!("If-Range: {tag}"), range]).await;
    assert_eq!((same.status, same.text().as_str()), (206, "01"));
    for other in ["If-Range: \"x\"", "If-Range: Tue, 24 Nov 2026 06:00:00 GMT"] {
        assert_eq!(plain.call("GET", HASHED, &[other, range]).await.status, 200, "{other}");
    }
}

#[tokio::test]
async fn doubtful_contents_break_the_connection() {
    let bytes = |text: &'static str| Ok(Piece::Bytes(Bytes::from_static(text.as_bytes())));
    let plain = Plain::new();
    let cases = [
        vec![bytes("0123456789"), Ok(Piece::End(Verdict::Doubtful))],
        vec![bytes("0123456789"), Err(Error::Interrupted)],
        vec![bytes("0123456789")],
        vec![bytes("0123"), Ok(Piece::End(Verdict::Valid))],
        vec![bytes("0123456789a"), Ok(Piece::End(Verdict::Valid))],
    ];
    for pieces in cases {
        let name = format!("{pieces:?}");
        plain.0.fake.send_instead(pieces);
        let reply = plain.call("GET", HASHED, &[]).await;
        assert_eq!((reply.status, reply.whole), (200, false), "{name}");
        assert!(reply.body.len() < 10, "{name}");
    }
}
