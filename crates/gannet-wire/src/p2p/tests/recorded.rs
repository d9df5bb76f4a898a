//! Conversations that git-annex was seen to have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gannet_core::Uuid;
use serde_json::Value;

/// One conversation; for a client with a new connection after each [`Step::Start`].
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// What the server exited with, if that was recorded.
    pub(super) exit: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Start,
    Client(Vec<u8>),
    ClientEnd,
    Server(Vec<u8>),
    ServerEnd,
}

impl Recording {
    /// All that the server said.
    pub(super) fn by_server(steps: &[Step]) -> Vec<u8> {
        let said = steps.iter().filter_map(|step| match step {
            Step::Server(bytes) => Some(&bytes[..]),
            _ => None,
        });
        said.collect::<Vec<_>>().concat()
    }

    /// All that the client said.
    pub(super) fn by_client(steps: &[Step]) -> Vec<u8> {
        let said = steps.iter().filter_map(|step| match step {
            Step::Client(bytes) => Some(&bytes[..]),
            _ => None,
        });
        said.collect::<Vec<_>>().concat()
    }
}

/// Conversations of the real server.
pub(super) fn of_servers() -> Vec<Recording> {
    let mut all = Vec::new();
    for file in [SERVER_OVER_SSH, SERVER_WITH_AUTH, CLUSTER] {
        all.extend(transcripts(file, "\n"));
    }
    all.extend(whole_conversations());
    // One is not about the protocol: the command was refused.
    let ends = [Step::ServerEnd, Step::ClientEnd];
    all.retain(|it: &Recording| !it.steps.iter().all(|step| ends.contains(step)));
    all
}

/// Conversations of the real client, some with a server that misbehaves.
pub(super) fn of_clients() -> Vec<Recording> {
    let mut all = transcripts(CLIENT, "");
    all.extend(whole_conversations());
    all
}

fn transcripts(file: &str, server_line_end: &str) -> Vec<Recording> {
    let entries: Vec<Value> = serde_json::from_str(file).unwrap();
    let recording = |entry: &Value| {
        let steps = entry["transcript"].as_array().unwrap().iter();
        let steps = steps.filter_map(|step| self::step(step, server_line_end)).collect();
        let name = entry["name"].as_str().unwrap().to_owned();
        Recording { name, steps, exit: entry["exit"].as_i64() }
    };
    entries.iter().map(recording).collect()
}

fn step(step: &Value, server_line_end: &str) -> Option<Step> {
    let mut bytes = bytes(&step[1]);
    Some(match step[0].as_str().unwrap() {
        "exec" if String::from_utf8_lossy(&bytes).contains("p2pstdio") => Step::Start,
        "S" if bytes == b"(no reply)" => return None,
        "S" => {
            bytes.extend(server_line_end.bytes());
            Step::Server(bytes)
        }
        "C" => {
            bytes.push(b'\n');
            Step::Client(bytes)
        }
        "S-data" | "S-rest" => Step::Server(bytes),
        "C-data" => Step::Client(bytes),
        "C-eof" => Step::ClientEnd,
        "S-eof" => Step::ServerEnd,
        "state" | "exec" => return None,
        other => panic!("{other}"),
    })
}

/// Conversations over ssh that were recorded as two streams.
fn whole_conversations() -> Vec<Recording> {
    let entries: Vec<Value> = serde_json::from_str(SSH).unwrap();
    let mut all = Vec::new();
    for entry in &entries {
        for (number, talk) in entry["conversations"].as_array().unwrap().iter().enumerate() {
            let mut server = bytes(&talk["server_to_client"]);
            if server.starts_with(b"xxx") {
                let head =
                    format!("AUTH-SUCCESS {}\nVERSION 4\nDATA 300000\n", super::pair::uuid());
                let content = "x".repeat(300_000);
                let whole = format!("{head}{content}VALID\n");
                assert_eq!(whole.len(), server.len());
                server = whole.into();
            }
            let greeting_end = 1 + server.iter().position(|&byte| byte == b'\n').unwrap();
            let steps = vec![
                Step::Start,
                Step::Server(server[..greeting_end].to_vec()),
                Step::Client(bytes(&talk["client_to_server"])),
                Step::Server(server[greeting_end..].to_vec()),
                Step::ClientEnd,
            ];
            let name = format!("{} ({number})", entry["name"].as_str().unwrap());
            all.push(Recording { name, steps, exit: None });
        }
    }
    all
}

/// Long runs of bytes were recorded as their length; what they were does not matter.
fn bytes(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        let upper = TOKEN.to_uppercase();
        return text.replace("$TOKEN_UPPERCASED", &upper).replace("$TOKEN", TOKEN).into();
    }
    if let Some(text) = value["base64"].as_str() {
        return STANDARD.decode(text).unwrap();
    }
    match value["length"].as_u64() {
        Some(length) => vec![b'x'; usize::try_from(length).unwrap()],
        None => Vec::new(),
    }
}

/// The repository that the greeting names.
pub(super) fn greeter(steps: &[Step]) -> Option<Uuid> {
    let said = Recording::by_server(steps);
    let line = said.split(|&byte| byte == b'\n').next()?;
    Uuid::parse(line.strip_prefix(b"AUTH-SUCCESS ")?.trim_ascii_end()).ok()
}

pub(super) const TOKEN: &str = "5ec3e75ec3e75ec3e7";

const SERVER_OVER_SSH: &str =
    include_str!("../../../../gannet/tests/fixtures/line-server-p2pstdio.json");
const SERVER_WITH_AUTH: &str =
    include_str!("../../../../gannet/tests/fixtures/line-server-auth.json");
const CLUSTER: &str = include_str!("../../../../gannet/tests/fixtures/line-cluster-proxy.json");
const CLIENT: &str = include_str!("../../../../gannet/tests/fixtures/line-client.json");
const SSH: &str = include_str!("../../../../gannet/tests/fixtures/ssh-client.json");
