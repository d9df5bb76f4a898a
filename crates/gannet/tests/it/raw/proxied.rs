//! Behind nginx as TLS reverse proxy, and with TLS of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::http::api;
use crate::harness::{BIG, CLIENT, Gannet, HELLO, Repo, Request, SERVER, World, eventually};
use crate::raw::sha256_key;
use crate::raw::tls::{Answer, Certificate, curl_at};

#[test]
fn nginx_in_front_changes_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let certificate = Certificate::make(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let proxy = Proxy::start(&world, &certificate, server.address());
    exercise(&world, &repo, &certificate, proxy.address);
}

#[test]
fn tls_of_its_own_changes_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let certificate = Certificate::make(&world);
    let tls = certificate.arguments();
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen", &tls[0], &tls[1]]);
    assert!(server.ready_line().contains("https://"), "{}", server.ready_line());
    exercise(&world, &repo, &certificate, server.address());
    // Plain HTTP on the port of TLS is refused or dropped, and harms nobody.
    let mut plain = server.connect();
    let request = Request::get(format!("/git-annex/{SERVER}/key/{HELLO}"));
    let refused = plain.try_exchange(&request).map_or(true, |reply| reply.status >= 400);
    assert!(refused, "plain HTTP is served on the port of TLS");
    exercise(&world, &repo, &certificate, server.address());
}

/// Content both ways, a short body, a missing key, a lock with its keeplocked, a removal.
fn exercise(world: &World, repo: &Repo, certificate: &Certificate, address: SocketAddr) {
    let ask = |request: &Request| curl_at(world, address, certificate, request);
    let get = |key: &str| {
        ask(&Request::get(api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)])))
    };
    let post = |endpoint: &str, parameters: &[(&str, &str)]| {
        let all = [parameters, &[("clientuuid", CLIENT)]].concat();
        Request::post(api(SERVER, "v4", endpoint, &all))
    };
    assert_eq!(get(HELLO), Answer { status: 200, body: b"hello\n".to_vec() });
    assert_eq!(get(BIG).body.len(), 300_000);
    assert_eq!(get("SHA1--absent").status, 404);

    let content = vec![b'p'; 5_000_000];
    let key = sha256_key(&content);
    let put = |offset: &str, from: usize, announced: usize| {
        let request = post("put", &[("key", &key), ("offset", offset)]);
        let request = request.header("X-git-annex-data-length", announced.to_string());
        ask(&request.body(crate::harness::Body::Length(content[from..].to_vec()))).text()
    };
    let reply = put("0", 1_000_000, 5_000_000);
    assert!(reply.contains(r#""stored":false"#), "a short body: {reply}");
    let reply = put("0", 0, 5_000_000);
    assert!(reply.contains(r#""stored":true"#), "{reply}");
    assert_eq!(get(&key).body, content);

    let locked = ask(&post("lockcontent", &[("key", &key)])).json();
    let id = locked["lockid"].as_str().expect("a lock").to_owned();
    let removed = ask(&post("remove", &[("key", &key)])).json();
    assert_eq!(removed["removed"], false);
    let unlock = crate::harness::Body::Length(b"{\"unlock\":true}\n".to_vec());
    let kept = ask(&post("keeplocked", &[("lockid", &id)]).body(unlock)).json();
    assert_eq!(kept["locked"], false);
    assert_eq!(ask(&post("remove", &[("key", &key)])).json()["removed"], true);
    repo.assert_no_strays();
}

/// nginx in the foreground, ended when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(world: &World, certificate: &Certificate, upstream: SocketAddr) -> Self {
        let dir = world.join("nginx");
        fs::create_dir_all(dir.join("tmp")).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("find a free port");
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (trusted, key) = certificate.paths();
        let config = NGINX
            .replace("{listen}", &address.to_string())
            .replace("{upstream}", &upstream.to_string())
            .replace("{certificate}", trusted)
            .replace("{key}", key)
            .replace("{dir}", dir.to_str().unwrap());
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut command = world.command(&dir, "nginx");
        command.arg("-p").arg(&dir).args(["-e", "stderr", "-c", "nginx.conf"]);
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start nginx ({error}); install nginx-light"));
        let proxy = Self { child, address };
        eventually(Duration::from_secs(20), || {
            let said = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            TcpStream::connect(address).map_err(|error| format!("nginx: {error}: {}", said()))
        });
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        self.child.wait().ok();
    }
}

/// What a careful administrator sets for Gannet behind nginx: no buffering, no limit on bodies,
/// HTTP/1.1 upstream, patience with keeplocked.
const NGINX: &str = "\
daemon off;
worker_processes 1;
pid {dir}/pid;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path {dir}/tmp/body;
  proxy_temp_path {dir}/tmp/proxy;
  fastcgi_temp_path {dir}/tmp/fastcgi;
  uwsgi_temp_path {dir}/tmp/uwsgi;
  scgi_temp_path {dir}/tmp/scgi;
  server {
    listen {listen} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    client_max_body_size 0;
    location /git-annex/ {
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }
  }
}
";
