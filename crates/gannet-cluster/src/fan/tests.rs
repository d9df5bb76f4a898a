use std::future::pending;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use gannet_testkit::{Dice, Journey};
use tokio::time::timeout;

use super::*;

type Taker = Box<dyn FnOnce(Content) -> BoxFuture<'static, Result<Took>> + Send>;
type Outcomes = Vec<(usize, Result<Took>)>;

/// What somebody took of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Took {
    from: u64,
    bytes: Vec<u8>,
    verdict: Verdict,
}

/// Takes all of it, at a pace.
async fn take(content: Content, pause: Duration) -> Result<Took> {
    let Content { from, len, mut pieces, .. } = content;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            Piece::Bytes(piece) => {
                assert!(!piece.is_empty(), "pieces are never empty");
                bytes.extend_from_slice(&piece);
                sleep(pause).await;
            }
            Piece::End(verdict) => {
                assert_eq!(bytes.len() as u64, len, "as long as announced");
                return Ok(Took { from, bytes, verdict });
            }
        }
    }
    Err(Error::Interrupted)
}

const PATIENCE: Patience =
    Patience { stall: Duration::from_secs(10), settle: Duration::from_secs(100) };

/// Pours to takers, each with an offset and what it does with the content.
async fn pour(
    content: Content,
    window_bytes: u64,
    takers: Vec<(u64, Taker)>,
) -> (Ending, Outcomes) {
    let fan = Fan::new(content, window_bytes);
    let mut puts = Vec::new();
    for (place, (from, taker)) in takers.into_iter().enumerate() {
        let (branch, content) = fan.branch(from);
        puts.push(async move { (place, branch.watch(PATIENCE, taker(content)).await) });
    }
    let mut outcomes = Vec::new();
    let pouring = fan.pour(puts, |outcome| outcomes.push(outcome));
    // A day of a clock that jumps to whatever happens next.
    let ending = timeout(Duration::from_secs(86_400), pouring).await.expect("it ends");
    outcomes.sort_by_key(|&(place, _)| place);
    (ending, outcomes)
}

fn taking(pause: Duration) -> Taker {
    Box::new(move |content| take(content, pause).boxed())
}

const NO_TIME: Duration = Duration::ZERO;

fn noise(len: u64) -> Bytes {
    let mut dice = Dice::new(len);
    (0..len).map(|_| dice.roll().to_le_bytes()[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn each_gets_what_it_lacks() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let bytes = noise(dice.below(5000));
        let begin = dice.below(bytes.len() as u64 + 1);
        let piece_bytes = 1 + usize::try_from(dice.below(700)).expect("few");
        let content = Journey { piece_bytes, ..Journey::of(&bytes, begin) }.content();
        let mut takers = Vec::new();
        let mut expected = Vec::new();
        for place in 0..dice.below(5) {
            let from = begin + dice.below(bytes.len() as u64 - begin + 50);
            takers.push((from, taking(Duration::from_millis(dice.below(3)))));
            let from = from.min(bytes.len() as u64);
            let rest = bytes[usize::try_from(from).expect("few")..].to_vec();
            expected.push((place, Took { from, bytes: rest, verdict: Verdict::Valid }));
        }
        let (ending, outcomes) = pour(content, dice.below(2000), takers).await;
        assert_eq!(outcomes.len(), expected.len());
        for ((place, took), (wanted, expected)) in outcomes.into_iter().zip(expected) {
            assert_eq!(place as u64, wanted);
            assert_eq!(took.expect("all of it"), expected, "seed {seed}");
            assert!(matches!(ending, Ending::Complete(Verdict::Valid)), "{ending:?}");
        }
    }
}

/// Bytes of which is counted how many there are.
struct Counted {
    bytes: Vec<u8>,
    all: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len() as u64, Ordering::SeqCst);
    }
}

