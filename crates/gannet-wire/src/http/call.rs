//! Requests: from method, path and query to what is asked for.

use std::borrow::Cow;

use gannet_core::{AssociatedFile, Key, Timestamp, Uuid};
use percent_encoding::percent_decode;

use super::query::Query;
use super::refusal::{BadText, Refusal};
use crate::spell;

/// What of a request's head tells what is asked for, as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, e.g. `POST`.
    pub method: &'a str,
    /// The path of the request target, still percent-encoded.
    pub path: &'a [u8],
    /// What follows the `?`, still percent-encoded; empty without a `?`.
    pub query: &'a [u8],
    /// The first header `X-git-annex-data-length`.
    pub data_length: Option<&'a [u8]>,
}

/// One request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The repository that is asked.
    pub server: Uuid,
    /// `None` on the unversioned route.
    pub version: Option<Version>,
    /// The repository that asks; `None` where it need not tell.
    ///
    /// Clients may send any text. What could not be a uuid is replaced by something that can.
    pub client: Option<Uuid>,
    /// Gateways that the request passed already. Values that are no uuid are left out.
    pub bypass: Vec<Uuid>,
    /// Whether only the head of the reply is wanted.
    pub head_only: bool,
    /// What is asked for.
    pub action: Action,
}

/// What is asked for (p2p-http §3, §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `key/K`: the content from `offset` on. On the unversioned route the offset is 0.
    Get {
        /// Content of this key.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
        /// First byte wanted.
        offset: u64,
    },
    /// `checkpresent`.
    CheckPresent {
        /// Is this key present?
        key: Key,
    },
    /// `lockcontent`.
    LockContent {
        /// The key whose content shall stay.
        key: Key,
    },
    /// `keeplocked`.
    KeepLocked {
        /// What the reply to a `lockcontent` named.
        lock_id: Vec<u8>,
    },
    /// `remove`.
    Remove {
        /// The key whose content shall go.
        key: Key,
    },
    /// `remove-before`.
    RemoveBefore {
        /// The key whose content shall go.
        key: Key,
        /// When permission ends, on the server's clock.
        deadline: Timestamp,
    },
    /// `gettimestamp`.
    GetTimestamp,
    /// `putoffset`.
    PutOffset {
        /// The key that shall be put.
        key: Key,
    },
    /// `put`: the body is the content from `offset` on.
    Put {
        /// The key that the content belongs to.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
        /// Where in the content the body begins.
        offset: u64,
        /// Announced length of the body in bytes.
        len: u64,
    },
    /// `put` with `data-present`: the content came another way, there is no body.
    PutPresent {
        /// The key whose content came.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
    },
}

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// No offset of puts.
    V0,
    /// Adds `putoffset`.
    V1,
    /// Adds `plusuuids` to replies.
    V2,
    /// Adds `remove-before` and `gettimestamp`.
    V3,
    /// Adds `data-present`.
    V4,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::V0, Self::V1, Self::V2, Self::V3, Self::V4];

    /// Reads `v0` to `v4`; upper case and leading zeros are not versions (p2p-http §1).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name().as_bytes() == text)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u64 {
        self as u64
    }

    /// As it is written in paths, e.g. `v4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V0 => "v0",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
        }
    }
}

/// Where the API is found.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Without slashes at its ends.
    base: Vec<u8>,
}

impl Routes {
    /// Routes below `base`, e.g. `/sub/dir`; empty or `/` for the top. A reverse proxy that does
    /// not strip its own prefix needs this (p2p-http §1).
    #[must_use]
    pub fn below(base: &str) -> Self {
        Self { base: base.trim_matches('/').as_bytes().to_vec() }
    }

