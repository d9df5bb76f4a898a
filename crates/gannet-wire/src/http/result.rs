//! Results, as a client reads them (p2p-http §3, §4, §7.2).
//!
//! Members that are not known are ignored, and lists of other repositories may be missing in any
//! version. What a result must say it must say: nothing is guessed from silence.

use gannet_core::{PutOffset, Removal, Stored, Timestamp, Uuid};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::spell;

/// A result that is not what the API says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the result is not understood: {0}")]
pub struct BadResult(String);

/// Reads the result of `checkpresent`.
///
/// # Errors
/// When it does not tell.
pub fn present(body: &[u8]) -> Result<bool, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        present: bool,
    }
    read(body).map(|Object { present }| present)
}

/// Reads the result of `lockcontent`: the id of the lock, or `None` if it is not locked.
///
/// # Errors
/// When it does not tell, or tells of a lock without an id.
pub fn lock(body: &[u8]) -> Result<Option<Vec<u8>>, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        locked: bool,
        lockid: Option<String>,
    }
    let Object { locked, lockid } = read(body)?;
    match (locked, lockid) {
        (false, _) => Ok(None),
        (true, None) => Err(BadResult("locked, but without a lockid".into())),
        (true, Some(id)) => match spell::read(id.as_bytes()) {
            Ok(id) => Ok(Some(id.into_owned())),
            Err(bad) => Err(BadResult(bad.to_string())),
        },
    }
}

/// Reads the result of `remove` and `remove-before`.
///
/// # Errors
/// When it does not tell.
pub fn removal(body: &[u8]) -> Result<Removal, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        removed: bool,
        #[serde(default)]
        plusuuids: Vec<String>,
    }
    read(body).map(|Object { removed, plusuuids }| Removal { removed, plus: uuids(plusuuids) })
}

/// Reads the result of `put`; `None`: not stored.
///
/// # Errors
/// When it does not tell.
pub fn stored(body: &[u8]) -> Result<Option<Stored>, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        stored: bool,
        #[serde(default)]
        plusuuids: Vec<String>,
    }
    let Object { stored, plusuuids } = read(body)?;
    Ok(stored.then(|| Stored { plus: uuids(plusuuids) }))
}

/// Reads the result of `putoffset`.
///
/// # Errors
/// When it tells neither an offset nor that the content is there.
pub fn put_offset(body: &[u8]) -> Result<PutOffset, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        offset: Option<u64>,
        #[serde(default)]
        alreadyhave: bool,
        #[serde(default)]
        plusuuids: Vec<String>,
    }
    match read(body)? {
        Object { alreadyhave: true, plusuuids, .. } => {
            Ok(PutOffset::AlreadyHave { plus: uuids(plusuuids) })
        }
        Object { offset: Some(offset), .. } => Ok(PutOffset::From(offset)),
        Object { .. } => Err(BadResult("no offset".into())),
    }
}

/// Reads the result of `gettimestamp`.
///
/// # Errors
/// When it does not tell.
pub fn timestamp(body: &[u8]) -> Result<Timestamp, BadResult> {
    #[derive(Deserialize)]
    struct Object {
        timestamp: u64,
    }
    read(body).map(|Object { timestamp }| Timestamp { seconds: timestamp })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadResult> {
    serde_json::from_slice(body).map_err(|error| BadResult(error.to_string()))
}

/// What is no uuid names no repository.
fn uuids(texts: Vec<String>) -> Vec<Uuid> {
    let read = |text: String| Uuid::parse(&spell::read(text.as_bytes()).ok()?).ok();
    texts.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Reply, Version};
    use super::*;

    #[test]
    fn what_a_server_writes_is_read_back() {
        let plus = vec![Uuid::parse(b"a-1").unwrap(), Uuid::parse(b"[b]").unwrap()];
        for version in Version::ALL {
            let listed = if version >= Version::V2 { plus.clone() } else { Vec::new() };
            let json = |reply: Reply| reply.json(version).into_bytes();
            for truth in [true, false] {
                assert_eq!(present(&json(Reply::Present(truth))), Ok(truth));
                let reply = json(Reply::Removed(Removal { removed: truth, plus: plus.clone() }));
                let expected = Removal { removed: truth, plus: listed.clone() };
                assert_eq!(removal(&reply), Ok(expected));
                let reply = json(Reply::Stored { stored: truth, plus: plus.clone() });
                let expected = truth.then(|| Stored { plus: listed.clone() });
                assert_eq!(stored(&reply), Ok(expected));
            }
            assert_eq!(lock(&json(Reply::Locked("[x]".into()))), Ok(Some(b"[x]".to_vec())));
            assert_eq!(lock(&json(Reply::NotLocked)), Ok(None));
            let have = json(Reply::Offset(PutOffset::AlreadyHave { plus: plus.clone() }));
            assert_eq!(put_offset(&have), Ok(PutOffset::AlreadyHave { plus: listed }));
            let from = json(Reply::Offset(PutOffset::From(7)));
            assert_eq!(put_offset(&from), Ok(PutOffset::From(7)));
            let time = Timestamp { seconds: 12 };
            assert_eq!(timestamp(&json(Reply::Time(time))), Ok(time));
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for body in ["", "{}", "[]", "null", "{\"present\":\"yes\"}", "{\"locked\":true}", "<html>"]
        {
            let body = body.as_bytes();
            assert!(present(body).is_err());
            assert!(lock(body).is_err());
            assert!(removal(body).is_err());
            assert!(stored(body).is_err());
            assert!(put_offset(body).is_err());
            assert!(timestamp(body).is_err());
        }
        assert!(timestamp(b"{\"timestamp\":1.5}").is_err());
        assert!(put_offset(b"{\"alreadyhave\":false}").is_err());
        assert!(put_offset(b"{\"offset\":-1}").is_err());
    }

    #[test]
    fn lists_may_be_missing_and_members_may_be_added() {
        assert_eq!(removal(b"{\"removed\":true,\"x\":[1]}"), Ok(Removal::done()));
        assert_eq!(stored(b"{\"stored\":true}"), Ok(Some(Stored::default())));
        let bad = b"{\"stored\":true,\"plusuuids\":[\"a/b\",\"\",\"[!]\",\"ok\"]}";
        let plus = vec![Uuid::parse(b"ok").unwrap()];
        assert_eq!(stored(bad), Ok(Some(Stored { plus })));
    }
}
