//! TLS from outside: a certificate made for the occasion, and curl, which checks it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::world::finish;
use crate::harness::{Body, Request, Server, World};

/// A self-signed certificate for 127.0.0.1 and its key.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificate {
    /// Makes one.
    pub(super) fn make(world: &World) -> Self {
        let made = Self { certificate: world.join("tls.crt"), key: world.join("tls.key") };
        let (certificate, key) = made.paths();
        world.ok(
            world.path(),
            &[
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                key,
                "-out",
                certificate,
            ],
        );
        made
    }

    /// Returns the paths of certificate and key.
    pub(super) fn paths(&self) -> (&str, &str) {
        (self.certificate.to_str().unwrap(), self.key.to_str().unwrap())
    }

    /// Returns the options that make a server use it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let (certificate, key) = self.paths();
        vec![format!("--certfile={certificate}"), format!("--privatekeyfile={key}")]
    }
}

/// What curl received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Returns the body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body of a 200 as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> serde_json::Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Sends a request over TLS by curl and returns the status.
pub(super) fn curl(
    world: &World,
    server: &Server,
    certificate: &Certificate,
    request: &Request,
) -> u16 {
    curl_at(world, server.address(), certificate, request).status
}

/// Sends a request over TLS by curl, which checks the certificate.
pub(super) fn curl_at(
    world: &World,
    address: SocketAddr,
    certificate: &Certificate,
    request: &Request,
) -> Answer {
    let target = String::from_utf8(request.target.clone()).expect("a target of ASCII");
    let (out, body) = (world.fresh("curl-out"), world.fresh("curl-body"));
    fs::write(&out, b"").expect("make a file");
    let mut command = world.command(world.path(), "curl");
    command
        .args(["--silent", "--show-error", "--globoff", "--max-time", "60", "--noproxy", "*"])
        .arg("--cacert")
        .arg(&certificate.certificate)
        .args(["--request", &request.method, "--write-out", "%{http_code}", "--output"])
        .arg(&out);
    for (name, value) in &request.headers {
        command.arg("--header").arg(format!("{name}: {}", String::from_utf8_lossy(value)));
    }
    if let (Body::Length(bytes), "POST") = (&request.body, request.method.as_str()) {
        fs::write(&body, bytes).expect("write a body");
        command.arg("--data-binary").arg(format!("@{}", body.display()));
    }
    command.arg(format!("https://{address}{target}"));
    let status = finish(&mut command, Duration::from_secs(90)).expect_ok();
    Answer {
        status: status.trim().parse().expect("a status"),
        body: fs::read(&out).expect("read what curl received"),
    }
}
