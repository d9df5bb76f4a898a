//! What is asked of a server, and how fast it answers.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::http::{Body, Connection};
use super::objects::{Object, Objects};
use super::servers::{Repository, Server};
use super::table::Table;
use crate::run::Result;

/// How much there is to do.
pub(super) struct Sizes {
    pub(super) big_bytes: u64,
    /// How many 16 KiB contents are got.
    pub(super) small_count: usize,
    /// How many 4 KiB contents are put.
    pub(super) tiny_count: usize,
    /// How many of them go through a shell.
    pub(super) line_count: usize,
    /// What goes over a slow link.
    pub(super) slow_bytes: u64,
    /// How long each row of repeated requests takes.
    repeat_for: Duration,
}

impl Sizes {
    /// For numbers to be quoted.
    pub(super) const FULL: Self = Self {
        big_bytes: 1 << 30,
        small_count: 1000,
        tiny_count: 2000,
        line_count: 1000,
        slow_bytes: 128 << 20,
        repeat_for: Duration::from_secs(5),
    };
    /// For seeing whether it works at all.
    pub(super) const QUICK: Self = Self {
        big_bytes: 64 << 20,
        small_count: 100,
        tiny_count: 200,
        line_count: 100,
        slow_bytes: 16 << 20,
        repeat_for: Duration::from_secs(1),
    };
}

/// A repository behind a server.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// What every path of its API begins with.
    pub(super) base: String,
}

