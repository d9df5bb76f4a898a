//! The lines of the external special remote protocol, as its host says and hears them (remotes
//! §10).
//!
//! Nothing here remembers anything: what a line means depends on what was asked for last.

use std::fmt;

use gannet_core::Key;

/// What a host asks of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing yet: a program begins by itself.
    Begin,
    /// Which extensions of the protocol it knows.
    Extensions,
    /// To make ready.
    Prepare,
    /// How much using it costs.
    GetCost,
    /// To store a file.
    Store(Key, Vec<u8>),
    /// To fetch an object into a file.
    Retrieve(Key, Vec<u8>),
    /// Whether an object is there.
    CheckPresent(Key),
    /// To remove an object.
    Remove(Key),
}

/// What a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What came of the request.
    Reply(Reply),
    /// The program wants to know something, and waits for an answer.
    Question(Question),
    /// It wants something to be remembered, and waits for nothing.
    Note(Note),
    /// So many bytes of a file have been moved.
    Progress(u64),
    /// Something for people.
    Info(Vec<u8>),
    /// Something for people who look for errors.
    Debug(Vec<u8>),
    /// It cannot go on.
    Error(Vec<u8>),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It began: the version of the protocol that it speaks.
    Version(u64),
    /// Done; of a question, yes.
    Success,
    /// Not done, and why; of a question, no.
    Failure(Vec<u8>),
    /// It cannot tell, and why.
    Unknown(Vec<u8>),
    /// A number.
    Cost(u64),
    /// It knows no such request.
    Unsupported,
}

/// What a program wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A setting of the remote.
    Config(Vec<u8>),
    /// The uuid of the remote.
    Uuid,
    /// Where the git directory is.
    GitDir,
    /// What git calls the remote.
    RemoteName,
    /// The hash directories of an object, as they once were.
    DirHash(Key),
    /// The hash directories of an object.
    DirHashLower(Key),
    /// What it asked to be kept to sign in somewhere.
    Credentials(Vec<u8>),
    /// What it asked to be remembered of a key.
    State(Key),
    /// Which urls with this beginning a key has.
    Urls(Key, Vec<u8>),
    /// What content the remote wants.
    Wanted,
}

/// What a program wants to be remembered.
#[derive(Clone, PartialEq, Eq)]
pub enum Note {
    /// A setting of the remote.
    Config(Vec<u8>, Vec<u8>),
    /// To sign in somewhere: what for, who, and what proves it.
    Credentials(Vec<u8>, Vec<u8>, Vec<u8>),
    /// Something about a key.
    State(Key, Vec<u8>),
    /// That a key is at a url, or is not; what is no url has a `:` in front.
    Url {
        /// Of this key.
        key: Key,
        /// The url.
        url: Vec<u8>,
        /// Whether it is there.
        present: bool,
    },
    /// What content the remote wants.
    Wanted(Vec<u8>),
}

/// A line that no host can make sense of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// It is too long.
    #[error("a line of more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no message, or one that does not fit what was asked for.
    #[error("an unfitting line: {0}")]
    Unfitting(String),
    /// It speaks of another key.
    #[error("an answer about another key")]
    OtherKey,
}

/// What cannot be said on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unspeakable {
    /// Keys end at the first space.
    #[error("the key has whitespace in it")]
    Key,
    /// Lines end at the first newline.
    #[error("there is a newline in it")]
    Newline,
}

impl Request {
    /// The line that asks for it, with its newline. Nothing for [`Request::Begin`].
    ///
    /// # Errors
    /// When the key or the file cannot be written on a line.
    pub fn line(&self) -> Result<Vec<u8>, Unspeakable> {
        let words: Vec<&[u8]> = match self {
            Self::Begin => return Ok(Vec::new()),
            Self::Extensions => vec![b"EXTENSIONS", EXTENSIONS],
            Self::Prepare => vec![b"PREPARE"],
            Self::GetCost => vec![b"GETCOST"],
            Self::Store(key, file) => vec![b"TRANSFER", b"STORE", speakable(key)?, file],
            Self::Retrieve(key, file) => vec![b"TRANSFER", b"RETRIEVE", speakable(key)?, file],
            Self::CheckPresent(key) => vec![b"CHECKPRESENT", speakable(key)?],
            Self::Remove(key) => vec![b"REMOVE", speakable(key)?],
        };
        said(&words)
    }

