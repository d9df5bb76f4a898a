//! Large content needs no more memory than small content.

use crate::harness::http::{api, chunk};
use crate::harness::{Body, CLIENT, Gannet, HELLO, Repo, Request, SERVER, World};

/// 1 GiB of zeros goes in and comes out; memory and threads stay bounded (issue 2, "Numbers").
#[test]
fn gibibyte_needs_little_memory() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen", "--jobs", "500"]);
    let hello = api(SERVER, "v4", &format!("key/{HELLO}"), &[("clientuuid", CLIENT)]);
    assert_eq!(server.send(&Request::get(hello)).status, 200);
    let idle = server.anonymous_bytes();
    assert!(idle < 8 << 20, "{idle} bytes when idle");

    let zeros = vec![0; 1 << 20];
    let target = api(SERVER, "v4", "put", &[("key", ZEROS), ("clientuuid", CLIENT)]);
    let put = Request::put(target, GIBIBYTE, &[]).body(Body::Chunked(Vec::new()));
    let mut connection = server.connect();
    connection.write(&put.head()).unwrap();
    for _ in 0..GIBIBYTE >> 20 {
        connection.write(&chunk(&zeros)).unwrap();
    }
    connection.write(b"0\r\n\r\n").unwrap();
    assert_eq!(connection.reply_to("POST").unwrap().member("stored"), true);

    let target = api(SERVER, "v4", &format!("key/{ZEROS}"), &[("clientuuid", CLIENT)]);
    connection.send(&Request::get(target)).unwrap();
    let head = connection.head_of_reply("GET").unwrap();
    let (mut bytes, mut other) = (0, 0);
    let whole = connection.body_of_reply(&head, |piece| {
        bytes += piece.len() as u64;
        other += piece.iter().filter(|&&byte| byte != 0).count();
    });
    assert_eq!((whole, bytes, other), (true, GIBIBYTE, 0));
    let peak = server.resident_bytes_peak();
    assert!(peak < 64 << 20, "{peak} bytes at most");
    assert!(server.threads() <= THREADS_MAX, "{} threads", server.threads());
}

const GIBIBYTE: u64 = 1 << 30;
/// The key of 1 GiB of zeros.
const ZEROS: &str =
    "SHA256-s1073741824--49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";
/// Workers, and threads for blocking work; far below the 500 jobs that were asked for.
const THREADS_MAX: usize = 100;
