//! What somebody who logged in wants.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use gannet_core::{Key, Uuid};

use super::{NAME, Refusal, words};

/// What is wanted.
#[derive(Debug)]
pub(super) enum Order {
    /// Something of git-annex.
    Annex(Task),
    /// Something else: these words are for git-shell.
    Git(Vec<OsString>),
}

/// A command of git-annex, and what it is about.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) command: Verb,
    /// The directory as it was given.
    pub(super) dir: OsString,
    /// What stands behind it.
    pub(super) arguments: Vec<OsString>,
    /// The repository there must have this uuid.
    pub(super) uuid: Option<OsString>,
    pub(super) force: bool,
    pub(super) debug: bool,
    /// The field `autoinit=1` was given.
    pub(super) autoinit: bool,
}

/// The commands that are about the content of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    ConfigList,
    P2pStdio,
    NotifyChanges,
    InAnnex,
    LockContent,
    DropKey,
    RecvKey,
    SendKey,
    GcryptSetup,
}

impl Verb {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        COMMANDS.iter().find(|(_, command)| *command == self).map_or("this", |(name, _)| name)
    }

    fn named(word: &OsStr) -> Option<Self> {
        COMMANDS.iter().find(|(name, _)| word == *name).map(|(_, command)| *command)
    }
}

impl Order {
    /// Reads the arguments of the program, or the command line that is the only one of them.
    ///
    /// # Errors
    /// When they make no sense.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, Refusal> {
        let after = arguments.iter().skip_while(|word| *word == "-c").cloned().collect::<Vec<_>>();
        match &after[..] {
            [] => Err(bad_parameters()),
            [line] => match line.as_bytes().strip_prefix(NAME.as_bytes()) {
                Some([b' ', rest @ ..]) => Self::of_words(&words::split(OsStr::from_bytes(rest))),
                _ if Verb::named(line).is_some() => Err(bad_parameters()),
                _ => Ok(Self::Git(after)),
            },
            words => Self::of_words(words),
        }
    }

    fn of_words(words: &[OsString]) -> Result<Self, Refusal> {
        match words {
            [command, dir, rest @ ..] => match Verb::named(command) {
                Some(command) => Task::read(command, dir, rest).map(Self::Annex),
                None => Ok(Self::Git(words.to_vec())),
            },
            _ => Err(bad_parameters()),
        }
    }
}

impl Task {
    fn read(command: Verb, dir: &OsStr, words: &[OsString]) -> Result<Self, Refusal> {
        let mut task = Self {
            command,
            dir: dir.to_owned(),
            arguments: Vec::new(),
            uuid: None,
            force: false,
            debug: false,
            autoinit: false,
        };
        let parts: Vec<&[OsString]> = words.splitn(3, |word| word == "--").collect();
        match parts[..] {
            [options] => task.read_options(options)?,
            // What stands behind the fields is for rsync, whose options are nobody's business.
            [options, fields, _rsync] => {
                task.read_options(options)?;
                task.autoinit = fields.iter().any(|field| field == "autoinit=1");
            }
            _ => return Err(Refusal::new("fields must stand between two `--`")),
        }
        Ok(task)
    }

    fn read_options(&mut self, words: &[OsString]) -> Result<(), Refusal> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let invalid = || Refusal::new(format!("Invalid option `{}'", word.to_string_lossy()));
            match word.as_bytes() {
                b"--uuid" => self.uuid = Some(words.next().ok_or_else(invalid)?.clone()),
                b"--force" => self.force = true,
                b"--debug" | b"-d" => self.debug = true,
                b"--no-debug" => self.debug = false,
                b"--quiet" | b"-q" | b"--verbose" | b"-v" | b"--fast" | b"--auto" => {}
                option if option.starts_with(b"-") => {
                    let uuid = option.strip_prefix(b"--uuid=").ok_or_else(invalid)?;
                    self.uuid = Some(OsStr::from_bytes(uuid).to_owned());
                }
                _ => self.arguments.push(word.clone()),
            }
        }
        Ok(())
    }

    /// The uuid that is its only argument: that of the client.
    ///
    /// # Errors
    /// When there is none, or more.
    pub(super) fn client(&self) -> Result<Option<Uuid>, Refusal> {
        let [word] = &self.arguments[..] else {
            return Err(Refusal::new("missing UUID parameter"));
        };
        // It only labels transfers; any text may come.
        Ok(Uuid::parse(word.as_bytes()).ok())
    }

    /// # Errors
    /// When there are arguments.
    pub(super) fn expect_no_arguments(&self) -> Result<(), Refusal> {
        match self.arguments.is_empty() {
            true => Ok(()),
            false => Err(Refusal::new("This command takes no parameters.")),
        }
    }

    /// The keys that its arguments name.
    ///
    /// # Errors
    /// When one of them is none.
    pub(super) fn keys(&self) -> Result<Vec<Key>, Refusal> {
        let key = |word: &OsString| Key::parse(word.as_bytes()).ok();
        self.arguments.iter().map(|word| key(word).ok_or_else(|| Refusal::new("bad key"))).collect()
    }
}

fn bad_parameters() -> Refusal {
    Refusal::new(format!("bad parameters; usage: {NAME} [-c] COMMAND DIRECTORY [ARGUMENT]..."))
}

const COMMANDS: [(&str, Verb); 9] = [
    ("configlist", Verb::ConfigList),
    ("p2pstdio", Verb::P2pStdio),
    ("notifychanges", Verb::NotifyChanges),
    ("inannex", Verb::InAnnex),
    ("lockcontent", Verb::LockContent),
    ("dropkey", Verb::DropKey),
    ("recvkey", Verb::RecvKey),
    ("sendkey", Verb::SendKey),
    ("gcryptsetup", Verb::GcryptSetup),
];