    /// Understands a line, without its newline, that a program says while this is asked for.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn hear(&self, line: &[u8]) -> Result<Heard, Nonsense> {
        let unfitting = || Nonsense::Unfitting(line.escape_ascii().to_string());
        let (word, rest) = split(line);
        if let Some(heard) = any_time(word, rest) {
            return heard.ok_or_else(unfitting);
        }
        let about = |key: &Key, rest: Option<&[u8]>| {
            let (named, rest) = split(rest.unwrap_or_default());
            (named == key.as_bytes())
                .then(|| rest.unwrap_or_default().to_vec())
                .ok_or(Nonsense::OtherKey)
        };
        let transferred = |key, direction: &[u8]| {
            let (named, rest) = split(rest.unwrap_or_default());
            if named != direction {
                return Err(unfitting());
            }
            about(key, rest)
        };
        let text = || rest.unwrap_or_default().to_vec();
        let reply = match (self, word) {
            (Self::Begin, b"VERSION") => Reply::Version(number(rest).ok_or_else(unfitting)?),
            // What it would use, of what was offered: it may be anything.
            (Self::Extensions, b"EXTENSIONS") => Reply::Success,
            (Self::Prepare, b"PREPARE-SUCCESS") => Reply::Success,
            (Self::Prepare, b"PREPARE-FAILURE") => Reply::Failure(text()),
            (Self::GetCost, b"COST") => Reply::Cost(number(rest).ok_or_else(unfitting)?),
            (Self::Extensions | Self::GetCost, b"UNSUPPORTED-REQUEST") => Reply::Unsupported,
            (Self::Store(key, _), b"TRANSFER-SUCCESS") => {
                transferred(key, b"STORE").map(|_| Reply::Success)?
            }
            (Self::Store(key, _), b"TRANSFER-FAILURE") => {
                Reply::Failure(transferred(key, b"STORE")?)
            }
            (Self::Retrieve(key, _), b"TRANSFER-SUCCESS") => {
                transferred(key, b"RETRIEVE").map(|_| Reply::Success)?
            }
            (Self::Retrieve(key, _), b"TRANSFER-FAILURE") => {
                Reply::Failure(transferred(key, b"RETRIEVE")?)
            }
            (Self::CheckPresent(key), b"CHECKPRESENT-SUCCESS")
            | (Self::Remove(key), b"REMOVE-SUCCESS") => about(key, rest).map(|_| Reply::Success)?,
            (Self::CheckPresent(key), b"CHECKPRESENT-FAILURE")
            | (Self::Remove(key), b"REMOVE-FAILURE") => Reply::Failure(about(key, rest)?),
            (Self::CheckPresent(key), b"CHECKPRESENT-UNKNOWN") => Reply::Unknown(about(key, rest)?),
            _ => return Err(unfitting()),
        };
        Ok(Heard::Reply(reply))
    }
}

/// The line that answers a question.
///
/// # Errors
/// When the answer has a newline in it.
pub fn value(value: &[u8]) -> Result<Vec<u8>, Unspeakable> {
    said(&[b"VALUE", value])
}

/// The line that answers the question for credentials; both empty if there are none.
///
/// # Errors
/// When they cannot be written on a line.
pub fn credentials(user: &[u8], password: &[u8]) -> Result<Vec<u8>, Unspeakable> {
    if user.contains(&b' ') {
        return Err(Unspeakable::Key);
    }
    said(&[b"CREDS", user, password])
}

