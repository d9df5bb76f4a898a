//! Results: one JSON object each (p2p-http §2, §3, §4).

use gannet_core::{PutOffset, Removal, Timestamp, Uuid};

use super::call::Version;
use crate::spell;

/// What came of a call, as far as it is told in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `checkpresent`.
    Present(bool),
    /// To `lockcontent`: it is locked, under this id.
    Locked(String),
    /// To `lockcontent`: it is not; to `keeplocked`: it is no longer.
    NotLocked,
    /// To `remove` and `remove-before`.
    Removed(Removal),
    /// To `put`.
    Stored {
        /// Whether the content is here now.
        stored: bool,
        /// Other repositories that have it now.
        plus: Vec<Uuid>,
    },
    /// To `putoffset`.
    Offset(PutOffset),
    /// To `gettimestamp`.
    Time(Timestamp),
}

impl Reply {
    /// The reply as `version` writes it: from version 2 on those that have a list of other
    /// repositories must show it, and before they must not.
    #[must_use]
    pub fn json(&self, version: Version) -> String {
        match self {
            Self::Present(present) => format!("{{\"present\":{present}}}"),
            Self::Locked(id) => format!("{{\"locked\":true,\"lockid\":{}}}", text(id.as_bytes())),
            Self::NotLocked => "{\"locked\":false}".to_owned(),
            Self::Removed(Removal { removed, plus }) => {
                let plus = plus_first(version, plus);
                format!("{{{plus}\"removed\":{removed}}}")
            }
            Self::Stored { stored, plus } => {
                let plus = plus_first(version, plus);
                format!("{{{plus}\"stored\":{stored}}}")
            }
            Self::Offset(PutOffset::From(offset)) => format!("{{\"offset\":{offset}}}"),
            Self::Offset(PutOffset::AlreadyHave { plus }) => match version >= Version::V2 {
                true => format!("{{\"alreadyhave\":true,{}}}", plus_list(plus)),
                false => "{\"alreadyhave\":true}".to_owned(),
            },
            Self::Time(Timestamp { seconds }) => format!("{{\"timestamp\":{seconds}}}"),
        }
    }
}

fn plus_first(version: Version, plus: &[Uuid]) -> String {
    if version >= Version::V2 { plus_list(plus) + "," } else { String::new() }
}

fn plus_list(plus: &[Uuid]) -> String {
    let texts: Vec<_> = plus.iter().map(|uuid| text(uuid.as_str().as_bytes())).collect();
    format!("\"plusuuids\":[{}]", texts.join(","))
}

/// A spelled value as a JSON string.
fn text(value: &[u8]) -> String {
    serde_json::Value::from(spell::spell(value).into_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_other_repositories_begin_with_version_2() {
        let plus = vec![Uuid::parse(b"a-1").unwrap(), Uuid::parse(b"[b]").unwrap()];
        let removed = Reply::Removed(Removal { removed: false, plus: plus.clone() });
        let stored = Reply::Stored { stored: true, plus: plus.clone() };
        let have = Reply::Offset(PutOffset::AlreadyHave { plus });
        let list = r#""plusuuids":["a-1","[W2Jd]"]"#;
        for version in Version::ALL {
            if version < Version::V2 {
                assert_eq!(removed.json(version), r#"{"removed":false}"#);
                assert_eq!(stored.json(version), r#"{"stored":true}"#);
                assert_eq!(have.json(version), r#"{"alreadyhave":true}"#);
            } else {
                assert_eq!(removed.json(version), format!(r#"{{{list},"removed":false}}"#));
                assert_eq!(stored.json(version), format!(r#"{{{list},"stored":true}}"#));
                assert_eq!(have.json(version), format!(r#"{{"alreadyhave":true,{list}}}"#));
            }
        }
        let none = Reply::Stored { stored: true, plus: Vec::new() };
        assert_eq!(none.json(Version::V4), r#"{"plusuuids":[],"stored":true}"#);
    }

    #[test]
    fn the_other_replies_are_the_same_in_all_versions() {
        for version in Version::ALL {
            let json = |reply: Reply| reply.json(version);
            assert_eq!(json(Reply::Present(true)), r#"{"present":true}"#);
            assert_eq!(json(Reply::NotLocked), r#"{"locked":false}"#);
            let locked = json(Reply::Locked("x\"y".into()));
            assert_eq!(locked, r#"{"locked":true,"lockid":"x\"y"}"#);
            assert_eq!(json(Reply::Offset(PutOffset::From(7))), r#"{"offset":7}"#);
            let time = Reply::Time(Timestamp { seconds: 12 });
            assert_eq!(json(time), r#"{"timestamp":12}"#);
        }
    }
}
