//! Over real sockets: what arrives at a closed one destroys the reply on its way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Scene, post};

#[tokio::test]
async fn an_early_reply_survives_a_large_body() {
    let scene = Scene::new();
    scene.fake.have("WORM--k", b"content");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (door, stop) = (scene.door.clone(), scene.stop.subscribe());
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        door.serve(socket, None, stop).await;
    });
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{} HTTP/1.1\r\nHost: h\r\nX-git-annex-data-length: 31457280\r\n\
         Content-Length: 31457280\r\n\r\n",
        post(4, "put", "WORM--k")
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for sent in 0..30 {
        assert!(socket.write_all(&piece).await.is_ok(), "broke after {sent} MiB");
    }
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"stored\":true"), "{reply}");
    drop(socket);
    server.await.unwrap();
}