/// So many pieces of so many bytes; how many bytes there are, and the most there ever were.
fn counted(pieces: u64, piece_bytes: u64) -> (Content, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counter, peak) = (Arc::clone(&now), Arc::clone(&most));
    let bytes = stream::iter(0..pieces).map(move |_| {
        let bytes = vec![7; usize::try_from(piece_bytes).expect("few")];
        let all = counter.fetch_add(piece_bytes, Ordering::SeqCst) + piece_bytes;
        peak.fetch_max(all, Ordering::SeqCst);
        Ok(Piece::Bytes(Bytes::from_owner(Counted { bytes, all: Arc::clone(&counter) })))
    });
    let end = stream::once(async { Ok(Piece::End(Verdict::Valid)) });
    let len = pieces * piece_bytes;
    (Content { total: len, from: 0, len, pieces: bytes.chain(end).boxed() }, now, most)
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_sets_the_pace_and_nothing_piles_up() {
    const PIECE: u64 = 64 * 1024;
    const WINDOW: u64 = 16 * PIECE;
    let (content, now, most) = counted(2000, PIECE);
    let pause = Duration::from_millis(20);
    let takers = vec![
        (0, taking(NO_TIME)),
        (0, taking(pause)),
        (1000 * PIECE + 5, taking(NO_TIME)),
        (0, taking(Duration::from_millis(3))),
    ];
    let begun = Instant::now();
    let (ending, outcomes) = pour(content, WINDOW, takers).await;
    assert!(matches!(ending, Ending::Complete(Verdict::Valid)));
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
    // In this time nothing but waiting takes time.
    assert_eq!(begun.elapsed(), pause * 2000, "no slower than the slowest alone");
    // What is in the window, one piece more, and one in each pair of hands.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= WINDOW + 5 * PIECE, "{most} bytes at once");
    assert_eq!(now.load(Ordering::SeqCst), 0, "nothing is left");
}

