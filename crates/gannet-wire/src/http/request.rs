//! Requests, as a client writes them (p2p-http §2, §7.1).

use gannet_core::Uuid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::call::{Action, Call, Version};
use crate::spell::spell;

/// What of a request's head tells what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Path and query, percent-encoded; the path begins with `/git-annex/`.
    pub target: String,
    /// The value of the header [`DATA_LENGTH`](super::DATA_LENGTH), if there must be one.
    pub data_length: Option<u64>,
}

impl Call {
    /// Writes the call so that [`Routes::read`](super::Routes::read) reads it back.
    ///
    /// Whether the version knows such an action is the caller's business.
    #[must_use]
    pub fn write(&self) -> Request {
        let mut target = String::from("/git-annex/");
        put_word(&mut target, self.server.as_str().as_bytes());
        if let Some(version) = self.version {
            target.push('/');
            target.push_str(version.name());
        }
        target.push('/');
        target.push_str(self.action.endpoint());
        let mut query = QueryWriter { target, begun: false };
        let mut data_length = None;
        match &self.action {
            Action::Get { key, file, offset } => {
                query.target.push('/');
                put_word(&mut query.target, key.as_bytes());
                query.optional("associatedfile", &file.0);
                if *offset > 0 {
                    query.pair("offset", offset.to_string().as_bytes());
                }
            }
            Action::CheckPresent { key }
            | Action::LockContent { key }
            | Action::Remove { key }
            | Action::PutOffset { key } => query.pair("key", key.as_bytes()),
            Action::KeepLocked { lock_id } => query.pair("lockid", lock_id),
            Action::RemoveBefore { key, deadline } => {
                query.pair("timestamp", deadline.seconds.to_string().as_bytes());
                query.pair("key", key.as_bytes());
            }
            Action::GetTimestamp => {}
            Action::Put { key, file, offset, len } => {
                query.pair("key", key.as_bytes());
                query.optional("associatedfile", &file.0);
                query.pair("offset", offset.to_string().as_bytes());
                data_length = Some(*len);
            }
            Action::PutPresent { key, file } => {
                query.pair("key", key.as_bytes());
                query.optional("associatedfile", &file.0);
                query.pair("data-present", b"true");
                data_length = Some(0);
            }
        }
        query.uuids("clientuuid", self.client.as_slice());
        query.uuids("bypass", &self.bypass);
        let method = match (&self.action, self.head_only) {
            (Action::Get { .. }, false) => "GET",
            (Action::Get { .. }, true) => "HEAD",
            _ => "POST",
        };
        Request { method, target: query.target, data_length }
    }
}

impl Action {
    /// The first version that has it (p2p-http §1).
    #[must_use]
    pub fn since(&self) -> Version {
        match self {
            Self::Get { .. }
            | Self::CheckPresent { .. }
            | Self::LockContent { .. }
            | Self::KeepLocked { .. }
            | Self::Remove { .. }
            | Self::Put { .. } => Version::V0,
            Self::PutOffset { .. } => Version::V1,
            Self::RemoveBefore { .. } | Self::GetTimestamp => Version::V3,
            Self::PutPresent { .. } => Version::V4,
        }
    }

    fn endpoint(&self) -> &'static str {
        match self {
            Self::Get { .. } => "key",
            Self::CheckPresent { .. } => "checkpresent",
            Self::LockContent { .. } => "lockcontent",
            Self::KeepLocked { .. } => "keeplocked",
            Self::Remove { .. } => "remove",
            Self::RemoveBefore { .. } => "remove-before",
            Self::GetTimestamp => "gettimestamp",
            Self::PutOffset { .. } => "putoffset",
            Self::Put { .. } | Self::PutPresent { .. } => "put",
        }
    }
}

struct QueryWriter {
    target: String,
    begun: bool,
}

impl QueryWriter {
    fn pair(&mut self, name: &str, value: &[u8]) {
        self.target.push(if self.begun { '&' } else { '?' });
        self.begun = true;
        self.target.push_str(name);
        self.target.push('=');
        put_word(&mut self.target, value);
    }

    fn optional(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.pair(name, value);
        }
    }

    fn uuids(&mut self, name: &str, uuids: &[Uuid]) {
        for uuid in uuids {
            self.pair(name, uuid.as_str().as_bytes());
        }
    }
}

fn put_word(target: &mut String, value: &[u8]) {
    target.extend(percent_encode(spell(value).as_bytes(), ESCAPED));
}

/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use gannet_core::{AssociatedFile, Key, Timestamp};
    use proptest::prelude::*;

    use super::super::{Head, Routes};
    use super::*;

    fn uuid(text: &str) -> Uuid {
        Uuid::parse(text.as_bytes()).unwrap()
    }

    fn call(action: Action) -> Call {
        Call {
            server: uuid("[u]"),
            version: Some(Version::V4),
            client: Some(uuid("c-1")),
            bypass: vec![uuid("g-1"), uuid("g-2")],
            head_only: false,
            action,
        }
    }

    fn read_back(call: &Call) -> Call {
        let request = call.write();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let length = request.data_length.map(|len| len.to_string());
        Routes::default()
            .read(Head {
                method: request.method,
                path: path.as_bytes(),
                query: query.as_bytes(),
                data_length: length.as_ref().map(|len| len.as_bytes()),
            })
            .unwrap()
    }

    #[test]
    fn requests_look_as_those_of_the_reference() {
        let key = Key::parse(b"WORM-s3--a b&c/d").unwrap();
        let mut put = call(Action::Put {
            key: key.clone(),
            file: AssociatedFile("x y.txt".into()),
            offset: 0,
            len: 3,
        });
        put.bypass.clear();
        let target = "/git-annex/%5BW3Vd%5D/v4/put?key=WORM-s3--a%20b%26c%2Fd\
                      &associatedfile=x%20y.txt&offset=0&clientuuid=c-1";
        let expected = Request { method: "POST", target: target.into(), data_length: Some(3) };
        assert_eq!(put.write(), expected);
        let file = AssociatedFile::default();
        let mut get = call(Action::Get { key, file, offset: 7 });
        (get.version, get.bypass) = (Some(Version::V0), Vec::new());
        let target = "/git-annex/%5BW3Vd%5D/v0/key/WORM-s3--a%20b%26c%2Fd?offset=7&clientuuid=c-1";
        assert_eq!(
            get.write(),
            Request { method: "GET", target: target.into(), data_length: None }
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            name in prop::collection::vec(any::<u8>().prop_filter("no line", |&b| b != b'\n'), 1..40),
            file in prop::collection::vec(any::<u8>(), 0..40),
            number in any::<u64>(),
            which in 0..8,
        ) {
            let Ok(key) = Key::parse(&[b"WORM--", &name[..]].concat()) else { return Ok(()) };
            let file = AssociatedFile(file.into());
            let action = match which {
                0 => Action::Get { key, file, offset: number },
                1 => Action::CheckPresent { key },
                2 => Action::LockContent { key },
                3 => Action::Remove { key },
                4 => Action::RemoveBefore { key, deadline: Timestamp { seconds: number } },
                5 => Action::GetTimestamp,
                6 => Action::Put { key, file, offset: number, len: number / 2 },
                _ => Action::PutPresent { key, file },
            };
            let call = call(action);
            prop_assert_eq!(read_back(&call), call);
        }
    }

    #[test]
    fn a_lock_is_kept_by_its_id_alone() {
        let mut call = call(Action::KeepLocked { lock_id: b"[\xff& id]".to_vec() });
        (call.client, call.bypass) = (None, Vec::new());
        assert_eq!(read_back(&call), call);
    }
}
