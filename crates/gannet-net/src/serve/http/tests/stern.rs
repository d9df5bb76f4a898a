//! The door in front of a place that keeps the promise to the letter.

use std::sync::Arc;

use gannet_core::Uuid;
use gannet_core::annex::Guarded;
use gannet_testkit::{Sample, Stern};
use tokio::io::duplex;
use tokio::sync::watch;

use super::raw::Client;
use super::{Access, HttpDoor, Limits, Shed, U, pass, post};

const STORED: &str = "{\"plusuuids\":[],\"stored\":true}";
const NOT_STORED: &str = "{\"plusuuids\":[],\"stored\":false}";
const CHUNKED: &str = "Transfer-Encoding: chunked";

struct Served {
    stern: Stern,
    door: Arc<HttpDoor>,
    _stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Served {
    fn new() -> Self {
        let uuid = Uuid::parse(U.as_bytes()).unwrap();
        let stern = Stern::with(uuid, gannet_testkit::TestClock::new());
        let annex = Arc::new(Guarded::new(stern.clone()));
        let house = Arc::new(Shed { annex, access: Access::open() });
        let (stop, stopped) = watch::channel(false);
        let door = Arc::new(HttpDoor::new(house, Limits::default()));
        Self { stern, door, _stop: stop, stopped }
    }

    fn connect(&self) -> Client {
        let (here, there) = duplex(1 << 16);
        let (door, stopped) = (Arc::clone(&self.door), self.stopped.clone());
        tokio::spawn(async move { door.serve(there, None, stopped).await });
        Client::new(here)
    }
}

async fn put(client: &mut Client, key: &str, offset: usize, len: usize, body: &[u8]) -> String {
    let request = post(4, "put", key) + &format!("&offset={offset}");
    let len = format!("X-git-annex-data-length: {len}");
    let reply = client.call(&request, &[&len], body).await;
    assert_eq!(reply.status, 200);
    reply.text()
}

#[tokio::test]
async fn a_put_is_resumed_where_it_broke() {
    let served = Served::new();
    let sample = Sample::secure(1, 100_000);
    let (key, bytes) = (sample.key.to_string(), &sample.bytes);
    let mut client = served.connect();
    let len = "X-git-annex-data-length: 100000";
    client.begin(&post(4, "put", &key), &[len, CHUNKED], b"").await;
    client.chunk(&bytes[..70_000]).await;
    // What was sent has been taken in when the pipe is empty again.
    while served.stern.partial_of(&sample.key).len() < 70_000 {
        tokio::task::yield_now().await;
    }
    drop(client);
    while served.stern.open_puts() > 0 {
        tokio::task::yield_now().await;
    }
    let mut client = served.connect();
    let offset = client.ask(&post(4, "putoffset", &key)).await;
    assert_eq!(offset, (200, "{\"offset\":70000}".to_owned()));
    let beyond = put(&mut client, &key, 80_000, 20_000, &bytes[80_000..]).await;
    assert_eq!(beyond, NOT_STORED);
    let rest = put(&mut client, &key, 70_000, 30_000, &bytes[70_000..]).await;
    assert_eq!(rest, STORED);
    assert_eq!(served.stern.content_of(&sample.key).as_ref(), Some(bytes));
    let offset = client.ask(&post(4, "putoffset", &key)).await;
    assert_eq!(offset.1, "{\"alreadyhave\":true,\"plusuuids\":[]}");
}

#[tokio::test]
async fn wrong_contents_are_not_stored() {
    let served = Served::new();
    let sample = Sample::secure(1, 1000);
    let key = sample.key.to_string();
    let mut client = served.connect();
    let mut wrong = sample.bytes.to_vec();
    wrong[500] ^= 1;
    assert_eq!(put(&mut client, &key, 0, 1000, &wrong).await, NOT_STORED);
    let longer = [&sample.bytes[..], b"x"].concat();
    assert_eq!(put(&mut client, &key, 0, 1000, &longer).await, NOT_STORED);
    assert_eq!(put(&mut client, &key, 0, 1001, &longer).await, NOT_STORED);
    assert_eq!(served.stern.content_of(&sample.key), None);
    assert_eq!(put(&mut client, &key, 0, 1000, &sample.bytes).await, STORED);
}

#[tokio::test]
async fn a_second_put_of_a_busy_key_is_not_waited_for() {
    let served = Served::new();
    let sample = Sample::secure(1, 1000);
    let key = sample.key.to_string();
    let mut first = served.connect();
    let len = "X-git-annex-data-length: 1000";
    first.begin(&post(4, "put", &key), &[len, CHUNKED], b"").await;
    first.chunk(&sample.bytes[..500]).await;
    while served.stern.open_puts() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = served.connect();
    assert_eq!(put(&mut second, &key, 0, 1000, &sample.bytes).await, NOT_STORED);
    first.chunk(&sample.bytes[500..]).await;
    first.chunk(b"").await;
    assert_eq!(first.reply().await.text(), STORED);
}

#[tokio::test(start_paused = true)]
async fn locked_contents_are_not_removed() {
    let served = Served::new();
    let sample = Sample::secure(1, 1000);
    let key = sample.key.to_string();
    served.stern.place(&sample.key, sample.bytes.clone());
    let mut client = served.connect();
    let (_, locked) = client.ask(&post(4, "lockcontent", &key)).await;
    let id = locked.split('"').nth(5).unwrap();
    let mut keeper = served.connect();
    let request = format!("POST /git-annex/{U}/v4/keeplocked?lockid={id}");
    keeper.begin(&request, &[CHUNKED], b"").await;
    let refused = "{\"plusuuids\":[],\"removed\":false}";
    pass(1).await;
    assert_eq!(client.ask(&post(4, "remove", &key)).await.1, refused);
    // A lost connection leaves the retention.
    drop(keeper);
    pass(1).await;
    assert_eq!(client.ask(&post(4, "remove", &key)).await.1, refused);
    let reply = client.call(&request, &[], b"{\"unlock\":true}\n").await;
    assert_eq!(reply.text(), "{\"locked\":false}");
    let removed = "{\"plusuuids\":[],\"removed\":true}";
    assert_eq!(client.ask(&post(4, "remove", &key)).await.1, removed);
    assert_eq!(served.stern.content_of(&sample.key), None);
}
