//! An HTTP/1.1 client that sends whatever it is told to, byte for byte, and reports exactly what
//! came back: how many bytes, framed how, and whether the framing was ended properly.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// A request as it will go over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method, e.g. `POST`.
    pub(crate) method: String,
    /// The path and query, sent as they are.
    pub(crate) target: Vec<u8>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub(crate) version: &'static str,
    /// Headers besides `Host` and the one that frames the body.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub(crate) body: Body,
}

/// How the body of a request is sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// No body and no header about one.
    None,
    /// With `Content-Length`.
    Length(Vec<u8>),
    /// With chunks at exactly these boundaries.
    Chunked(Vec<Piece>),
}

/// A part of a chunked body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// One chunk.
    Bytes(Vec<u8>),
    /// A pause before the next one.
    Pause(Duration),
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// All headers, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    /// How the body was framed.
    pub(crate) framing: Framing,
    /// The body, as much of it as came.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says, not by a lost connection.
    pub(crate) complete: bool,
}

/// How the body of a reply is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body (HEAD, 204, 304).
    None,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Content-Length`, with its value.
    Length(u64),
    /// Until the connection closes.
    UntilClose,
}

/// One connection.
pub(crate) struct Connection {
    stream: Stream,
    unread: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Request {
    /// A request without body or headers of its own.
    pub(crate) fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// A `GET`.
    pub(crate) fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` with an empty body of announced length 0, as the JSON requests of git-annex.
    pub(crate) fn post(target: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target).body(Body::Length(Vec::new()))
    }

    /// A `put` of `content` announced as `length` bytes, in one chunk.
    pub(crate) fn put(target: impl AsRef<[u8]>, length: u64, content: &[u8]) -> Self {
        // A chunk of no bytes would end the body, and what ends it be the begin of a request.
        let pieces = if content.is_empty() { vec![] } else { vec![Piece::Bytes(content.to_vec())] };
        Self::new("POST", target)
            .header("Content-Type", "application/octet-stream")
            .header("X-git-annex-data-length", length.to_string())
            .body(Body::Chunked(pieces))
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Replaces the body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Returns the bytes up to and with the empty line.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} ", self.method).into_bytes();
        head.extend_from_slice(&self.target);
        head.extend_from_slice(format!(" {}\r\nHost: gannet.test\r\n", self.version).as_bytes());
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        match &self.body {
            Body::None => {}
            Body::Length(bytes) => {
                head.extend(format!("Content-Length: {}\r\n", bytes.len()).bytes())
            }
            Body::Chunked(_) => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl Reply {
    /// Returns the first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the member `name` of the JSON body of a 200.
    #[track_caller]
    pub(crate) fn member(&self, name: &str) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json().get(name).cloned().unwrap_or_else(|| panic!("no `{name}`: {}", self.text()))
    }
}