/// The line that says why nothing can be done any more.
#[must_use]
pub fn error(why: &str) -> Vec<u8> {
    format!("ERROR {}\n", why.replace('\n', " ")).into_bytes()
}

/// Takes a whole line out of `unread`, without its newline. `None`: more is needed.
///
/// # Errors
/// When it is longer than any line should be.
pub fn take_line(unread: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Nonsense> {
    let end = unread.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n');
    let Some(end) = end else {
        return if unread.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Nonsense::TooLong) };
    };
    let rest = unread.split_off(end + 1);
    let mut line = std::mem::replace(unread, rest);
    line.truncate(end);
    Ok(Some(line))
}

/// What may be said during any request. `None`: something else; `Some(None)`: it is not whole.
fn any_time(word: &[u8], rest: Option<&[u8]>) -> Option<Option<Heard>> {
    let text = || rest.unwrap_or_default().to_vec();
    let key = || Key::parse(rest?).ok();
    let key_and_text = || {
        let (key, rest) = split(rest?);
        Some((Key::parse(key).ok()?, rest.unwrap_or_default().to_vec()))
    };
    let url = |prefix: &[u8], present| {
        let (key, url) = key_and_text()?;
        Some(Note::Url { key, url: [prefix, &url].concat(), present })
    };
    let question = |question: Option<Question>| Some(question.map(Heard::Question));
    let note = |note: Option<Note>| Some(note.map(Heard::Note));
    match word {
        b"PROGRESS" => Some(number(rest).map(Heard::Progress)),
        b"INFO" => Some(Some(Heard::Info(text()))),
        b"DEBUG" => Some(Some(Heard::Debug(text()))),
        b"ERROR" => Some(Some(Heard::Error(text()))),
        b"GETCONFIG" => question(Some(Question::Config(text()))),
        b"GETUUID" => question(Some(Question::Uuid)),
        b"GETGITDIR" => question(Some(Question::GitDir)),
        b"GETGITREMOTENAME" => question(Some(Question::RemoteName)),
        b"DIRHASH" => question(key().map(Question::DirHash)),
        b"DIRHASH-LOWER" => question(key().map(Question::DirHashLower)),
        b"GETCREDS" => question(Some(Question::Credentials(text()))),
        b"GETSTATE" => question(key().map(Question::State)),
        b"GETURLS" => question(key_and_text().map(|(key, prefix)| Question::Urls(key, prefix))),
        b"GETWANTED" => question(Some(Question::Wanted)),
        b"SETCONFIG" => {
            let (name, value) = split(rest.unwrap_or_default());
            note(Some(Note::Config(name.to_vec(), value.unwrap_or_default().to_vec())))
        }
        b"SETCREDS" => {
            let (name, rest) = split(rest.unwrap_or_default());
            let (user, password) = split(rest.unwrap_or_default());
            let password = password.unwrap_or_default().to_vec();
            note(Some(Note::Credentials(name.to_vec(), user.to_vec(), password)))
        }
        b"SETSTATE" => note(key_and_text().map(|(key, state)| Note::State(key, state))),
        b"SETURLPRESENT" => note(url(b"", true)),
        b"SETURLMISSING" => note(url(b"", false)),
        b"SETURIPRESENT" => note(url(b":", true)),
        b"SETURIMISSING" => note(url(b":", false)),
        b"SETWANTED" => note(Some(Note::Wanted(text()))),
        _ => None,
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config(..) => "Config",
            Self::Credentials(..) => "Credentials",
            Self::State(..) => "State",
            Self::Url { .. } => "Url",
            Self::Wanted(..) => "Wanted",
        })
    }
}

fn speakable(key: &Key) -> Result<&[u8], Unspeakable> {
    let text = key.as_bytes();
    let white = String::from_utf8_lossy(text).chars().any(char::is_whitespace);
    if white { Err(Unspeakable::Key) } else { Ok(text) }
}

