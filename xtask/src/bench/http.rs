//! A small HTTP/1.1 client: one connection, kept alive, blocking.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::run::Result;

/// A connection to a server.
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes that came and were not looked at yet are in `buffer[at..end]`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

/// What to send with a POST.
pub(super) enum Body<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], at: 0, end: 0 })
    }

    /// Asks for `path` and counts the bytes of its content.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub(super) fn get(&mut self, path: &str) -> Result<u64> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut len = 0;
        self.reply(|bytes| len += bytes.len() as u64)?;
        Ok(len)
    }

    /// Sends a POST and returns the body of the answer.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub(super) fn post(&mut self, path: &str, body: &Body<'_>) -> Result<String> {
        let mut file = match body {
            Body::File(path) => Some(File::open(path)?),
            _ => None,
        };
        let len = match (body, &file) {
            (Body::Bytes(bytes), _) => bytes.len() as u64,
            (_, Some(file)) => file.metadata()?.len(),
            _ => 0,
        };
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
             X-git-annex-data-length: {len}\r\nContent-Length: {len}\r\n\r\n"
        )
        .into_bytes();
        if let Body::Bytes(bytes) = body {
            head.extend_from_slice(bytes);
        }
        self.stream.write_all(&head)?;
        if let Some(file) = &mut file {
            // The system moves these bytes itself (sendfile).
            io::copy(file, &mut self.stream)?;
        }
        let mut answer = Vec::new();
        self.reply(|bytes| answer.extend_from_slice(bytes))?;
        Ok(String::from_utf8(answer)?)
    }

    /// Reads a reply and hands over its content piece by piece.
    fn reply(&mut self, mut take: impl FnMut(&[u8])) -> Result {
        let head = self.head()?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(format!("the server answered: {head}").into());
        }
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        if field("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
            loop {
                let len = u64::from_str_radix(&self.line()?, 16)?;
                self.pass(len, &mut take)?;
                self.line()?;
                if len == 0 {
                    return Ok(());
                }
            }
        }
        let len = field("content-length").ok_or("a reply of unknown length")?.parse()?;
        self.pass(len, &mut take)
    }

    fn head(&mut self) -> Result<String> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(head);
            }
            head.push_str(&line);
            head.push('\n');
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let unread = &self.buffer[self.at..self.end];
            if let Some(len) = unread.iter().position(|&byte| byte == b'\n') {
                line.extend_from_slice(&unread[..len]);
                self.at += len + 1;
                break;
            }
            line.extend_from_slice(unread);
            self.at = self.end;
            self.fill()?;
        }
        let line = String::from_utf8(line)?;
        Ok(line.trim_end_matches('\r').to_owned())
    }

    fn pass(&mut self, len: u64, take: &mut impl FnMut(&[u8])) -> Result {
        let mut left = len;
        while left > 0 {
            if self.at == self.end {
                self.fill()?;
            }
            let unread = &self.buffer[self.at..self.end];
            let len = unread.len().min(usize::try_from(left)?);
            take(&unread[..len]);
            self.at += len;
            left -= len as u64;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result {
        self.at = 0;
        self.end = self.stream.read(&mut self.buffer)?;
        if self.end == 0 {
            return Err("the server closed the connection within a reply".into());
        }
        Ok(())
    }
}

const BUFFER_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// What a client makes of a reply that comes in pieces of `step` bytes.
    fn received(reply: &'static str, step: usize) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                let request = BufReader::new(stream.try_clone().unwrap()).lines();
                assert!(request.map_while(io::Result::ok).any(|line| line.is_empty()));
                for piece in reply.as_bytes().chunks(step) {
                    stream.write_all(piece).unwrap();
                }
            });
            Connection::open(address)?.post("/", &Body::Nothing)
        })
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        for step in [1, 2, 7, 1000] {
            assert_eq!(received(chunked, step).unwrap(), "abc0123456789");
            assert_eq!(received(plain, step).unwrap(), "abc");
        }
    }

    #[test]
    fn short_and_refused_replies_are_errors() {
        assert!(received("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 9).is_err());
        assert!(received("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 9).is_err());
    }
}