impl Connection {
    /// Connects to an address.
    #[track_caller]
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self::try_tcp(address).expect("connect")
    }

    /// As [`tcp`](Self::tcp).
    ///
    /// # Errors
    /// When nobody listens there, or not any more.
    pub(crate) fn try_tcp(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Connects to an address from another one of this machine.
    ///
    /// # Errors
    /// When nobody listens there, or not any more.
    pub(crate) fn from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&address.into())?;
        Self::over(socket.into())
    }

    /// Connects to an address, and lets the system hold back hardly anything that was not read.
    #[track_caller]
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        // Made small later, after a large window was announced, the window would stay shut for up
        // to a minute at a time: Linux then only looks now and then whether it has opened.
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(NARROW).expect("make the buffer small");
        socket.connect(&address.into()).expect("connect");
        Self::over(socket.into()).expect("limit silence")
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self { stream: Stream::Tcp(stream), unread: Vec::new() })
    }

    /// Connects to a socket file.
    #[track_caller]
    pub(crate) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connect to the socket file");
        stream.set_read_timeout(Some(SILENCE)).expect("limit silence");
        stream.set_write_timeout(Some(SILENCE)).expect("limit silence");
        Self { stream: Stream::Unix(stream), unread: Vec::new() }
    }

    /// Changes how long silence of the server is borne (at first a minute).
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)),
        }
        .expect("limit silence");
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes a whole request, in this thread, without looking for an early reply.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        write_request(&mut self.stream, request)
    }

    /// Ends the sending side; replies can still be read.
    pub(crate) fn finish_sending(&self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("end the sending side");
    }

    /// Sends a request and reads the reply, which may come before the body was sent.
    #[track_caller]
    pub(crate) fn exchange(&mut self, request: &Request) -> Reply {
        self.try_exchange(request).unwrap_or_else(|error| {
            let target = String::from_utf8_lossy(&request.target);
            panic!("no reply to {} {target}: {error}", request.method)
        })
    }

    /// As [`exchange`](Self::exchange).
    ///
    /// # Errors
    /// When the connection ends, or is silent for too long, before a whole head came.
    pub(crate) fn try_exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut sending = self.stream.try_clone()?;
        thread::scope(|scope| {
            let sender = scope.spawn(move || write_request(&mut sending, request));
            let reply = self.reply_to(&request.method);
            let start = Instant::now();
            while !sender.is_finished() && start.elapsed() < AFTER_EARLY_REPLY {
                thread::sleep(Duration::from_millis(1));
            }
            if !sender.is_finished() {
                self.stream.close();
            }
            // A server that answers early may well close while we still send.
            drop(sender.join().expect("the sending thread"));
            reply
        })
    }

    /// Reads a reply to a request with `method`, skipping any `1xx`.
    ///
    /// # Errors
    /// When the connection ends, or is silent for too long, before a whole head came.
    pub(crate) fn reply_to(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.head_of_reply(method)?;
        let mut body = Vec::new();
        reply.complete = self.body_of_reply(&reply, |piece| body.extend_from_slice(piece));
        reply.body = body;
        Ok(reply)
    }

    /// Reads the head of a reply only; its body is still to be read.
    ///
    /// # Errors
    /// When the connection ends, or is silent for too long, before a whole head came.
    pub(crate) fn head_of_reply(&mut self, method: &str) -> io::Result<Reply> {
        loop {
            let status = self.line()?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').ok_or_else(|| bad(&line))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            let (version, rest) = status.split_once(' ').ok_or_else(|| bad(&status))?;
            let code = rest.split(' ').next().unwrap_or_default();
            if !version.starts_with("HTTP/1.") {
                return Err(bad(&status));
            }
            let code = code.parse().map_err(|_| bad(&status))?;
            if (100..200).contains(&code) {
                continue;
            }
            let framing = framing(method, code, &headers)?;
            return Ok(Reply { status: code, headers, framing, body: Vec::new(), complete: false });
        }
    }

    /// Reads the body of a reply whose head has been read, and tells whether it ended properly.
    pub(crate) fn body_of_reply(&mut self, head: &Reply, mut take: impl FnMut(&[u8])) -> bool {
        match head.framing {
            Framing::None => true,
            Framing::Length(length) => self.pass(length, &mut take),
            Framing::Chunked => self.pass_chunks(&mut take),
            Framing::UntilClose => loop {
                take(&std::mem::take(&mut self.unread));
                match self.fill() {
                    Ok(0) => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            },
        }
    }

    /// Reads some bytes as they are; none when the server has closed the connection.
    ///
    /// # Errors
    /// When the connection is reset or silent for too long.
    pub(crate) fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.unread))
    }

    fn pass_chunks(&mut self, take: &mut impl FnMut(&[u8])) -> bool {
        loop {
            let Ok(line) = self.line() else { return false };
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = u64::from_str_radix(size, 16) else { return false };
            if size == 0 {
                break;
            }
            if !self.pass(size, take) || self.line().ok().as_deref() != Some("") {
                return false;
            }
        }
        loop {
            match self.line() {
                Ok(trailer) if trailer.is_empty() => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    fn pass(&mut self, mut left: u64, take: &mut impl FnMut(&[u8])) -> bool {
        while left > 0 {
            if self.unread.is_empty() && !matches!(self.fill(), Ok(1..)) {
                return false;
            }
            let now = self.unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&self.unread[..now]);
            self.unread.drain(..now);
            left -= now as u64;
        }
        true
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("a bare line feed"))?;
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// Percent-encodes a value for a path segment or a query as the git-annex client does
/// (p2p-http §2).
pub(crate) fn escape(value: impl AsRef<[u8]>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |&byte: &u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.as_ref().iter().map(each).collect()
}

/// Builds `/git-annex/UUID/VERSION/ENDPOINT?NAME=VALUE&…`, values percent-encoded.
pub(crate) fn api(
    uuid: &str,
    version: &str,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> String {
    let query: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/git-annex/{uuid}/{version}/{endpoint}{mark}{}", query.join("&"))
}

fn write_request(stream: &mut Stream, request: &Request) -> io::Result<()> {
    let mut start = request.head();
    match &request.body {
        Body::None => stream.write_all(&start),
        Body::Length(bytes) => {
            start.extend_from_slice(bytes);
            stream.write_all(&start)
        }
        Body::Chunked(pieces) => {
            stream.write_all(&start)?;
            for piece in pieces {
                match piece {
                    Piece::Bytes(bytes) => stream.write_all(&chunk(bytes))?,
                    Piece::Pause(time) => thread::sleep(*time),
                }
            }
            stream.write_all(b"0\r\n\r\n")
        }
    }
}

/// Frames one chunk of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

fn framing(method: &str, status: u16, headers: &[(String, String)]) -> io::Result<Framing> {
    let header = |name: &str| {
        let found = headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Framing::None);
    }
    match (header("Transfer-Encoding"), header("Content-Length")) {
        (Some(encoding), None) if encoding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(length)) => Ok(Framing::Length(length.parse().map_err(|_| bad(length))?)),
        (None, None) => Ok(Framing::UntilClose),
        (encoding, length) => Err(bad(&format!("framed by {encoding:?} and {length:?}"))),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {what}"))
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    fn close(&self) {
        let closed = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
        drop(closed); // it may have been closed by the other side
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the system may hold for a reader that does not read, in bytes.
const NARROW: usize = 16 * 1024;
/// How long a server may say nothing at all.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the rest of a body is still sent after the reply to it has come.
const AFTER_EARLY_REPLY: Duration = Duration::from_secs(2);