fn said(words: &[&[u8]]) -> Result<Vec<u8>, Unspeakable> {
    let mut line = words.join(&b' ');
    if line.contains(&b'\n') {
        return Err(Unspeakable::Newline);
    }
    line.push(b'\n');
    Ok(line)
}

/// The first word, and what follows the space behind it, if there is one.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == b' ') {
        Some(space) => (&text[..space], Some(&text[space + 1..])),
        None => (text, None),
    }
}

fn number(text: Option<&[u8]>) -> Option<u64> {
    let text = std::str::from_utf8(text?).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// What this host knows beyond the basic protocol.
const EXTENSIONS: &[u8] = b"INFO GETGITREMOTENAME";
/// Longest line that is listened to.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::parse(b"SHA256-s10--84d8").unwrap()
    }

    #[test]
    fn requests_are_said_as_git_annex_says_them() {
        let said = |request: Request| String::from_utf8(request.line().unwrap()).unwrap();
        assert_eq!(said(Request::Begin), "");
        assert_eq!(said(Request::Extensions), "EXTENSIONS INFO GETGITREMOTENAME\n");
        assert_eq!(said(Request::Prepare), "PREPARE\n");
        assert_eq!(
            said(Request::Store(key(), b"/a dir/f".to_vec())),
            "TRANSFER STORE SHA256-s10--84d8 /a dir/f\n"
        );
        assert_eq!(said(Request::CheckPresent(key())), "CHECKPRESENT SHA256-s10--84d8\n");
        let spaced = Key::parse(b"WORM-s1-m1--a b").unwrap();
        assert_eq!(Request::Remove(spaced).line(), Err(Unspeakable::Key));
        assert_eq!(Request::Store(key(), b"/a\nb".to_vec()).line(), Err(Unspeakable::Newline));
        assert_eq!(value(b""), Ok(b"VALUE \n".to_vec()));
        assert_eq!(credentials(b"", b""), Ok(b"CREDS  \n".to_vec()));
    }

    #[test]
    fn replies_fit_their_requests() {
        let reply = |reply| Ok(Heard::Reply(reply));
        let [store, retrieve] = [Request::Store, Request::Retrieve].map(|it| it(key(), vec![]));
        let [check, remove] = [Request::CheckPresent, Request::Remove].map(|it| it(key()));
        let cases: [(&Request, &str, _); 17] = [
            (&Request::Begin, "VERSION 2", reply(Reply::Version(2))),
            (&Request::Extensions, "EXTENSIONS INFO", reply(Reply::Success)),
            (&Request::Extensions, "EXTENSIONS", reply(Reply::Success)),
            (&Request::Extensions, "UNSUPPORTED-REQUEST", reply(Reply::Unsupported)),
            (&Request::Prepare, "PREPARE-SUCCESS", reply(Reply::Success)),
            (
                &Request::Prepare,
                "PREPARE-FAILURE no luck",
                reply(Reply::Failure(b"no luck".into())),
            ),
            (&Request::GetCost, "COST 250", reply(Reply::Cost(250))),
            (&store, "TRANSFER-SUCCESS STORE SHA256-s10--84d8", reply(Reply::Success)),
            (
                &store,
                "TRANSFER-FAILURE STORE SHA256-s10--84d8 a b",
                reply(Reply::Failure(b"a b".into())),
            ),
            (&retrieve, "TRANSFER-SUCCESS RETRIEVE SHA256-s10--84d8", reply(Reply::Success)),
            (&check, "CHECKPRESENT-SUCCESS SHA256-s10--84d8", reply(Reply::Success)),
            (&check, "CHECKPRESENT-FAILURE SHA256-s10--84d8", reply(Reply::Failure(vec![]))),
            (
                &check,
                "CHECKPRESENT-UNKNOWN SHA256-s10--84d8 down",
                reply(Reply::Unknown(b"down".into())),
            ),
            (&remove, "REMOVE-SUCCESS SHA256-s10--84d8", reply(Reply::Success)),
            (&remove, "REMOVE-SUCCESS SHA256-s10--84d9", Err(Nonsense::OtherKey)),
            (&check, "CHECKPRESENT-SUCCESS", Err(Nonsense::OtherKey)),
            (&retrieve, "PROGRESS 7", Ok(Heard::Progress(7))),
        ];
        for (request, line, heard) in cases {
            assert_eq!(request.hear(line.as_bytes()), heard, "{line}");
        }
        for (request, line) in [
            (&check, "REMOVE-SUCCESS SHA256-s10--84d8"),
            (&store, "TRANSFER-SUCCESS RETRIEVE SHA256-s10--84d8"),
            (&check, "UNSUPPORTED-REQUEST"),
            (&check, "check-present"),
            (&check, ""),
            (&check, "PROGRESS many"),
            (&check, "DIRHASH no-key"),
            (&Request::Begin, "VERSION two"),
        ] {
            let heard = request.hear(line.as_bytes());
            assert_eq!(heard, Err(Nonsense::Unfitting(line.to_owned())), "{line}");
        }
    }

    #[test]
    fn a_program_may_ask_and_note_at_any_time() {
        let question = |question| Ok(Heard::Question(question));
        let note = |note| Ok(Heard::Note(note));
        let url = |url: &str, present| Note::Url { key: key(), url: url.into(), present };
        let cases: [(&str, _); 16] = [
            ("GETCONFIG a name", question(Question::Config(b"a name".into()))),
            ("GETUUID", question(Question::Uuid)),
            ("DIRHASH SHA256-s10--84d8", question(Question::DirHash(key()))),
            ("DIRHASH-LOWER SHA256-s10--84d8", question(Question::DirHashLower(key()))),
            ("GETURLS SHA256-s10--84d8", question(Question::Urls(key(), vec![]))),
            ("GETURLS SHA256-s10--84d8 ", question(Question::Urls(key(), vec![]))),
            ("GETURLS SHA256-s10--84d8 ht", question(Question::Urls(key(), b"ht".into()))),
            ("SETCONFIG a b  c", note(Note::Config(b"a".into(), b"b  c".into()))),
            ("SETCREDS n u p w", note(Note::Credentials(b"n".into(), b"u".into(), b"p w".into()))),
            ("SETSTATE SHA256-s10--84d8 a b", note(Note::State(key(), b"a b".into()))),
            ("SETSTATE SHA256-s10--84d8 ", note(Note::State(key(), vec![]))),
            ("SETURLPRESENT SHA256-s10--84d8 u", note(url("u", true))),
            ("SETURIMISSING SHA256-s10--84d8 u", note(url(":u", false))),
            ("DEBUG ", Ok(Heard::Debug(vec![]))),
            ("INFO  two", Ok(Heard::Info(b" two".into()))),
            ("ERROR all is lost", Ok(Heard::Error(b"all is lost".into()))),
        ];
        for (line, heard) in cases {
            assert_eq!(Request::Remove(key()).hear(line.as_bytes()), heard, "{line}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_found_however_they_come(
            lines in prop::collection::vec("[^\n]{0,20}", 0..8),
            cut in 1..9_usize,
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            let (mut unread, mut found) = (Vec::new(), Vec::new());
            for part in bytes.chunks(cut) {
                unread.extend_from_slice(part);
                while let Some(line) = take_line(&mut unread).unwrap() {
                    found.push(String::from_utf8(line).unwrap());
                }
            }
            prop_assert_eq!(found, lines);
            prop_assert!(unread.is_empty());
        }

        #[test]
        fn no_line_does_harm(line in prop::collection::vec(any::<u8>(), 0..60)) {
            for request in [Request::Begin, Request::Extensions, Request::Remove(key())] {
                drop(request.hear(&line));
            }
        }
    }

    #[test]
    fn a_line_has_its_bounds() {
        let mut unread = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(take_line(&mut unread), Err(Nonsense::TooLong));
    }
}
