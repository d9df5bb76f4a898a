//! The harness against the reference server: what it reports is what is there.

use crate::harness::http::api;
use crate::harness::{BIG, CLIENT, EMPTY, HELLO, Reference, Repo, Request, SERVER, World};

/// The same helpers judge Gannet, so they must see the reference as the recordings do.
#[test]
fn harness_reads_the_reference_server() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Reference::serve(&world, repo.path(), &["--wideopen"]);
    for (key, len) in [(HELLO, 6), (EMPTY, 0), (BIG, 300_000)] {
        let target = api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)]);
        let reply = server.send(&Request::get(target));
        assert_eq!((reply.status, reply.body.len(), reply.complete), (200, len, true));
        assert!(repo.state(key).present);
        assert!(repo.location_log(&world, key)[SERVER]);
    }
    let lock = api(SERVER, "v4", "lockcontent", &[("key", HELLO), ("clientuuid", CLIENT)]);
    assert_eq!(server.send(&Request::post(lock)).member("locked"), true);
    assert!(repo.locks(HELLO).rtm);
    repo.fsck(&world);
    repo.assert_no_strays();
}