/// Measures a server that speaks the API.
///
/// # Errors
/// When an answer is wrong.
pub(super) fn measure(
    server: &Server,
    objects: &Objects,
    sizes: &Sizes,
    table: &mut Table,
) -> Result {
    let (big, kind, target) = (&objects.big, server.kind, &server.target);
    let seconds = put_file(target, big)?;
    table.add(&big_row("PUT", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let path = api(target, &format!("v4/key/{}", big.key), "");
    let seconds = timed(|| get(&mut connect(target)?, &path, big.len))?;
    table.add(&big_row("GET", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let path = format!("{}/key/{}", target.base, big.key);
    let seconds = timed(|| get(&mut connect(target)?, &path, big.len))?;
    table.add(&big_row("GET, as a file,", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let rate = put_each(target, &objects.tiny)?;
    table.add("PUT 4 KiB, 16 connections", "/s", kind, rate);
    put_each(target, &objects.small)?;

    let paths: Vec<String> =
        keys(objects).map(|key| api(target, &format!("v4/key/{key}"), "")).collect();
    let rate = repeat(target, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET 16 KiB, 16 connections", "/s", kind, rate);

    let paths: Vec<String> =
        keys(objects).map(|key| format!("{}/key/{key}", target.base)).collect();
    let rate = repeat(target, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET, as a file, 16 KiB, 16 connections", "/s", kind, rate);

    let paths: Vec<String> =
        keys(objects).map(|key| api(target, "v4/checkpresent", &format!("&key={key}"))).collect();
    let rate = repeat(target, &paths, sizes, |to, path| {
        expect(&to.post(path, &Body::Nothing)?, "\"present\":true")
    })?;
    table.add("checkpresent, 16 connections", "/s", kind, rate);
    Ok(())
}

/// Measures a server that knows files only.
///
/// # Errors
/// When an answer is wrong.
pub(super) fn measure_files(
    server: &Server,
    repository: &Repository,
    stored: &Objects,
    sizes: &Sizes,
    table: &mut Table,
) -> Result {
    let files = repository.files()?;
    let path_of = |key: &str| files.get(key).cloned().ok_or("a key was not stored as a file");
    let (big, kind, target) = (&stored.big, server.kind, &server.target);
    let path = path_of(&big.key)?;
    let seconds = timed(|| get(&mut connect(target)?, &path, big.len))?;
    table.add(&big_row("GET, as a file,", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let paths: Vec<String> = keys(stored).map(path_of).collect::<Result<_, _>>()?;
    let rate = repeat(target, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET, as a file, 16 KiB, 16 connections", "/s", kind, rate);
    Ok(())
}

/// Sends a content from its file; returns how many seconds that took.
///
/// # Errors
/// When it was not stored.
pub(super) fn put_file(target: &Target, object: &Object) -> Result<f64> {
    timed(|| put(&mut connect(target)?, target, object, &Body::File(&object.file)))
}

/// Puts one object after the other; returns how many seconds that took.
///
/// # Errors
/// When one of them was not stored.
pub(super) fn put_each_in_turn(target: &Target, objects: &[Object]) -> Result<f64> {
    let mut connection = connect(target)?;
    timed(|| {
        let mut put =
            |object: &Object| put(&mut connection, target, object, &Body::File(&object.file));
        objects.iter().try_for_each(&mut put)
    })
}

/// Gets one object after the other; returns how many seconds that took.
///
/// # Errors
/// When one of them is not there, or not whole.
pub(super) fn get_each(target: &Target, objects: &[Object]) -> Result<f64> {
    let mut connection = connect(target)?;
    timed(|| {
        let mut get = |object: &Object| {
            let path = api(target, &format!("v4/key/{}", object.key), "");
            get(&mut connection, &path, object.len)
        };
        objects.iter().try_for_each(&mut get)
    })
}

pub(super) fn big_row(what: &str, sizes: &Sizes) -> String {
    format!("{what} {} MiB, 1 connection", sizes.big_bytes >> 20)
}

fn keys(objects: &Objects) -> impl Iterator<Item = &str> {
    objects.small.iter().map(|object| object.key.as_str())
}

fn api(target: &Target, endpoint: &str, query: &str) -> String {
    format!("{}/{endpoint}?clientuuid={CLIENT}{query}", target.base)
}

fn get(to: &mut Connection, path: &str, len: u64) -> Result {
    match to.get(path)? {
        came if came == len => Ok(()),
        came => Err(format!("GET {path} gave {came} bytes instead of {len}").into()),
    }
}

fn put(to: &mut Connection, target: &Target, object: &Object, body: &Body<'_>) -> Result {
    let path = api(target, "v4/put", &format!("&key={}", object.key));
    expect(&to.post(&path, body)?, "\"stored\":true")
}

fn expect(answer: &str, part: &str) -> Result {
    match answer.contains(part) {
        true => Ok(()),
        false => Err(format!("the server answered {answer} instead of {part}").into()),
    }
}

/// Puts each object once; returns how many per second.
fn put_each(target: &Target, objects: &[Object]) -> Result<f64> {
    let contents: Vec<Vec<u8>> =
        objects.iter().map(|object| fs::read(&object.file)).collect::<Result<_, _>>()?;
    let next = AtomicUsize::new(0);
    let seconds = timed(|| {
        at_once(target, |connection| {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let (Some(object), Some(bytes)) = (objects.get(turn), contents.get(turn)) else {
                    return Ok(());
                };
                put(connection, target, object, &Body::Bytes(bytes))?;
            }
        })
    })?;
    Ok(count(objects.len()) / seconds)
}

/// Asks for one path after the other, again and again; returns how many requests per second.
fn repeat(
    target: &Target,
    paths: &[String],
    sizes: &Sizes,
    ask: impl Fn(&mut Connection, &str) -> Result + Sync,
) -> Result<f64> {
    let done = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    let seconds = timed(|| {
        at_once(target, |connection| {
            while !over.load(Ordering::Relaxed) {
                let turn = done.fetch_add(1, Ordering::Relaxed);
                ask(connection, paths.get(turn % paths.len()).ok_or("nothing to ask for")?)?;
                if begin.elapsed() >= sizes.repeat_for {
                    over.store(true, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    })?;
    Ok(count(done.into_inner()) / seconds)
}

/// Does `work` on all connections at once, and waits until all are done.
fn at_once(target: &Target, work: impl Fn(&mut Connection) -> Result + Sync) -> Result {
    let one = || work(&mut connect(target)?);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a connection panicked")??;
        }
        Ok(())
    })
}

fn connect(target: &Target) -> Result<Connection> {
    Connection::open(target.address)
}

fn timed(work: impl FnOnce() -> Result) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

const CONNECTIONS: usize = 16;
const CLIENT: &str = "c1c1c1c1-0000-4000-8000-000000000002";
