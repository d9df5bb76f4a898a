//! One program of an external special remote, from its first line to its end.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gannet_core::place::{Levels, Scheme, hash_dirs};
use gannet_core::{Credentials, Error, Result};
use gannet_wire::external::{
    self, Heard, Nonsense, Note, Question, Reply, Request, Unspeakable, take_line,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::ExternalOptions;
use crate::remote::line::{Dial, Dialled};
use crate::remote::special::Guard;

/// A program that runs. Dropped, it is ended and waited for, and only then what its request needs
/// is let go.
pub(super) struct Running {
    /// `None` once it is ended.
    line: Option<Dialled>,
    unread: Vec<u8>,
    options: Arc<ExternalOptions>,
    /// What it changed in its settings, which nobody else hears of.
    config: BTreeMap<Vec<u8>, Vec<u8>>,
    busy_with: Option<Guard>,
}

/// Why a program is of no use any more.
pub(super) enum Trouble {
    /// It ended; perhaps having said something of the request.
    Gone { heard: bool },
    /// It said nothing for too long.
    Silent(Duration),
    /// It says that it cannot go on.
    Said(Vec<u8>),
    /// What it says makes no sense.
    Nonsense(Nonsense),
    /// What it would have to be told cannot be.
    Unspeakable(Unspeakable),
    /// Something that it asked for failed.
    Failed(Error),
}

impl Running {
    /// Starts a program, and lets it make ready.
    ///
    /// # Errors
    /// When it cannot be started, or cannot make ready.
    pub(super) async fn start(options: &Arc<ExternalOptions>) -> Result<Self> {
        let place = options.program.to_string();
        let line = options.program.dial().await;
        let line = line.map_err(|error| Error::Remote { place, why: error.to_string() })?;
        let mut running = Self {
            line: Some(line),
            unread: Vec::new(),
            options: Arc::clone(options),
            config: options.config.clone(),
            busy_with: None,
        };
        match running.make_ready().await {
            Ok(()) => Ok(running),
            Err(trouble) => Err(running.end(trouble).await),
        }
    }

    async fn make_ready(&mut self) -> Result<(), Trouble> {
        match self.ask(&Request::Begin, None).await? {
            Reply::Version(1 | 2) => {}
            Reply::Version(other) => {
                self.say(&external::error("unsupported VERSION")).await?;
                let why = format!("it speaks version {other} of the protocol");
                return Err(Trouble::Said(why.into_bytes()));
            }
            _ => return Err(Trouble::Said(b"it does not begin with its version".to_vec())),
        }
        self.ask(&Request::Extensions, None).await?;
        match self.ask(&Request::Prepare, None).await? {
            Reply::Success => Ok(()),
            Reply::Failure(why) => Err(Trouble::Said(why)),
            _ => Err(Trouble::Said(b"it does not make ready".to_vec())),
        }
    }

    /// Asks for something, and gives what the program wants for it, until it replies. `guard` is
    /// kept until then, or until the program has ended.
    ///
    /// # Errors
    /// When the program must be ended.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        guard: Option<Guard>,
    ) -> Result<Reply, Trouble> {
        let line = request.line().map_err(Trouble::Unspeakable)?;
        self.busy_with = guard;
        let patience = match request {
            Request::Store(..) | Request::Retrieve(..) => self.options.patience.transfer,
            _ => self.options.patience.answer,
        };
        let mut heard = false;
        match self.say(&line).await {
            Err(Trouble::Gone { .. }) => return Err(Trouble::Gone { heard }),
            said => said?,
        }
        loop {
            let line = timeout(patience, self.next_line(heard)).await;
            let line = line.map_err(|_| Trouble::Silent(patience))??;
            heard = true;
            match request.hear(&line).map_err(Trouble::Nonsense)? {
                Heard::Reply(reply) => {
                    self.busy_with = None;
                    return Ok(reply);
                }
                Heard::Question(question) => {
                    let answer = self.answer(question).await?;
                    self.say(&answer).await?;
                }
                Heard::Note(note) => self.note(note).await?,
                Heard::Progress(_) => {}
                Heard::Info(text) | Heard::Debug(text) => {
                    let text = String::from_utf8_lossy(&text);
                    tracing::debug!("{}: {text}", self.options.program);
                }
                Heard::Error(why) => return Err(Trouble::Said(why)),
            }
        }
    }

    /// Ends the program, waits for it, and says what was wrong, in its own words if it has any.
    pub(super) async fn end(mut self, trouble: Trouble) -> Error {
        let said = match self.line.take() {
            None => String::new(),
            Some(Dialled { input, output, farewell }) => {
                drop((input, output));
                farewell.last_words().await
            }
        };
        let place = self.options.program.to_string();
        let why = match trouble {
            Trouble::Failed(error) => return error,
            Trouble::Gone { .. } => "the program ended".to_owned(),
            Trouble::Silent(patience) => {
                format!("the program said nothing for {} seconds", patience.as_secs())
            }
            Trouble::Said(why) => String::from_utf8_lossy(&why).into_owned(),
            Trouble::Nonsense(why) => format!("the program said what makes no sense: {why}"),
            Trouble::Unspeakable(why) => format!("the program cannot be told: {why}"),
        };
        let why = if said.is_empty() { why } else { format!("{why} ({said})") };
        Error::Remote { place, why }
    }

    async fn say(&mut self, text: &[u8]) -> Result<(), Trouble> {
        let gone = Trouble::Gone { heard: true };
        let Some(line) = &mut self.line else { return Err(gone) };
        let saying = async {
            line.output.write_all(text).await?;
            line.output.flush().await
        };
        match timeout(self.options.patience.answer, saying).await {
            Ok(said) => said.map_err(|_| gone),
            Err(_) => Err(Trouble::Silent(self.options.patience.answer)),
        }
    }

    async fn next_line(&mut self, heard: bool) -> Result<Vec<u8>, Trouble> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(line) = take_line(&mut self.unread).map_err(Trouble::Nonsense)? {
                return Ok(line);
            }
            let gone = Trouble::Gone { heard };
            let Some(line) = &mut self.line else { return Err(gone) };
            match line.input.read(&mut buffer).await {
                Ok(len @ 1..) => self.unread.extend_from_slice(&buffer[..len]),
                _ => return Err(gone),
            }
        }
    }

    async fn answer(&self, question: Question) -> Result<Vec<u8>, Trouble> {
        let ExternalOptions { uuid, config_uuid, notes, name, git_dir, .. } = &*self.options;
        let dirs = |scheme, key| hash_dirs(scheme, Levels::Two, key) + "/";
        let value = match question {
            Question::Config(name) => self.config.get(&name).cloned().unwrap_or_default(),
            Question::Uuid => uuid.as_str().into(),
            Question::GitDir => git_dir.as_os_str().as_bytes().to_vec(),
            Question::RemoteName => name.clone(),
            Question::DirHash(key) => dirs(Scheme::Mixed, &key).into(),
            Question::DirHashLower(key) => dirs(Scheme::Lower, &key).into(),
            Question::State(key) => {
                notes.state(config_uuid, &key).await.map_err(Trouble::Failed)?
            }
            Question::Wanted => notes.wanted(uuid).await.map_err(Trouble::Failed)?,
            Question::Credentials(name) => {
                let kept = notes.credentials(uuid, Some(&name)).await;
                let found = kept.map_err(Trouble::Failed)?.or_else(|| self.embedded(&name));
                let (user, password) =
                    found.map(|found| (found.user, found.password)).unwrap_or_default();
                return external::credentials(&user, &password).map_err(Trouble::Unspeakable);
            }
            Question::Urls(key, prefix) => {
                let urls = notes.urls(&key).await.map_err(Trouble::Failed)?;
                let mut lines = Vec::new();
                let urls = urls.iter().map(|url| without_downloader(url));
                for url in urls.filter(|url| url.starts_with(&prefix)) {
                    lines.extend(external::value(url).map_err(Trouble::Unspeakable)?);
                }
                lines.extend(external::value(b"").map_err(Trouble::Unspeakable)?);
                return Ok(lines);
            }
        };
        external::value(&value).map_err(Trouble::Unspeakable)
    }

    /// What the settings have of credentials themselves (`embedcreds`).
    fn embedded(&self, name: &[u8]) -> Option<Credentials> {
        let encoded = self.config.get(name)?;
        Credentials::parse(&STANDARD.decode(encoded).ok()?)
    }

    async fn note(&mut self, note: Note) -> Result<(), Trouble> {
        let ExternalOptions { uuid, config_uuid, notes, .. } = &*self.options;
        let noted = match note {
            Note::Config(name, value) => {
                self.config.insert(name, value);
                Ok(())
            }
            Note::Credentials(name, user, password) => {
                let credentials = Credentials { user, password };
                notes.note_credentials(uuid, Some(&name), &credentials).await
            }
            Note::State(key, state) => notes.note_state(config_uuid, &key, &state).await,
            Note::Url { key, url, present } => notes.note_url(&key, &url, present).await,
            Note::Wanted(expression) => notes.note_wanted(uuid, &expression).await,
        };
        noted.map_err(Trouble::Failed)
    }
}

/// A url without what says who downloads it.
fn without_downloader(url: &[u8]) -> &[u8] {
    let prefixes: [&[u8]; 3] = [b":", b"yt:", b"quvi:"];
    prefixes.iter().find_map(|prefix| url.strip_prefix(*prefix)).unwrap_or(url)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Given up in the middle: it may go on with the request until it has ended.
        if let (Some(line), Some(guard)) = (self.line.take(), self.busy_with.take())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let Dialled { input, output, farewell } = line;
            drop((input, output));
            runtime.spawn(async move {
                farewell.last_words().await;
                drop(guard);
            });
        }
    }
}
