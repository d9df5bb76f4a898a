//! A server that says what it is told to say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gannet_core::Uuid;
use gannet_wire::http::Login;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::remote::http::{
    AnnexUrl, HttpClient, HttpClientOptions, HttpRemote, Known, Patience, SignIn,
};

/// A server that answers each request by what a function makes of its head.
pub(super) struct Script {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Script {
    pub(super) async fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (noting, answer) = (Arc::clone(&heard), Arc::new(answer));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (noting, answer) = (Arc::clone(&noting), Arc::clone(&answer));
                tokio::spawn(async move { converse(socket, &noting, &*answer).await });
            }
        });
        Self { address, heard, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) fn remote(&self) -> HttpRemote {
        let login = Login { user: b"rw".to_vec(), password: b"pw".to_vec() };
        self.remote_of(Known(Some(login)))
    }

    pub(super) fn remote_of(&self, sign_in: impl SignIn) -> HttpRemote {
        let url: AnnexUrl = format!("annex+{}/", self.url()).parse().unwrap();
        let http = HttpClient::new(HttpClientOptions::default()).unwrap();
        let uuid = Uuid::parse(b"57e2a000-0000-4000-8000-000000000001").unwrap();
        HttpRemote::new(uuid, &url, &http, Arc::new(sign_in), Patience::default())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request for each connection; what follows the head is passed over. If the reply says that
/// there may be another request, that is heard, and no more.
async fn converse(
    mut socket: TcpStream,
    heard: &Mutex<Vec<String>>,
    answer: &(impl Fn(&str) -> String + ?Sized),
) {
    let Some(head) = hear(&mut socket, heard).await else { return };
    let answer = answer(&head);
    let is_kept = answer.contains("Connection: keep-alive");
    let close = if is_kept { "\r\n" } else { "\r\nConnection: close\r\n" };
    let reply = format!("HTTP/1.1 {}", answer.replacen("\r\n", close, 1));
    // The client may have gone; it may also still be sending.
    let said = socket.write_all(reply.as_bytes()).await.is_ok();
    if is_kept {
        hear(&mut socket, heard).await;
    } else if said && socket.shutdown().await.is_ok() {
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.ok();
    }
}

/// The head of the next request, if there is one.
async fn hear(socket: &mut TcpStream, heard: &Mutex<Vec<String>>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    heard.lock().unwrap().push(head.clone());
    Some(head)
}

pub(super) fn target_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

pub(super) fn login_of(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("authorization: "))
}

pub(super) fn json(text: &str) -> String {
    format!(
        "200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// The end of a reply that has no body.
pub(super) const NOTHING: &str = "Content-Length: 0\r\n\r\n";
/// A reply: the content is not there.
pub(super) const ABSENT: &str =
    "200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"present\":false}";
