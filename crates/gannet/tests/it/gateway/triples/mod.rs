//! Every triple of versions: a client, Gannet as the proxy or the cluster between, and a node.
//! What a version lacks is bridged or refused cleanly; the table of it all is printed, and must be
//! the expected one.
//!
//! In `memory` all three are ours, in all versions each; in `real` the nodes are programs of their
//! own, of git-annex too, whose clocks are ahead or behind; in `of_git_annex` the client is the
//! real one, and so are the nodes, and Gannet is reached through both of its doors.

use std::fmt;

use gannet_net::remote::http::HttpVersion;
use gannet_net::serve::p2p::Version;

mod ends;
mod front;
mod memory;
mod node;
mod of_git_annex;
mod real;
mod things;

/// How two of them talk, and the newest version in which they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Line(Version),
    Http(Version),
}

impl Way {
    fn all() -> impl Iterator<Item = Self> {
        let lines = Version::ALL.into_iter().map(Self::Line);
        lines.chain(Version::ALL.into_iter().map(Self::Http))
    }

    fn newest(self) -> Version {
        match self {
            Self::Line(newest) | Self::Http(newest) => newest,
        }
    }

    fn is_line(self) -> bool {
        matches!(self, Self::Line(_))
    }

    /// Whether it can be said after the bytes of a content that they are not to be trusted.
    fn says_invalid(self) -> bool {
        self.is_line() && self.newest().tells_validity()
    }

    /// Whether it can be asked how much is held of a content.
    fn has_offsets(self) -> bool {
        self != Self::Http(Version::V0)
    }

    /// The same, spoken by somebody who is `limited` himself.
    fn limited(self, limit: Version) -> Self {
        match self {
            Self::Line(newest) => Self::Line(newest.min(limit)),
            Self::Http(newest) => Self::Http(newest.min(limit)),
        }
    }
}

/// The version of the HTTP API that says as much.
fn http_version(version: Version) -> HttpVersion {
    let at = Version::ALL.iter().position(|&other| other == version);
    HttpVersion::ALL[at.expect("one of all versions")]
}

/// What stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Proxy,
    Cluster,
}

/// Whose programs the nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Memory,
    Gannet,
    GitAnnex,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
struct Triple {
    client: Way,
    between: Between,
    /// Gannet in the middle speaks no newer version to anybody, where it can be told so.
    limit: Version,
    maker: Maker,
    node: Way,
}

impl Triple {
    /// How the client and Gannet talk. Nobody limits our HTTP door.
    fn near(&self) -> Way {
        if self.client.is_line() { self.client.limited(self.limit) } else { self.client }
    }

    /// How Gannet and the node talk.
    fn far(&self) -> Way {
        self.node.limited(self.limit)
    }

    /// Whether a put may be broken off: at the HTTP server of git-annex that occupies the key for
    /// ever.
    fn breaks_puts(&self) -> bool {
        self.far().is_line() || self.maker != Maker::GitAnnex
    }

    /// How each of [`things::THINGS`] must have been done.
    fn expected(&self) -> Vec<&'static str> {
        let (near, far) = (self.near(), self.far());
        let (asks, link) = (near.newest(), far.newest());
        let pick = |has: bool, word, other| if has { word } else { other };
        let resumed = near.has_offsets() && far.has_offsets() && self.breaks_puts();
        // A body of HTTP that is too short says no more than a connection that broke, which is
        // also what Gannet itself does in version 0. Others say nothing then, and the hash tells.
        let is_silent = link == Version::V0 && self.maker != Maker::Gannet;
        let doubt_arrives = far.says_invalid() || is_silent;
        let doubt = pick(near.says_invalid() && doubt_arrives, "INVALID", "cut short");
        let cluster = self.between == Between::Cluster;
        let listed = pick(cluster && asks.lists_others(), "listed", "yes");
        vec![
            pick(resumed, "resumed", "whole"),
            listed,
            pick(near.says_invalid() && far.says_invalid(), "INVALID", "cut short"),
            "refused",
            "valid",
            doubt,
            doubt,
            "yes",
            pick(cluster, "none", "yes"),
            listed,
            pick(asks.has_deadlines(), pick(link.has_deadlines(), "yes", "by ours"), "refused"),
            pick(asks.has_data_present(), pick(link.has_data_present(), "yes", "asked"), "asked"),
            pick(link.lists_others(), pick(asks.lists_others(), "both", "ours"), "none"),
        ]
    }
}

impl fmt::Display for Triple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |way: Way| match way {
            Way::Line(version) => format!("line {}", version.number()),
            Way::Http(version) => format!("http {}", version.number()),
        };
        let between = format!("{:?} {}", self.between, self.limit.number());
        let node = format!("{:?} {}", self.maker, way(self.node));
        write!(f, "{:<7} {between:<10} {node:<16}", way(self.client))
    }
}

/// What came of a triple, one word for each thing.
struct Row {
    triple: Triple,
    outcomes: Vec<&'static str>,
}

/// Prints them all, and fails if one is not as expected.
#[track_caller]
fn judge(rows: &[Row]) {
    let words =
        |words: &[&str]| -> String { words.iter().map(|word| format!(" {word:<10}")).collect() };
    println!("{:<7} {:<10} {:<16}{}", "client", "between", "node", words(&things::THINGS));
    for row in rows {
        println!("{}{}", row.triple, words(&row.outcomes));
    }
    let wrong: Vec<_> = rows.iter().filter(|row| row.outcomes != row.triple.expected()).collect();
    for row in &wrong {
        let (is, expected) = (words(&row.outcomes), words(&row.triple.expected()));
        eprintln!("{}\n  is        {is}\n  should be {expected}", row.triple);
    }
    assert!(wrong.is_empty(), "{} of {} rows are not as expected", wrong.len(), rows.len());
}