/// Counts how many there are.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(all))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_or_fails_is_dropped_alone() {
    let alive = Arc::new(AtomicUsize::new(0));
    let [one, two, three, four] = std::array::from_fn(|_| Alive::new(&alive));
    let (content, now, most) = counted(500, 1000);
    let takers: Vec<(u64, Taker)> = vec![
        (0, taking(Duration::from_millis(1))),
        // It never takes anything.
        (
            0,
            Box::new(|content| {
                async move {
                    let _all = (one, content);
                    pending().await
                }
                .boxed()
            }),
        ),
        // It takes a little, and then no more.
        (
            0,
            Box::new(|mut content| {
                async move {
                    let _all = two;
                    content.pieces.next().await;
                    content.pieces.next().await;
                    pending().await
                }
                .boxed()
            }),
        ),
        // It takes all, and says nothing.
        (
            0,
            Box::new(|content| {
                async move {
                    let _all = three;
                    take(content, NO_TIME).await?;
                    pending().await
                }
                .boxed()
            }),
        ),
        // It fails in the middle.
        (
            0,
            Box::new(|mut content| {
                async move {
                    let _all = four;
                    content.pieces.next().await;
                    sleep(Duration::from_secs(1)).await;
                    Err(Error::Overloaded { what: "pieces" })
                }
                .boxed()
            }),
        ),
        // It does not want it, and takes a while to say why: it holds nobody back.
        (
            0,
            Box::new(|content| {
                async move {
                    drop(content);
                    sleep(Duration::from_secs(50)).await;
                    Err(Error::Overloaded { what: "wishes" })
                }
                .boxed()
            }),
        ),
    ];
    let begun = Instant::now();
    let (ending, outcomes) = pour(content, 3000, takers).await;
    assert!(matches!(ending, Ending::Complete(Verdict::Valid)));
    let outcomes: Vec<_> = outcomes.iter().map(|(_, outcome)| outcome.as_ref()).collect();
    assert!(outcomes[0].is_ok());
    assert!(matches!(outcomes[1], Err(Error::Stalled)));
    assert!(matches!(outcomes[2], Err(Error::Stalled)));
    assert!(matches!(outcomes[3], Err(Error::Stalled)));
    assert!(matches!(outcomes[4], Err(Error::Overloaded { what: "pieces" })));
    assert!(matches!(outcomes[5], Err(Error::Overloaded { what: "wishes" })));
    assert!(begun.elapsed() < PATIENCE.stall + PATIENCE.settle + Duration::from_secs(2));
    assert_eq!(alive.load(Ordering::SeqCst), 0, "those who hang were dropped");
    assert!(most.load(Ordering::SeqCst) <= 3000 + 7 * 1000);
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_late_while_nothing_comes() {
    let pieces = stream::iter(0..5).then(|place| async move {
        sleep(PATIENCE.stall * 3).await;
        Ok(if place < 4 { Piece::Bytes("ab".into()) } else { Piece::End(Verdict::Valid) })
    });
    let content = Content { total: 8, from: 0, len: 8, pieces: pieces.boxed() };
    let almost = PATIENCE.stall - Duration::from_millis(1);
    let takers = vec![(0, taking(NO_TIME)), (5, taking(NO_TIME)), (0, taking(almost))];
    let (_, outcomes) = pour(content, 1, takers).await;
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn how_the_stream_ends_is_told_to_all() {
    use gannet_testkit::Ending as Sent;
    let bytes = noise(1000);
    let journey = || Journey { piece_bytes: 90, ..Journey::of(&bytes, 0) };
    let doubtful = journey().ending(Sent::Verdict(Verdict::Doubtful));
    let (ending, outcomes) = pour_to_two(doubtful).await;
    assert!(matches!(ending, Ending::Complete(Verdict::Doubtful)));
    for (_, outcome) in outcomes {
        assert_eq!(outcome.expect("all of it").verdict, Verdict::Doubtful);
    }
    for (journey, expected) in [
        (journey().cut(999, Sent::Silence), Error::Interrupted),
        (journey().cut(1000, Sent::Silence), Error::Interrupted),
        (journey().cut(0, Sent::Broken), Error::Interrupted),
        (Journey { len: 998, ..journey() }, Error::WrongLength),
    ] {
        let (ending, outcomes) = pour_to_two(journey).await;
        let Ending::Broken(error) = ending else { panic!("{ending:?}") };
        assert_eq!(error.to_string(), expected.to_string());
        for (_, outcome) in outcomes {
            assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        }
    }
}

async fn pour_to_two(journey: Journey) -> (Ending, Outcomes) {
    pour(journey.content(), 200, vec![(0, taking(NO_TIME)), (500, taking(NO_TIME))]).await
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_not_read() {
    let (content, now, most) = counted(1_000_000, 1000);
    let refusing = || -> Taker {
        Box::new(|mut content| {
            async move {
                content.pieces.next().await;
                Err(Error::Overloaded { what: "contents" })
            }
            .boxed()
        })
    };
    let (ending, outcomes) = pour(content, 3000, vec![(0, refusing()), (0, refusing())]).await;
    assert!(matches!(ending, Ending::Unread));
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_err()));
    assert!(most.load(Ordering::SeqCst) <= 4000);
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_drops_all() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (content, now, _) = counted(100, 1000);
    let mut takers = Vec::new();
    for _ in 0..3 {
        let guard = Alive::new(&alive);
        let taker: Taker = Box::new(|content| {
            async move {
                let _guard = guard;
                take(content, Duration::from_secs(1)).await
            }
            .boxed()
        });
        takers.push((0, taker));
    }
    let pouring = timeout(Duration::from_secs(30), pour(content, 5000, takers));
    assert!(pouring.await.is_err(), "it takes longer");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

/// A connection may have a task of its own, which notices late that nobody waits for it.
#[tokio::test(start_paused = true)]
async fn whoever_keeps_content_for_nothing_holds_nobody_back() {
    let (content, now, _) = counted(500, 1000);
    let (send, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let failing: Taker = Box::new(move |content| {
        async move {
            send.send(content).expect("somebody keeps it");
            Err(Error::Overloaded { what: "connections" })
        }
        .boxed()
    });
    let begun = Instant::now();
    let (ending, outcomes) = pour(content, 3000, vec![(0, taking(NO_TIME)), (0, failing)]).await;
    assert!(matches!(ending, Ending::Complete(Verdict::Valid)));
    assert!(outcomes[0].1.is_ok() && outcomes[1].1.is_err());
    assert_eq!(begun.elapsed(), NO_TIME, "nobody waited for it");
    let mut content = kept.recv().await.expect("a content");
    assert!(content.pieces.next().await.is_none(), "it gets nothing more");
    assert_eq!(now.load(Ordering::SeqCst), 0);
}
