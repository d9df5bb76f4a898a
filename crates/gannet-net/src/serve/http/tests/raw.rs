//! A client that sends what it is told and reads what comes.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(super) struct Client {
    pub(super) io: DuplexStream,
    unread: BytesMut,
}

#[derive(Debug)]
pub(super) struct Raw {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the body ended as its framing promises.
    pub(super) whole: bool,
}

impl Raw {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Client {
    pub(super) fn new(io: DuplexStream) -> Self {
        Self { io, unread: BytesMut::new() }
    }

    /// Sends `METHOD /target` and further header lines, without a body; returns status and body.
    pub(super) async fn ask(&mut self, request: &str) -> (u16, String) {
        let reply = self.call(request, &[], b"").await;
        (reply.status, reply.text())
    }

    /// Sends a request whose body is announced with `Content-Length` unless `headers` frame it.
    pub(super) async fn call(&mut self, request: &str, headers: &[&str], body: &[u8]) -> Raw {
        self.begin(request, headers, body).await;
        self.reply_to(request).await
    }

    pub(super) async fn begin(&mut self, request: &str, headers: &[&str], body: &[u8]) {
        let mut text = format!("{request} HTTP/1.1\r\nHost: h\r\n");
        for header in headers {
            text += header;
            text += "\r\n";
        }
        let framed = |header: &&str| {
            let header = header.to_ascii_lowercase();
            header.starts_with("content-length") || header.starts_with("transfer-encoding")
        };
        if !headers.iter().any(framed) {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        self.send(text.as_bytes()).await;
        self.send(body).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    pub(super) async fn chunk(&mut self, bytes: &[u8]) {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        self.send(bytes).await;
        self.send(b"\r\n").await;
    }

    pub(super) async fn reply(&mut self) -> Raw {
        self.reply_to("GET").await
    }

    /// Whether the server has closed the connection without another byte.
    pub(super) async fn closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more().await
    }

    /// The head of a reply; its body is still to come.
    pub(super) async fn head(&mut self) -> Raw {
        self.reply_to("HEAD").await
    }

    async fn reply_to(&mut self, request: &str) -> Raw {
        let head = self.until(b"\r\n\r\n").await.expect("a head");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut raw = Raw { status, headers, body: Vec::new(), whole: true };
        if request.starts_with("HEAD") || status == 304 || status == 100 {
            return raw;
        }
        if let Some(len) = raw.header("content-length") {
            let len = len.parse().unwrap();
            while self.unread.len() < len && self.more().await {}
            raw.whole = self.unread.len() >= len;
            raw.body = self.unread.split_to(len.min(self.unread.len())).to_vec();
            return raw;
        }
        assert_eq!(raw.header("transfer-encoding"), Some("chunked"), "{raw:?}");
        loop {
            let Some(size) = self.until(b"\r\n").await else {
                raw.whole = false;
                return raw;
            };
            let size = String::from_utf8(size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            while self.unread.len() < size + 2 && self.more().await {}
            if self.unread.len() < size + 2 {
                raw.whole = false;
                return raw;
            }
            let chunk = self.unread.split_to(size + 2);
            raw.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return raw;
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.unread.windows(end.len()).position(|window| window == end);
            if let Some(found) = found {
                return Some(self.unread.split_to(found + end.len()).to_vec());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        self.io.read_buf(&mut self.unread).await.is_ok_and(|len| len > 0)
    }
}
