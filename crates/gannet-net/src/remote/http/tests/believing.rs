//! What a server says is believed as far as it makes sense, and no further.

use gannet_core::{Annex, Content, Error, PutOffset, Span, Verdict};
use gannet_testkit::Sample;

use super::script::{ABSENT, NOTHING, Script, json};
use super::{asker, file};
use crate::remote::http::HttpRemote;

/// A 404, or no bytes, may also mean something else than that the content is absent.
#[tokio::test]
async fn content_is_absent_only_if_the_server_says_so_when_asked() {
    for got in [format!("404 Not Found\r\n{NOTHING}"), with_length("0", "")] {
        for present in [true, false] {
            let got = got.clone();
            let server =
                Script::new(move |head| match (head.contains("/checkpresent?"), present) {
                    (true, true) => json("{\"present\":true}"),
                    (true, false) => ABSENT.to_owned(),
                    _ => got.clone(),
                })
                .await;
            let outcome = get(&server.remote(), 10).await;
            match outcome {
                Err(Error::Missing { .. }) => assert!(!present),
                Err(Error::Remote { .. } | Error::Doubtful) => assert!(present),
                Ok(content) => assert!(present && content.len == 0),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn as_many_bytes_come_as_were_announced_or_the_content_is_wrong() {
    for (length, body, right) in
        [("3", "abc", true), ("3", "ab", false), ("3", "abcd", false), ("0", "a", false)]
    {
        let server = Script::new(move |head| match head.contains("/checkpresent?") {
            true => json("{\"present\":true}"),
            false => with_length(length, body),
        })
        .await;
        let content = get(&server.remote(), 3).await.unwrap();
        let mut received = Vec::new();
        let end = content.pour(|bytes| {
            received.extend_from_slice(&bytes);
            Ok(())
        });
        match end.await {
            Ok(Verdict::Valid) => assert!(right && received == b"abc", "{length} {body}"),
            Err(Error::Doubtful) => assert!(received.len() < 3 && !right, "{length} {body}"),
            Err(Error::WrongLength) => assert!(body.len() > received.len() && !right),
            other => panic!("{other:?}"),
        }
    }
    for length in ["", "-1", "x", "3 3"] {
        let server = Script::new(move |_| with_length(length, "abc")).await;
        let error = get(&server.remote(), 3).await.unwrap_err();
        assert!(error.to_string().contains("x-git-annex-data-length"), "{error}");
    }
}

/// Servers close idle connections when they like, also when a request is on its way to them.
#[tokio::test]
async fn a_connection_that_closes_when_it_is_used_again_is_not_noticed_by_anybody() {
    let server =
        Script::new(|_| ABSENT.replacen("\r\n", "\r\nConnection: keep-alive\r\n", 1)).await;
    let (remote, key) = (server.remote(), Sample::secure(1, 1).key);
    for _ in 0..10 {
        assert!(!remote.check_present(&asker(), &key).await.unwrap());
    }
    assert!(server.heard().len() > 10, "none was used again");
}

/// Nothing is right of what is more than there is.
#[tokio::test]
async fn more_than_all_is_held_by_nobody() {
    let server = Script::new(|_| json("{\"offset\":11}")).await;
    let key = Sample::secure(1, 10).key;
    let offset = server.remote().put_offset(&asker(), &key, &file()).await.unwrap();
    assert_eq!(offset, PutOffset::From(0));
}

#[tokio::test]
async fn a_result_without_end_is_not_read_to_its_end() {
    let server = Script::new(|_| json(&"x".repeat(4 << 20))).await;
    let error = server.remote().check_present(&asker(), &Sample::secure(1, 1).key).await;
    assert!(error.unwrap_err().to_string().contains("too long"));
}

async fn get(remote: &HttpRemote, size: usize) -> Result<Content, Error> {
    remote.get(&asker(), &Sample::secure(1, size).key, &file(), Span::ALL).await
}

fn with_length(length: &str, body: &str) -> String {
    format!(
        "200 OK\r\nX-git-annex-data-length: {length}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
