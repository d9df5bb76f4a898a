//! Messages: how each is written on a line, and read (p2p-line §4, §5).

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, Timestamp, Uuid};

use super::decoder::LINE_BYTES_MAX;
use super::file;
use super::text::{Text, Token};
use super::words::{self, Words};
use crate::spell;

/// One message.
///
/// Lists are cut short where a line can hold no more, and an `ERROR` likewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `AUTH`: who the client says it is, and what proves that it may come in.
    Auth {
        /// The repository that asks. What could not be a uuid is replaced by something that can.
        client: Uuid,
        /// The secret.
        token: Token,
    },
    /// `AUTH-SUCCESS`, with the uuid of the server.
    AuthSuccess(Uuid),
    /// `AUTH-FAILURE`.
    AuthFailure,
    /// `VERSION`.
    Version(u64),
    /// `BYPASS`: gateways that shall not be asked again. Words that are no uuid are left out.
    Bypass(Vec<Uuid>),
    /// `CHECKPRESENT`.
    CheckPresent(Key),
    /// `LOCKCONTENT`.
    LockContent(Key),
    /// `UNLOCKCONTENT`. Written without a key, and read with one or without (§6.2).
    UnlockContent,
    /// `REMOVE`.
    Remove(Key),
    /// `REMOVE-BEFORE`.
    RemoveBefore {
        /// When permission ends, on the server's clock. One that does not fit never ends.
        deadline: Timestamp,
        /// The key whose content shall go.
        key: Key,
    },
    /// `GETTIMESTAMP`.
    GetTimestamp,
    /// `TIMESTAMP`.
    Timestamp(Timestamp),
    /// `PUT`.
    Put {
        /// Its name at the client.
        file: AssociatedFile,
        /// The key that shall be put.
        key: Key,
    },
    /// `PUT-FROM`: how many bytes the server holds already.
    PutFrom(u64),
    /// `ALREADY-HAVE`.
    AlreadyHave,
    /// `ALREADY-HAVE-PLUS`, with other repositories that have it too.
    AlreadyHavePlus(Vec<Uuid>),
    /// `DATA`: so many bytes follow.
    Data(u64),
    /// `DATA-PRESENT`.
    DataPresent,
    /// `VALID`.
    Valid,
    /// `INVALID`.
    Invalid,
    /// `GET`.
    Get {
        /// First byte wanted. One that does not fit is beyond the end of everything.
        from: u64,
        /// Its name at the client.
        file: AssociatedFile,
        /// Content of this key.
        key: Key,
    },
    /// `SUCCESS`.
    Success,
    /// `FAILURE`.
    Failure,
    /// `SUCCESS-PLUS`, with other repositories that it is true of.
    SuccessPlus(Vec<Uuid>),
    /// `FAILURE-PLUS`, with other repositories that it is not true of.
    FailurePlus(Vec<Uuid>),
    /// `CONNECT`.
    Connect(Service),
    /// `CONNECTDONE`, with the exit code of the service.
    ConnectDone(i32),
    /// `NOTIFYCHANGE`.
    NotifyChange,
    /// `CHANGED`, with object ids (§6.7).
    Changed(Vec<Bytes>),
    /// `ERROR`.
    Error(Text),
}

/// A service of git's that can be reached through a connection (p2p-line §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `git-upload-pack`: fetching.
    UploadPack,
    /// `git-receive-pack`: pushing.
    ReceivePack,
}

impl Service {
    /// The name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// Why a line is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unparsable {
    /// No message has this name.
    #[error("no message has this name")]
    Name,
    /// A parameter is missing, bad, or too much.
    #[error("a parameter of this message is missing, bad, or too much")]
    Parameter,
    /// A `DATA` without a length: nobody can tell where its bytes end, so nothing after it can be
    /// understood.
    #[error("`DATA` needs the number of bytes that follow")]
    DataLength,
}

/// Why a message cannot be written on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unspeakable {
    /// Its key contains a newline, or ends with a carriage return, which peers drop.
    #[error("the key cannot be written on a line: it contains a newline, or ends with a return")]
    Newline,
    /// The line would be longer than peers read.
    #[error("the key is too long for a line of {LINE_BYTES_MAX} bytes")]
    TooLong,
}