    /// Reads one request.
    ///
    /// # Errors
    /// The first of: route, version, method, key in the path, parameters (key, client, then the
    /// others), data length, server uuid (p2p-http §1).
    pub fn read(&self, head: Head<'_>) -> Result<Call, Refusal> {
        let route = self.route(head.path).ok_or(Refusal::NoRoute)?;
        let version = match route.version {
            None => None,
            Some(text) => {
                let version = Version::parse(&text).ok_or(Refusal::NoVersion)?;
                if version < route.endpoint.since() {
                    return Err(Refusal::NotInVersion(version));
                }
                Some(version)
            }
        };
        let allow = route.endpoint.methods();
        if !allow.split(", ").any(|method| method == head.method) {
            return Err(Refusal::Method { allow });
        }
        let query = Query::new(head.query);
        let call = Unaddressed::read(route.endpoint, route.key, version, &query, head.data_length)?;
        let server = spell::read(&route.server).ok();
        let server = server.and_then(|server| Uuid::parse(&server).ok());
        Ok(Call {
            server: server.ok_or(Refusal::NoRepository)?,
            version,
            client: call.client,
            bypass: call.bypass,
            head_only: head.method == "HEAD",
            action: call.action,
        })
    }

    /// Splits the path before decoding it: an encoded slash separates nothing.
    fn route<'a>(&self, path: &'a [u8]) -> Option<Route<'a>> {
        let start = path.iter().position(|&byte| byte != b'/')?;
        let mut path = &path[start..];
        if !self.base.is_empty() {
            path = path.strip_prefix(self.base.as_slice())?.strip_prefix(b"/")?;
            let start = path.iter().position(|&byte| byte != b'/')?;
            path = &path[start..];
        }
        let path = path.strip_suffix(b"/").unwrap_or(path);
        // One more than the longest route has, so that nothing longer looks like one.
        let parts: Vec<_> = path.splitn(6, |&byte| byte == b'/').map(|part| decode(part)).collect();
        let mut parts = parts.into_iter();
        if parts.next()?.as_ref() != b"git-annex" {
            return None;
        }
        let server = parts.next()?;
        let rest: Vec<_> = parts.collect();
        match <[_; 2]>::try_from(rest) {
            Ok([word, key]) if word.as_ref() == b"key" => {
                Some(Route { server, version: None, endpoint: Endpoint::Key, key: Some(key) })
            }
            Ok([version, word]) => {
                let endpoint = Endpoint::named(&word).filter(|&found| found != Endpoint::Key)?;
                Some(Route { server, version: Some(version), endpoint, key: None })
            }
            Err(rest) => {
                let [version, word, key] = <[_; 3]>::try_from(rest).ok()?;
                (word.as_ref() == b"key").then_some(Route {
                    server,
                    version: Some(version),
                    endpoint: Endpoint::Key,
                    key: Some(key),
                })
            }
        }
    }
}

struct Route<'a> {
    server: Cow<'a, [u8]>,
    version: Option<Cow<'a, [u8]>>,
    endpoint: Endpoint,
    key: Option<Cow<'a, [u8]>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Key,
    CheckPresent,
    LockContent,
    KeepLocked,
    Remove,
    RemoveBefore,
    GetTimestamp,
    Put,
    PutOffset,
}

impl Endpoint {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"key" => Self::Key,
            b"checkpresent" => Self::CheckPresent,
            b"lockcontent" => Self::LockContent,
            b"keeplocked" => Self::KeepLocked,
            b"remove" => Self::Remove,
            b"remove-before" => Self::RemoveBefore,
            b"gettimestamp" => Self::GetTimestamp,
            b"put" => Self::Put,
            b"putoffset" => Self::PutOffset,
            _ => return None,
        })
    }

    /// The first version that has it (p2p-http §1).
    fn since(self) -> Version {
        match self {
            Self::Key
            | Self::CheckPresent
            | Self::LockContent
            | Self::KeepLocked
            | Self::Remove
            | Self::Put => Version::V0,
            Self::PutOffset => Version::V1,
            Self::RemoveBefore | Self::GetTimestamp => Version::V3,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Key => "GET, HEAD",
            Self::CheckPresent => "POST, GET, HEAD",
            Self::LockContent
            | Self::KeepLocked
            | Self::Remove
            | Self::RemoveBefore
            | Self::GetTimestamp
            | Self::Put
            | Self::PutOffset => "POST",
        }
    }
}

