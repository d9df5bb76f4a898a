//! The versioned GET: chunked, and shorter than announced when in doubt.

use bytes::Bytes;
use gannet_core::{Error, Piece, Verdict};

use super::{C, Scene, U};

fn get(version: usize, rest: &str) -> String {
    format!("GET /git-annex/{U}/v{version}/key/{rest}")
}

#[tokio::test]
async fn contents_are_sent_in_chunks_with_their_length() {
    let scene = Scene::new();
    let content: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    scene.fake.have("WORM--k", &content);
    scene.fake.have("WORM--empty", b"");
    let mut client = scene.connect();
    for version in 0..=4 {
        let request = get(version, &format!("WORM--k?clientuuid={C}&associatedfile=a%2Fb"));
        let reply = client.call(&request, &["Range: bytes=1-2", "Accept: x/y"], b"").await;
        assert_eq!((reply.status, reply.whole), (200, true));
        assert_eq!(reply.body, content);
        assert_eq!(reply.header("x-git-annex-data-length"), Some("300000"));
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.header("content-length"), None);
        assert_eq!(*scene.fake.last_file.lock().unwrap(), "a/b");

        let head = client.call(&request.replace("GET", "HEAD"), &[], b"").await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("x-git-annex-data-length"), Some("300000"));
        assert_eq!(head.header("content-length"), None);

        for (offset, expected) in [(299_990, 10), (300_000, 0), (400_000, 0)] {
            let request = get(version, &format!("WORM--k?offset={offset}"));
            let reply = client.call(&request, &[], b"").await;
            assert_eq!((reply.status, reply.body.len(), reply.whole), (200, expected, true));
            let announced = reply.header("x-git-annex-data-length").unwrap();
            assert_eq!(announced, expected.to_string());
        }
        let empty = client.call(&get(version, "WORM--empty"), &[], b"").await;
        assert_eq!((empty.status, empty.body.len(), empty.whole), (200, 0, true));
        let absent = client.call(&get(version, "WORM--absent"), &[], b"").await;
        assert_eq!((absent.status, absent.text().as_str()), (404, "the content is not present\n"));
    }
    assert_eq!(scene.fake.moving(), 0);
}

#[tokio::test]
async fn doubtful_contents_are_too_short_but_well_formed() {
    let bytes = |text: &'static str| Ok(Piece::Bytes(Bytes::from_static(text.as_bytes())));
    let end = |verdict| Ok(Piece::End(verdict));
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"0123456789");
    let mut client = scene.connect();
    for version in 0..=4 {
        let cases = [
            (vec![bytes("01234"), bytes("56789"), end(Verdict::Doubtful)], "012345678"),
            (vec![bytes("012345678"), bytes("9"), end(Verdict::Doubtful)], "012345678"),
            (vec![bytes("0123456789"), Err(Error::Interrupted)], "012345678"),
            (vec![bytes("0123456789")], "012345678"),
            (vec![bytes("0123"), Err(Error::Interrupted)], "0123"),
            (vec![bytes("0123"), end(Verdict::Valid)], "0123"),
            (vec![bytes("0123")], "0123"),
            (vec![], ""),
            (vec![bytes("01234567"), bytes("890"), end(Verdict::Valid)], "012345678"),
            (vec![bytes("0123456789"), bytes("0"), end(Verdict::Valid)], "012345678"),
            (vec![bytes("01234567890123"), end(Verdict::Valid)], "012345678"),
        ];
        for (pieces, expected) in cases {
            let name = format!("{pieces:?}");
            scene.fake.send_instead(pieces);
            let reply = client.call(&get(version, "WORM--k"), &[], b"").await;
            assert_eq!(reply.header("x-git-annex-data-length"), Some("10"));
            assert_eq!((reply.text().as_str(), reply.whole), (expected, true), "{name}");
        }
        let reply = client.call(&get(version, "WORM--k"), &[], b"").await;
        assert_eq!((reply.text().as_str(), reply.whole), ("0123456789", true));
    }
}

#[tokio::test]
async fn a_doubtful_empty_content_breaks_the_connection() {
    let scene = Scene::new();
    scene.fake.have("WORM--empty", b"");
    scene.fake.send_instead(vec![Ok(Piece::End(Verdict::Doubtful))]);
    let mut client = scene.connect();
    let reply = client.call(&get(4, "WORM--empty"), &[], b"").await;
    assert_eq!((reply.status, reply.whole), (200, false));
}
