//! The same over HTTP/2, as clients choose it over TLS.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Scene, U, pass, post};

/// A body that is sent as it is told.
struct Told(mpsc::UnboundedReceiver<&'static [u8]>);

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| Some(Ok(Frame::data(Bytes::from_static(bytes?)))))
    }
}

async fn connect(scene: &Scene) -> (SendRequest<Told>, JoinHandle<()>) {
    let (here, there) = duplex(1 << 16);
    let (door, stop) = (scene.door.clone(), scene.stop.subscribe());
    let task = tokio::spawn(async move { door.serve(there, None, stop).await });
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(here)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    (sender, task)
}

fn request(request: &str, bodies: &[&'static [u8]]) -> Request<Told> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for body in bodies {
        sender.send(*body).unwrap();
    }
    let (method, target) = request.split_once(' ').unwrap();
    Request::builder()
        .method(method)
        .uri(format!("http://h{target}"))
        .header("x-git-annex-data-length", "10")
        .body(Told(receiver))
        .unwrap()
}

async fn read(response: Response<hyper::body::Incoming>) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    (status, bytes)
}

#[tokio::test(start_paused = true)]
async fn requests_share_a_connection() {
    let scene = Scene::new();
    let (mut client, task) = connect(&scene).await;
    let put = request(&post(4, "put", "WORM--k"), &[b"01234", b"56789"]);
    let (status, body) = read(client.send_request(put).await.unwrap()).await;
    assert_eq!((status, body), (200, b"{\"plusuuids\":[\"node\"],\"stored\":true}".to_vec()));
    // Idle connections are kept, whatever frames arrive meanwhile.
    pass(500).await;
    let lock = request(&post(4, "lockcontent", "WORM--k"), &[]);
    let (status, body) = read(client.send_request(lock).await.unwrap()).await;
    assert_eq!(status, 200);
    let body = String::from_utf8(body).unwrap();
    let id = body.split('"').nth(5).unwrap();
    let (say, told) = mpsc::unbounded_channel();
    let keep = request(&format!("POST /git-annex/{U}/v4/keeplocked?lockid={id}"), &[]);
    let keep = client.send_request(keep.map(|_| Told(told)));
    let keep = tokio::spawn(keep);
    for version in ["", "v4/"] {
        let get = request(&format!("GET /git-annex/{U}/{version}key/WORM--k"), &[]);
        let response = client.send_request(get).await.unwrap();
        assert_eq!(read(response).await, (200, b"0123456789".to_vec()));
    }
    for target in [format!("/git-annex/{U}/v4/key/WORM--k"), "/nowhere".to_owned()] {
        let head = request(&format!("HEAD {target}"), &[]);
        let response = client.send_request(head).await.unwrap();
        assert_eq!(read(response).await.1, b"");
    }
    pass(10_000).await;
    assert_eq!((scene.fake.held(), keep.is_finished()), (1, false));
    say.send(b"{\"unlock\":true}").unwrap();
    let (status, body) = read(keep.await.unwrap().unwrap()).await;
    assert_eq!((status, body), (200, b"{\"locked\":false}".to_vec()));
    assert_eq!(scene.fake.held(), 0);
    drop(say);
    drop(client);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_loses_its_stream_and_no_other() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", &vec![b'x'; 1 << 22]);
    let (mut client, _task) = connect(&scene).await;
    let get = || request(&format!("GET /git-annex/{U}/v4/key/WORM--k"), &[]);
    let stopped = client.send_request(get()).await.unwrap();
    pass(200).await;
    assert_eq!(scene.fake.moving(), 1);
    let (status, body) = read(client.send_request(get()).await.unwrap()).await;
    assert_eq!((status, body.len()), (200, 1 << 22));
    assert_eq!(scene.fake.moving(), 1);
    pass(101).await;
    assert_eq!(scene.fake.moving(), 0);
    let (_, body) = read(stopped).await;
    assert!(body.len() < 1 << 22);
    let (status, _) = read(client.send_request(get()).await.unwrap()).await;
    assert_eq!(status, 200);
}
