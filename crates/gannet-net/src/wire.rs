//! Both directions of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

pub(crate) struct Wire<R, W> {
    input: R,
    output: W,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    pub(crate) fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Appends the next bytes that come; 0 at the end. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self, inbox: &mut BytesMut) -> io::Result<usize> {
        inbox.reserve(READ_BYTES);
        self.input.read_buf(&mut bytes::BufMut::limit(inbox, READ_BYTES)).await
    }

    /// Reads without waiting.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_read(cx, buffer)
    }

    /// Sends bytes, which may stay in a buffer.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes).await
    }

    /// Sends bytes, all of them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).await?;
        self.flush().await
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.output.flush().await
    }
}

/// As much as a pipe holds by itself, four times.
const READ_BYTES: usize = 256 * 1024;