impl Message {
    /// Reads a message from a line, its end already taken off.
    ///
    /// # Errors
    /// When it is not a message.
    pub fn parse(line: &[u8]) -> Result<Self, Unparsable> {
        let mut words = Words(line);
        let name = words.next();
        let bare =
            |message| if words.0.is_empty() { Ok(message) } else { Err(Unparsable::Parameter) };
        Ok(match name {
            b"AUTH" => Self::Auth {
                client: spell::client_uuid(words.next()).map_err(|_| Unparsable::Parameter)?,
                token: Token::heard(words.0),
            },
            b"AUTH-SUCCESS" => {
                Self::AuthSuccess(Uuid::parse(words.0).map_err(|_| Unparsable::Parameter)?)
            }
            b"AUTH-FAILURE" => bare(Self::AuthFailure)?,
            b"VERSION" => Self::Version(saturating(words.0)?),
            b"BYPASS" => Self::Bypass(words.uuids()),
            b"CHECKPRESENT" => Self::CheckPresent(key(words)?),
            b"LOCKCONTENT" => Self::LockContent(key(words)?),
            b"UNLOCKCONTENT" if words.0.is_empty() => Self::UnlockContent,
            b"UNLOCKCONTENT" => key(words).map(|_| Self::UnlockContent)?,
            b"REMOVE" => Self::Remove(key(words)?),
            b"REMOVE-BEFORE" => Self::RemoveBefore {
                deadline: Timestamp { seconds: saturating(words.next())? },
                key: key(words)?,
            },
            b"GETTIMESTAMP" => bare(Self::GetTimestamp)?,
            b"TIMESTAMP" => Self::Timestamp(Timestamp { seconds: fitting(words.0)? }),
            b"PUT" => Self::Put { file: associated_file(words.next())?, key: key(words)? },
            b"PUT-FROM" => Self::PutFrom(fitting(words.0)?),
            b"ALREADY-HAVE" => bare(Self::AlreadyHave)?,
            b"ALREADY-HAVE-PLUS" => Self::AlreadyHavePlus(words.uuids()),
            b"DATA" => Self::Data(fitting(words.0).map_err(|_| Unparsable::DataLength)?),
            b"DATA-PRESENT" => bare(Self::DataPresent)?,
            b"VALID" => bare(Self::Valid)?,
            b"INVALID" => bare(Self::Invalid)?,
            b"GET" => Self::Get {
                from: saturating(words.next())?,
                file: associated_file(words.next())?,
                key: key(words)?,
            },
            b"SUCCESS" => bare(Self::Success)?,
            b"FAILURE" => bare(Self::Failure)?,
            b"SUCCESS-PLUS" => Self::SuccessPlus(words.uuids()),
            b"FAILURE-PLUS" => Self::FailurePlus(words.uuids()),
            b"CONNECT" => Self::Connect(service(words.0)?),
            b"CONNECTDONE" => Self::ConnectDone(exit_code(words.0)?),
            b"NOTIFYCHANGE" => bare(Self::NotifyChange)?,
            b"CHANGED" => Self::Changed(words.list().map(Bytes::copy_from_slice).collect()),
            b"ERROR" => Self::Error(Text::heard(words.0)),
            _ => return Err(Unparsable::Name),
        })
    }

