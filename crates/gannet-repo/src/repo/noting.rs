//! A repository notes what is to be known of its special remotes.

use async_trait::async_trait;
use gannet_core::place::log_path;
use gannet_core::{Chunks, Credentials, Key, Notes, Result, Uuid};

use super::Repo;
use crate::credentials;
use crate::journal::{Claim, Log, Note, read_log_in};
use crate::logs::forms::Form;
use crate::logs::location::Status;
use crate::logs::{chunks, state, web, wishes};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Notes for Repo {
    async fn chunks(&self, remote: &Uuid, key: &Key) -> Result<Vec<Chunks>> {
        let log = self.log_of(key, chunks::SUFFIX).await?;
        Ok(chunks::parse(&log, remote))
    }

    async fn note_chunks(&self, remote: &Uuid, key: &Key, chunks: Chunks) -> Result<()> {
        self.note(Note {
            about: remote.clone(),
            log: Log::OfKey(key.clone(), chunks::SUFFIX),
            form: Form::ByName,
            name: chunks::name(remote, chunks.bytes),
            value: chunks.count.to_string().into_bytes(),
        })
        .await
    }

    async fn note_gone(&self, remote: &Uuid, key: &Key) -> Result<()> {
        self.inner.scribe.record_of(remote, key, Claim::Is(Status::Missing)).await
    }

    async fn state(&self, remote: &Uuid, key: &Key) -> Result<Vec<u8>> {
        let log = self.log_of(key, state::SUFFIX).await?;
        Ok(state::parse(&log, remote))
    }

    async fn note_state(&self, remote: &Uuid, key: &Key, state: &[u8]) -> Result<()> {
        self.note(Note {
            about: remote.clone(),
            log: Log::OfKey(key.clone(), state::SUFFIX),
            form: Form::ByName,
            name: remote.as_str().into(),
            value: state.to_vec(),
        })
        .await
    }

    async fn urls(&self, key: &Key) -> Result<Vec<Vec<u8>>> {
        let log = self.log_of(key, web::SUFFIX).await?;
        Ok(web::listed(&log).map(<[u8]>::to_vec).collect())
    }

    async fn note_url(&self, key: &Key, url: &[u8], present: bool) -> Result<()> {
        let known = self.urls(key).await?;
        if known.iter().any(|known| known == url) == present {
            return Ok(());
        }
        let web = Uuid::web();
        self.note(Note {
            about: web.clone(),
            log: Log::OfKey(key.clone(), web::SUFFIX),
            form: Form::Status,
            name: url.to_vec(),
            value: if present { b"1".to_vec() } else { b"0".to_vec() },
        })
        .await?;
        let is_other_url = |known: &Vec<u8>| known != url && web::is_url(known);
        let status = match present {
            _ if !web::is_url(url) => return Ok(()),
            true => Status::Present,
            false if known.iter().any(is_other_url) => return Ok(()),
            false => Status::Missing,
        };
        self.inner.scribe.record_of(&web, key, Claim::Is(status)).await
    }

    async fn wanted(&self, remote: &Uuid) -> Result<Vec<u8>> {
        let remote = remote.clone();
        self.read(move |_, settings, session| {
            let log = read_log_in(settings, session, wishes::PREFERRED)?;
            Ok(wishes::expression(&log, &remote))
        })
        .await
    }

    async fn note_wanted(&self, remote: &Uuid, expression: &[u8]) -> Result<()> {
        self.note(Note {
            about: remote.clone(),
            log: Log::At(wishes::PREFERRED),
            form: Form::ByUuid,
            name: remote.as_str().into(),
            value: expression.to_vec(),
        })
        .await
    }

    async fn credentials(&self, remote: &Uuid, name: Option<&[u8]>) -> Result<Option<Credentials>> {
        let (remote, name) = (remote.clone(), name.map(<[u8]>::to_vec));
        self.with_site(move |_, site| credentials::read(site.settings(), &remote, name.as_deref()))
            .await
    }

    async fn note_credentials(
        &self,
        remote: &Uuid,
        name: Option<&[u8]>,
        credentials: &Credentials,
    ) -> Result<()> {
        let (remote, name) = (remote.clone(), name.map(<[u8]>::to_vec));
        let credentials = credentials.clone();
        self.with_site(move |_, site| {
            site.check_writable()?;
            credentials::keep(site.settings(), &remote, name.as_deref(), &credentials)
        })
        .await
    }
}

impl Repo {
    async fn log_of(&self, key: &Key, suffix: &'static str) -> Result<Vec<u8>> {
        let key = key.clone();
        self.read(move |_, settings, session| {
            read_log_in(settings, session, &log_path(settings.branch_levels, &key, suffix))
        })
        .await
    }

    async fn note(&self, note: Note) -> Result<()> {
        self.inner.scribe.note(note).await
    }
}
