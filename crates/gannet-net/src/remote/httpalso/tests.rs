//! A web server in front of a directory.

use std::fs;
use std::path::{Path, PathBuf};

use gannet_core::Annex;
use gannet_testkit::{Sample, ScratchDir};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::*;
use crate::remote::directory::Directory;
use crate::remote::http::HttpClientOptions;
use crate::remote::special::tests::Setting;

#[tokio::test]
async fn what_lies_in_a_directory_is_read_over_http() {
    for (chunk, ranges) in [(None, true), (None, false), (Some(1000), true)] {
        let web = Web::serve(ranges).await;
        let samples = [1, 2].map(|seed| Sample::secure(seed, 4500));
        let absent = Sample::secure(3, 10);
        let directory = Setting::over(Directory::new(web.dir.path()), chunk);
        for sample in &samples {
            directory.put(sample).await.unwrap();
        }
        let setting = Setting::over(web.store(), chunk).readonly();
        for sample in samples {
            assert!(setting.present(&sample.key).await);
            assert_eq!(
                setting.read(&sample.key, Span::ALL).await,
                (sample.bytes.clone(), Verdict::Valid)
            );
            for (from, to) in [(0, 1), (999, 1001), (4400, 4500), (4500, 4500)] {
                let span = Span { from, to: Some(to) };
                let expected = sample
                    .bytes
                    .slice(usize::try_from(from).unwrap()..usize::try_from(to).unwrap());
                assert_eq!(setting.read(&sample.key, span).await, (expected, Verdict::Valid));
            }
            let refused = setting.remove(&sample.key).await.unwrap_err();
            assert_eq!(refused.to_string(), "this remote is readonly");
        }
        assert!(!setting.present(&absent.key).await);
        let got = setting.get(&absent.key, Span::ALL).await;
        assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
        assert!(setting.put(&absent).await.is_err());
    }
}

#[tokio::test]
async fn every_layout_is_known() {
    let sample = Sample::secure(1, 4500);
    let mut tried = 0;
    for layout in layouts(&sample.key) {
        for path in layout {
            let web = Web::serve(true).await;
            let path = web.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &sample.bytes).unwrap();
            let setting = Setting::over(web.store(), None).readonly();
            let read = setting.read(&sample.key, Span::ALL).await;
            assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
            tried += 1;
        }
    }
    assert_eq!(tried, 7);
}

#[tokio::test]
async fn a_server_that_fails_is_not_empty() {
    let web = Web::serve(true).await;
    let setting = Setting::over(web.store(), None).readonly();
    let sample = Sample::secure(1, 4500);
    fs::write(web.dir.path().join("broken"), "").unwrap();
    let (annex, asker) = (setting.annex(), setting.asker());
    assert!(annex.check_present(&asker, &sample.key).await.is_err());
    drop(web);
    assert!(annex.check_present(&asker, &sample.key).await.is_err());
}

/// A web server that serves the files of a directory, until it is dropped.
struct Web {
    dir: ScratchDir,
    url: String,
    serving: AbortHandle,
}

impl Web {
    async fn serve(ranges: bool) -> Self {
        let dir = ScratchDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let root = dir.path().to_owned();
        let serving = tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                tokio::spawn(answer(line, root.clone(), ranges));
            }
        });
        Self { dir, url, serving: serving.abort_handle() }
    }

    fn store(&self) -> HttpAlso {
        HttpAlso::new(HttpClient::new(HttpClientOptions::default()).unwrap(), &self.url)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(line: TcpStream, root: PathBuf, ranges: bool) -> Option<()> {
    let mut line = BufReader::new(line);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if line.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let path = percent_encoding::percent_decode_str(path.trim_start_matches('/'));
    let found = fs::read(root.join(Path::new(&*path.decode_utf8().ok()?)));
    let (status, more, body) = match found {
        _ if root.join("broken").exists() => ("500 Broken", String::new(), Vec::new()),
        Err(_) => ("404 Not Found", String::new(), Vec::new()),
        Ok(bytes) => match range.filter(|_| ranges) {
            None => ("200 OK", String::new(), bytes),
            Some(range) => {
                let (from, last) = range.split_once('-')?;
                let part = from.parse().ok()?..=last.parse::<usize>().ok()?;
                let more = format!("Content-Range: bytes {range}/{}\r\n", bytes.len());
                ("206 Partial Content", more, bytes[part].to_vec())
            }
        },
    };
    let len = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {len}\r\nConnection: close\r\n\r\n");
    line.write_all(head.as_bytes()).await.ok()?;
    if method == "GET" {
        line.write_all(&body).await.ok()?;
    }
    line.shutdown().await.ok()
}
