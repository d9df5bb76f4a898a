//! What a special remote keeps is read from a web server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::*;

#[test]
fn what_a_web_server_shows_is_read() {
    let scene = Scene::new();
    let files = [("whole", "shown"), ("chunked", "shown-in-chunks")];
    let servers = files.map(|(shown, name)| {
        let web = Web::serve(&scene.objects(shown));
        let (sameas, url) = (format!("--sameas={shown}"), format!("url={}", web.url()));
        scene.annex(&["initremote", "--quiet", name, &sameas, "type=httpalso", &url]);
        scene.config(&format!("remote.{name}.annex-proxy"), "true");
        web
    });
    scene.annex(&["updateproxy", "--quiet"]);
    let content = Seeded::new(3).bytes(100_000);
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.annex(&client, args);
    let key = scene.add(&client, "file", &content);
    scene.gateway.set_content(&scene.world, &key, &content);
    for (shown, _) in files {
        scene.annex(&["copy", "--quiet", "--to", shown, "--key", &key]);
    }
    scene.annex(&["drop", "--quiet", "--force", "--key", &key]);
    for (_, name) in files {
        let remote = format!("origin-{name}");
        annex(&["fsck", "--quiet", "--from", &remote, "file"]);
        annex(&["drop", "--quiet", "file"]);
        let tmp = client.join(".git/annex/tmp");
        fs::create_dir_all(&tmp).expect("make a directory");
        fs::write(tmp.join(&key), &content[..50_000]).expect("write the beginning");
        annex(&["get", "--quiet", "--from", &remote, "file"]);
        assert!(fs::read(client.join("file")).expect("what came") == content);
        // Nothing can be changed there.
        for refused in [["drop", "--from"], ["copy", "--to"]] {
            let other = if refused[0] == "drop" { "file" } else { "other" };
            fs::write(client.join("other"), name).expect("write a file");
            annex(&["add", "--quiet", "other"]);
            let refused =
                scene.world.try_annex(&client, &[&refused[..], &[&remote, other]].concat());
            assert!(!refused.success(), "{refused}");
        }
    }
    scene.expect_at(&key, &["whole", "chunked"]);
    drop(servers);
    let failed = scene.world.try_annex(&client, &["fsck", "--from", "origin-shown", "file"]);
    assert!(!failed.success(), "{failed}");
    assert!(server.log().contains("the remote shown"), "{}", server.log());
    scene.expect_at(&key, &["whole", "chunked"]);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

/// A web server that shows the files of a directory, until it is dropped.
struct Web {
    port: u16,
    ends: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Web {
    fn serve(dir: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let port = listener.local_addr().expect("ask for the port").port();
        let ends = Arc::new(AtomicBool::new(false));
        let (dir, ended) = (dir.to_owned(), Arc::clone(&ends));
        let serving = thread::spawn(move || {
            let mut answering = Vec::new();
            for line in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (line, dir) = (line.expect("a connection"), dir.clone());
                answering.push(thread::spawn(move || answer(line, &dir)));
            }
            for one in answering {
                one.join().expect("answer");
            }
        });
        Self { port, ends, serving: Some(serving) }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/files", self.port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(serving) = self.serving.take() {
            serving.join().ok();
        }
    }
}

/// One request for each connection, and no ranges.
fn answer(mut line: TcpStream, dir: &Path) {
    let mut head = Vec::new();
    for text in BufReader::new(&line).lines() {
        match text {
            Ok(text) if !text.is_empty() => head.push(text),
            _ => break,
        }
    }
    let Some((method, rest)) = head.first().and_then(|first| first.split_once(" /files/")) else {
        return;
    };
    let path = rest.split(' ').next().unwrap_or_default();
    let (status, body) = match fs::read(dir.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let len = body.len();
    let mut reply =
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n",)
            .into_bytes();
    if method == "GET" {
        reply.extend(body);
    }
    line.write_all(&reply).ok();
}