    /// The name that begins the line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "AUTH",
            Self::AuthSuccess(_) => "AUTH-SUCCESS",
            Self::AuthFailure => "AUTH-FAILURE",
            Self::Version(_) => "VERSION",
            Self::Bypass(_) => "BYPASS",
            Self::CheckPresent(_) => "CHECKPRESENT",
            Self::LockContent(_) => "LOCKCONTENT",
            Self::UnlockContent => "UNLOCKCONTENT",
            Self::Remove(_) => "REMOVE",
            Self::RemoveBefore { .. } => "REMOVE-BEFORE",
            Self::GetTimestamp => "GETTIMESTAMP",
            Self::Timestamp(_) => "TIMESTAMP",
            Self::Put { .. } => "PUT",
            Self::PutFrom(_) => "PUT-FROM",
            Self::AlreadyHave => "ALREADY-HAVE",
            Self::AlreadyHavePlus(_) => "ALREADY-HAVE-PLUS",
            Self::Data(_) => "DATA",
            Self::DataPresent => "DATA-PRESENT",
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::Get { .. } => "GET",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::SuccessPlus(_) => "SUCCESS-PLUS",
            Self::FailurePlus(_) => "FAILURE-PLUS",
            Self::Connect(_) => "CONNECT",
            Self::ConnectDone(_) => "CONNECTDONE",
            Self::NotifyChange => "NOTIFYCHANGE",
            Self::Changed(_) => "CHANGED",
            Self::Error(_) => "ERROR",
        }
    }

    /// The message as a line, its end included.
    ///
    /// # Errors
    /// When its key does not fit on a line. Messages without a key always do.
    pub fn line(&self) -> Result<Bytes, Unspeakable> {
        let mut line = self.name().as_bytes().to_vec();
        match self {
            Self::Auth { client, token } => {
                append(&mut line, client.as_str().as_bytes());
                append(&mut line, token.as_bytes());
            }
            Self::AuthSuccess(uuid) => append(&mut line, uuid.as_str().as_bytes()),
            Self::CheckPresent(key) | Self::LockContent(key) | Self::Remove(key) => {
                append(&mut line, key.as_bytes());
            }
            Self::RemoveBefore { deadline, key } => {
                append(&mut line, deadline.seconds.to_string().as_bytes());
                append(&mut line, key.as_bytes());
            }
            Self::Timestamp(Timestamp { seconds: number })
            | Self::Version(number)
            | Self::PutFrom(number)
            | Self::Data(number) => append(&mut line, number.to_string().as_bytes()),
            Self::Put { file, key } => {
                line.push(b' ');
                file::encode(file, &mut line);
                append(&mut line, key.as_bytes());
            }
            Self::Get { from, file, key } => {
                append(&mut line, from.to_string().as_bytes());
                line.push(b' ');
                file::encode(file, &mut line);
                append(&mut line, key.as_bytes());
            }
            Self::Bypass(uuids)
            | Self::AlreadyHavePlus(uuids)
            | Self::SuccessPlus(uuids)
            | Self::FailurePlus(uuids) => {
                append_list(&mut line, uuids.iter().map(|uuid| uuid.as_str().as_bytes()));
            }
            Self::Changed(ids) => append_list(&mut line, ids.iter().map(Bytes::as_ref)),
            Self::Connect(service) => append(&mut line, service.name().as_bytes()),
            Self::ConnectDone(code) => append(&mut line, code.to_string().as_bytes()),
            Self::Error(text) => append_text(&mut line, text.as_bytes()),
            Self::AuthFailure
            | Self::UnlockContent
            | Self::GetTimestamp
            | Self::AlreadyHave
            | Self::DataPresent
            | Self::Valid
            | Self::Invalid
            | Self::Success
            | Self::Failure
            | Self::NotifyChange => {}
        }
        if line.contains(&b'\n') || line.ends_with(b"\r") {
            return Err(Unspeakable::Newline);
        }
        if line.len() >= LINE_BYTES_MAX {
            return Err(Unspeakable::TooLong);
        }
        line.push(b'\n');
        Ok(line.into())
    }
}

fn key(words: Words<'_>) -> Result<Key, Unparsable> {
    Key::parse(words.0).map_err(|_| Unparsable::Parameter)
}

fn associated_file(word: &[u8]) -> Result<AssociatedFile, Unparsable> {
    file::decode(word).ok_or(Unparsable::Parameter)
}

fn fitting(text: &[u8]) -> Result<u64, Unparsable> {
    words::number(text).flatten().ok_or(Unparsable::Parameter)
}

fn saturating(text: &[u8]) -> Result<u64, Unparsable> {
    Ok(words::number(text).ok_or(Unparsable::Parameter)?.unwrap_or(u64::MAX))
}

/// Unlike other numbers it may be negative: a service that was killed has such a code.
fn exit_code(text: &[u8]) -> Result<i32, Unparsable> {
    let text = std::str::from_utf8(text.trim_ascii()).map_err(|_| Unparsable::Parameter)?;
    match text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit()) {
        true => text.parse().map_err(|_| Unparsable::Parameter),
        false => Err(Unparsable::Parameter),
    }
}

fn service(name: &[u8]) -> Result<Service, Unparsable> {
    [Service::UploadPack, Service::ReceivePack]
        .into_iter()
        .find(|service| service.name().as_bytes() == name)
        .ok_or(Unparsable::Parameter)
}

fn append(line: &mut Vec<u8>, parameter: &[u8]) {
    line.push(b' ');
    line.extend_from_slice(parameter);
}

/// Appends as many words as fit. What is no word would be read as something else.
fn append_list<'a>(line: &mut Vec<u8>, list: impl Iterator<Item = &'a [u8]>) {
    for word in list {
        if word.is_empty() || word.iter().any(|&byte| words::is_space(byte)) {
            continue;
        }
        if line.len() + 1 + word.len() >= LINE_BYTES_MAX {
            break;
        }
        append(line, word);
    }
}

/// Appends as much text as fits, and nothing that would end the line.
fn append_text(line: &mut Vec<u8>, text: &[u8]) {
    let room = LINE_BYTES_MAX - line.len() - 2;
    let mut text = &text[..text.len().min(room)];
    text = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    while let [rest @ .., b'\r'] = text {
        text = rest;
    }
    if !text.is_empty() {
        append(line, text);
    }
}
