//! A server with one bucket, in memory, that can be told how to misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The server. It is gone when this is dropped.
pub(super) struct Bucket {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    serving: AbortHandle,
}

/// How a request is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Well,
    /// With this status, and an error of this code unless that is empty.
    Fails(u16, &'static str),
    /// A reply that begins well and holds an error.
    FailsLate(&'static str),
    /// Never a reply.
    Hangs,
    /// The connection is closed after so many bytes of the body.
    Cuts(usize),
    /// It is done, but the connection is closed.
    Mute,
    /// A few bytes at a time.
    Trickles,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    /// Lines with lower-case names.
    pub(super) headers: String,
    pub(super) body: Bytes,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Bytes>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<u64, Bytes>>>,
    asked: Mutex<Vec<Asked>>,
    moods: Mutex<VecDeque<(&'static str, Mood)>>,
    hook: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Bucket {
    pub(super) async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<State> = Arc::default();
        let serving = {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                while let Ok((line, _)) = listener.accept().await {
                    tokio::spawn(answer(BufReader::new(line), Arc::clone(&state)));
                }
            })
        };
        Self { address, state, serving: serving.abort_handle() }
    }

    /// The next requests are treated so, and those after them well.
    pub(super) fn be(&self, moods: impl IntoIterator<Item = Mood>) {
        self.be_at("", moods);
    }

    /// The next of the requests in whose method and target there is this text.
    pub(super) fn be_at(&self, part: &'static str, moods: impl IntoIterator<Item = Mood>) {
        let moods = moods.into_iter().map(|mood| (part, mood));
        *self.state.moods.lock().unwrap() = moods.collect();
    }

    /// Does that whenever something is asked for, before it is done.
    pub(super) fn when_asked(&self, hook: impl Fn() + Send + 'static) {
        *self.state.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// All that was asked for since this was called before.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }

    /// Names and sizes.
    pub(super) fn objects(&self) -> Vec<(String, usize)> {
        let objects = self.state.objects.lock().unwrap();
        objects.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect()
    }

    /// How many uploads have begun and not ended.
    pub(super) fn uploads(&self) -> usize {
        self.state.uploads.lock().unwrap().len()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut line: BufReader<TcpStream>, state: Arc<State>) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if line.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name));
    let mut body = vec![0; header("content-length: ").map_or(0, |len| len.parse().unwrap())];
    let what = format!("{method} {target}");
    let next = state.moods.lock().unwrap().pop_front_if(|(part, _)| what.contains(*part));
    let mood = next.map_or(Mood::Well, |(_, mood)| mood);
    if mood == Mood::Hangs {
        std::future::pending::<()>().await;
    }
    line.read_exact(&mut body).await.ok()?;
    let asked = Asked { method, target, headers: headers.to_owned(), body: body.into() };
    state.asked.lock().unwrap().push(asked.clone());
    if let Some(hook) = &*state.hook.lock().unwrap() {
        hook();
    }
    let reply = match mood {
        Mood::Fails(status, code) => Reply::error(status, code),
        Mood::FailsLate(code) => Reply { status: 200, ..Reply::error(500, code) },
        _ => do_it(&asked, &state, header("range: bytes=")),
    };
    if mood == Mood::Mute {
        return None;
    }
    let Reply { status, headers, body } = reply;
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status} Something\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    line.write_all(head.as_bytes()).await.ok()?;
    let sent = match mood {
        _ if asked.method == "HEAD" => &body[..0],
        Mood::Cuts(bytes) => &body[..bytes.min(len)],
        _ => &body[..],
    };
    if mood == Mood::Trickles {
        for piece in sent.chunks(sent.len().div_ceil(10)) {
            line.write_all(piece).await.ok()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    } else {
        line.write_all(sent).await.ok()?;
    }
    line.shutdown().await.ok()
}

struct Reply {
    status: u16,
    headers: String,
    body: Bytes,
}

impl Reply {
    fn ok(headers: String, body: impl Into<Bytes>) -> Self {
        Self { status: 200, headers, body: body.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>It is {code}.</Message>\
             <AWSAccessKeyId>me</AWSAccessKeyId></Error>"
        );
        let body = if code.is_empty() { Bytes::from("<html>nothing</html>") } else { text.into() };
        Self { status, headers: String::new(), body }
    }
}

fn do_it(asked: &Asked, state: &State, range: Option<&str>) -> Reply {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let parameter = |name: &str| {
        query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let (mut objects, mut uploads) = (state.objects.lock().unwrap(), state.uploads.lock().unwrap());
    let upload = parameter("uploadId");
    // Dates and metadata may be anything.
    let etag =
        || "ETag: \"made-up\"\r\nLast-Modified: never\r\nx-amz-meta-a: \u{fc}\r\n".to_owned();
    match (asked.method.as_str(), upload) {
        ("PUT", None) => {
            objects.insert(path.to_owned(), asked.body.clone());
            Reply::ok(etag(), "")
        }
        ("POST", None) if query.starts_with("uploads") => {
            let id = format!("{path}+{}", uploads.len());
            uploads.insert(id.clone(), BTreeMap::new());
            let body = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId>\
                 </InitiateMultipartUploadResult>"
            );
            Reply::ok(String::new(), body)
        }
        (_, Some(id)) => {
            let id = percent_encoding::percent_decode_str(&id).decode_utf8().unwrap().into_owned();
            let Some(parts) = uploads.get_mut(&id) else {
                return Reply::error(404, "NoSuchUpload");
            };
            match asked.method.as_str() {
                "PUT" => {
                    let number = parameter("partNumber").unwrap().parse().unwrap();
                    parts.insert(number, asked.body.clone());
                    Reply::ok(etag(), "")
                }
                "POST" => {
                    let text = String::from_utf8_lossy(&asked.body);
                    assert_eq!(text.matches("<PartNumber>").count(), parts.len());
                    let whole: Vec<u8> = parts.values().flatten().copied().collect();
                    objects.insert(path.to_owned(), whole.into());
                    uploads.remove(&id);
                    let body = "<CompleteMultipartUploadResult><ETag>\"made-up\"</ETag>\
                                </CompleteMultipartUploadResult>";
                    Reply::ok(String::new(), body)
                }
                _ => {
                    uploads.remove(&id);
                    Reply { status: 204, headers: String::new(), body: Bytes::new() }
                }
            }
        }
        ("DELETE", None) => {
            objects.remove(path);
            Reply { status: 204, headers: String::new(), body: Bytes::new() }
        }
        _ => match (objects.get(path), range) {
            (None, _) => Reply::error(404, "NoSuchKey"),
            (Some(bytes), None) => Reply::ok(etag(), bytes.clone()),
            (Some(bytes), Some(range)) => {
                let (from, last) = range.split_once('-').unwrap();
                let (from, last): (usize, usize) = (from.parse().unwrap(), last.parse().unwrap());
                if from >= bytes.len() {
                    return Reply::error(416, "InvalidRange");
                }
                let last = last.min(bytes.len() - 1);
                let more = format!("Content-Range: bytes {from}-{last}/{}\r\n", bytes.len());
                Reply { status: 206, headers: etag() + &more, body: bytes.slice(from..=last) }
            }
        },
    }
}
