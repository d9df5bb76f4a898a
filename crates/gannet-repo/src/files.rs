//! Contents as files, for programs that can do nothing with a stream.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::durable::Temporary;
use crate::reading;
use crate::repo::Repo;

/// A file in a repository that a program may write what it likes to. Dropping this deletes it.
pub struct ScratchFile(Temporary);

impl Repo {
    /// The file that has the content of `key`, to be read and not to be touched. `None`: it is
    /// absent, or was modified. A removal may come at any time.
    ///
    /// # Errors
    /// When the disk does not answer, or the content is not given out here.
    pub async fn object_file(&self, key: &Key) -> Result<Option<PathBuf>> {
        self.prove(key).await?;
        let key = key.clone();
        self.with_site(move |inner, site| {
            let opened = reading::open(site, &key, &inner.vouched, Span::starting_at(0))?;
            let object = site.locate(&key)?;
            Ok(opened.map(|_| object.path().to_owned()))
        })
        .await
    }

    /// A new name for a file, which does not exist yet, on the disk of the repository.
    ///
    /// # Errors
    /// When the disk refuses, or the repository may not be changed.
    pub async fn scratch_file(&self) -> Result<ScratchFile> {
        let name = |site: &crate::site::Site| {
            site.check_writable()?;
            Temporary::name(site.settings()).map(ScratchFile)
        };
        self.with_site(move |_, site| name(site)).await
    }
}

impl ScratchFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What the file has, all of it. Nobody may write to it any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn content(&self) -> Result<Content> {
        let failed = |error| Error::disk("read", self.path(), error);
        let file = File::open(self.path()).await.map_err(failed)?;
        let len = file.metadata().await.map_err(failed)?.len();
        let reading = Some((file, self.path().to_owned()));
        let pieces = stream::unfold(reading, |reading| async {
            let (mut file, path) = reading?;
            let mut piece = BytesMut::with_capacity(READ_BYTES);
            match file.read_buf(&mut piece).await {
                Ok(0) => Some((Ok(Piece::End(Verdict::Valid)), None)),
                Ok(_) => Some((Ok(Piece::Bytes(Bytes::from(piece))), Some((file, path)))),
                Err(error) => Some((Err(Error::disk("read", path, error)), None)),
            }
        });
        Ok(Content { total: len, from: 0, len, pieces: pieces.boxed() })
    }
}

const READ_BYTES: usize = 1024 * 1024;
