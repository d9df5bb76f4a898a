//! What is asked of a server, and how fast it answers.

use std::fs;
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
        repeat_for: Duration::from_secs(5),
    };
    /// For seeing whether it works at all.
    pub(super) const QUICK: Self = Self {
        big_bytes: 64 << 20,
        small_count: 100,
        tiny_count: 200,
        line_count: 100,
        repeat_for: Duration::from_secs(1),
    };
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
    let (big, kind) = (&objects.big, server.kind);
    let seconds = timed(|| put(&mut connect(server)?, server, big, &Body::File(&big.file)))?;
    table.add(&big_row("PUT", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let path = api(server, &format!("v4/key/{}", big.key), "");
    let seconds = timed(|| get(&mut connect(server)?, &path, big.len))?;
    table.add(&big_row("GET", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let path = format!("{}/key/{}", server.base, big.key);
    let seconds = timed(|| get(&mut connect(server)?, &path, big.len))?;
    table.add(&big_row("GET, as a file,", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let rate = put_each(server, &objects.tiny)?;
    table.add("PUT 4 KiB, 16 connections", "/s", kind, rate);
    put_each(server, &objects.small)?;

    let paths: Vec<String> =
        keys(objects).map(|key| api(server, &format!("v4/key/{key}"), "")).collect();
    let rate = repeat(server, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET 16 KiB, 16 connections", "/s", kind, rate);

    let paths: Vec<String> =
        keys(objects).map(|key| format!("{}/key/{key}", server.base)).collect();
    let rate = repeat(server, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET, as a file, 16 KiB, 16 connections", "/s", kind, rate);

    let paths: Vec<String> =
        keys(objects).map(|key| api(server, "v4/checkpresent", &format!("&key={key}"))).collect();
    let rate = repeat(server, &paths, sizes, |to, path| {
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
    let (big, kind) = (&stored.big, server.kind);
    let path = path_of(&big.key)?;
    let seconds = timed(|| get(&mut connect(server)?, &path, big.len))?;
    table.add(&big_row("GET, as a file,", sizes), "MiB/s", kind, mebibytes(big.len) / seconds);

    let paths: Vec<String> = keys(stored).map(path_of).collect::<Result<_, _>>()?;
    let rate = repeat(server, &paths, sizes, |to, path| get(to, path, 16 << 10))?;
    table.add("GET, as a file, 16 KiB, 16 connections", "/s", kind, rate);
    Ok(())
}

fn big_row(what: &str, sizes: &Sizes) -> String {
    format!("{what} {} MiB, 1 connection", sizes.big_bytes >> 20)
}

fn keys(objects: &Objects) -> impl Iterator<Item = &str> {
    objects.small.iter().map(|object| object.key.as_str())
}

fn api(server: &Server, endpoint: &str, query: &str) -> String {
    format!("{}/{endpoint}?clientuuid={CLIENT}{query}", server.base)
}

fn get(to: &mut Connection, path: &str, len: u64) -> Result {
    match to.get(path)? {
        came if came == len => Ok(()),
        came => Err(format!("GET {path} gave {came} bytes instead of {len}").into()),
    }
}

fn put(to: &mut Connection, server: &Server, object: &Object, body: &Body<'_>) -> Result {
    let path = api(server, "v4/put", &format!("&key={}", object.key));
    expect(&to.post(&path, body)?, "\"stored\":true")
}

fn expect(answer: &str, part: &str) -> Result {
    match answer.contains(part) {
        true => Ok(()),
        false => Err(format!("the server answered {answer} instead of {part}").into()),
    }
}

/// Puts each object once; returns how many per second.
fn put_each(server: &Server, objects: &[Object]) -> Result<f64> {
    let contents: Vec<Vec<u8>> =
        objects.iter().map(|object| fs::read(&object.file)).collect::<Result<_, _>>()?;
    let next = AtomicUsize::new(0);
    let seconds = timed(|| {
        at_once(server, |connection| {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let (Some(object), Some(bytes)) = (objects.get(turn), contents.get(turn)) else {
                    return Ok(());
                };
                put(connection, server, object, &Body::Bytes(bytes))?;
            }
        })
    })?;
    Ok(count(objects.len()) / seconds)
}

/// Asks for one path after the other, again and again; returns how many requests per second.
fn repeat(
    server: &Server,
    paths: &[String],
    sizes: &Sizes,
    ask: impl Fn(&mut Connection, &str) -> Result + Sync,
) -> Result<f64> {
    let done = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    let seconds = timed(|| {
        at_once(server, |connection| {
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
fn at_once(server: &Server, work: impl Fn(&mut Connection) -> Result + Sync) -> Result {
    let one = || work(&mut connect(server)?);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a connection panicked")??;
        }
        Ok(())
    })
}

fn connect(server: &Server) -> Result<Connection> {
    Connection::open(server.address)
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