/// A call of which it is not yet known whom it asks: that is judged last.
struct Unaddressed {
    client: Option<Uuid>,
    bypass: Vec<Uuid>,
    action: Action,
}

impl Unaddressed {
    fn read(
        endpoint: Endpoint,
        path_key: Option<Cow<'_, [u8]>>,
        version: Option<Version>,
        query: &Query<'_>,
        data_length: Option<&[u8]>,
    ) -> Result<Self, Refusal> {
        let key = || {
            let text = query.first("key").ok_or(Refusal::Missing("key"))?;
            key(&text).map_err(|why| Refusal::Parameter("key", why))
        };
        let (client, action);
        match endpoint {
            Endpoint::Key => {
                let text = path_key.ok_or(Refusal::NoRoute)?;
                let key = self::key(&text).map_err(Refusal::PathKey)?;
                if version.is_none() {
                    let action = Action::Get { key, file: AssociatedFile::default(), offset: 0 };
                    return Ok(Self { client: None, bypass: Vec::new(), action });
                }
                client = query.client()?;
                let (file, offset) = (query.file()?, query.offset()?);
                action = Action::Get { key, file, offset };
            }
            Endpoint::KeepLocked => {
                let text = query.first("lockid").ok_or(Refusal::Missing("lockid"))?;
                let lock_id = spell::read(&text)
                    .map_err(|_| Refusal::Parameter("lockid", BadText::Spelling))?
                    .into_owned();
                let action = Action::KeepLocked { lock_id };
                return Ok(Self { client: None, bypass: Vec::new(), action });
            }
            Endpoint::CheckPresent => {
                let key = key()?;
                client = Some(query.required_client()?);
                action = Action::CheckPresent { key };
            }
            Endpoint::LockContent => {
                let key = key()?;
                client = Some(query.required_client()?);
                action = Action::LockContent { key };
            }
            Endpoint::Remove => {
                let key = key()?;
                client = Some(query.required_client()?);
                action = Action::Remove { key };
            }
            Endpoint::RemoveBefore => {
                let key = key()?;
                client = Some(query.required_client()?);
                let text = query.first("timestamp").ok_or(Refusal::Missing("timestamp"))?;
                // A deadline beyond what fits is one that never comes.
                let seconds = digits(&text)
                    .ok_or(Refusal::Parameter("timestamp", BadText::Number))?
                    .unwrap_or(u64::MAX);
                action = Action::RemoveBefore { key, deadline: Timestamp { seconds } };
            }
            Endpoint::GetTimestamp => {
                client = Some(query.required_client()?);
                action = Action::GetTimestamp;
            }
            Endpoint::PutOffset => {
                let key = key()?;
                client = Some(query.required_client()?);
                action = Action::PutOffset { key };
            }
            Endpoint::Put => {
                let key = key()?;
                client = Some(query.required_client()?);
                let (file, offset) = (query.file()?, query.offset()?);
                let present = version == Some(Version::V4) && query.data_present()?;
                let bypass = query.bypass()?;
                let len = digits(data_length.ok_or(Refusal::NoDataLength)?)
                    .flatten()
                    .ok_or(Refusal::DataLength)?;
                let action = match present {
                    true => Action::PutPresent { key, file },
                    false => Action::Put { key, file, offset, len },
                };
                return Ok(Self { client, bypass, action });
            }
        }
        Ok(Self { client, bypass: query.bypass()?, action })
    }
}

fn key(text: &[u8]) -> Result<Key, BadText> {
    Ok(Key::parse(&spell::read(text).map_err(|_| BadText::Spelling)?)?)
}

/// Undoes percent-encoding; `%` without two digits after it stands for itself.
fn decode(part: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(part).into()
}

/// Reads `[0-9]+`: the outer `None` is other text, the inner one a number that does not fit.
pub(super) fn digits(text: &[u8]) -> Option<Option<u64>> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.parse().ok())
}

#[cfg(test)]
mod tests;
