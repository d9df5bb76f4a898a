//! Every pair of versions of the line protocol: our client with our server and with the real
//! git-annex-shell, and the real git-annex with our server. What a version lacks is bridged, or
//! refused cleanly; the table of it all is printed, and must be the expected one.
//!
//! A server is limited by a filter that asks it for no newer version than it is to speak, and
//! writes down what else it is told: so the requests themselves must be of that version, too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;

use gannet_net::serve::p2p::Version;

use crate::harness::World;
use crate::harness::server::GANNET;

mod of_gannet;
mod of_git_annex;

#[test]
fn every_pair_does_what_its_version_can() {
    let mut rows = Vec::new();
    thread::scope(|scope| {
        let parties = [
            scope.spawn(|| of_gannet::rows(Party::Gannet)),
            scope.spawn(|| of_gannet::rows(Party::GitAnnex)),
            scope.spawn(of_git_annex::rows),
        ];
        for party in parties {
            rows.extend(party.join().expect("a party that came to its end"));
        }
    });
    let table: String = rows.iter().map(Row::to_string).collect();
    println!("{}{table}", Row::head());
    assert_eq!(rows.len(), 5 * 5 + 5 * 5 + 5, "client 0 to 4, server 0 to 4; git-annex has one");
    let wrong: Vec<_> = rows.iter().filter(|row| row.outcomes != row.expected()).collect();
    for row in &wrong {
        eprintln!("{row}expected {:?}", row.expected());
    }
    assert!(wrong.is_empty(), "{} of {} rows are not as expected", wrong.len(), rows.len());
}

/// Who is at one of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Gannet,
    GitAnnex,
}

/// What was done by a pair, and how: one word for each thing.
struct Row {
    client: (Party, Version),
    server: (Party, Version),
    outcomes: Vec<&'static str>,
}

impl Row {
    /// What each pair does.
    const THINGS: [&'static str; 8] = [
        "put, resumed",
        "get, resumed",
        "presence",
        "lock, drop",
        "remove before",
        "data present",
        "doubt",
        "bypass",
    ];

    /// The version that both speak.
    fn spoken(&self) -> Version {
        self.client.1.min(self.server.1)
    }

    /// How each thing must have been done: what the version lacks is bridged or refused.
    fn expected(&self) -> Vec<&'static str> {
        let spoken = self.spoken();
        let theirs = self.client.0 == Party::GitAnnex;
        let pick = |has: bool, word, other| if has { word } else { other };
        vec![
            "yes",
            "yes",
            "yes",
            "yes",
            // The real client removes all the same.
            pick(spoken.has_deadlines(), "yes", pick(theirs, "REMOVE", "refused")),
            pick(theirs, "-", pick(spoken.has_data_present(), "yes", "asked only")),
            pick(theirs, "-", pick(spoken.tells_validity(), "INVALID", "cut short")),
            pick(theirs, "-", pick(spoken.lists_others(), "yes", "left out")),
        ]
    }

    fn head() -> String {
        let things: String = Self::THINGS.iter().map(|thing| format!(" {thing:<13}")).collect();
        format!("{:<12} {:<12} {:>6}{things}\n", "client", "server", "spoken")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (party, version) in [self.client, self.server] {
            let name = if party == Party::Gannet { "gannet" } else { "git-annex" };
            write!(f, "{:<12} ", format!("{name} {}", version.number()))?;
        }
        write!(f, "{:>6}", self.spoken().number())?;
        for outcome in &self.outcomes {
            write!(f, " {outcome:<13}")?;
        }
        writeln!(f)
    }
}

/// A program in the place of git-annex-shell that speaks no newer version than it is to.
pub(crate) struct Limited {
    /// What to run.
    pub(crate) program: PathBuf,
    /// Where it writes down what it is told.
    pub(crate) heard: PathBuf,
}

impl Limited {
    pub(crate) fn new(world: &World, party: Party, newest: Version) -> Self {
        let shell = match party {
            Party::Gannet => format!("'{GANNET}' shell"),
            Party::GitAnnex => "git-annex-shell".to_owned(),
        };
        Self::with(world, &shell, newest)
    }

    /// The same with that shell behind it: words as `sh` reads them.
    pub(crate) fn with(world: &World, shell: &str, newest: Version) -> Self {
        let (program, heard) = (world.fresh("shell"), world.fresh("heard"));
        // The first version knows of no others: it does not understand when it is asked for one.
        let version = match newest {
            Version::V0 => "WHICH".to_owned(),
            newest => format!("VERSION {}", newest.number()),
        };
        let script = FILTER
            .replace("@shell@", shell)
            .replace("@newest@", &newest.number().to_string())
            .replace("@version@", &version)
            .replace("@heard@", text(&heard));
        std::fs::write(&program, script).expect("write a script");
        world.ok(world.path(), &["chmod", "+x", text(&program)]);
        Self { program, heard }
    }

    /// Whether it was told a line that begins like this.
    pub(crate) fn heard(&self, message: &str) -> bool {
        let heard = std::fs::read(&self.heard).unwrap_or_default();
        let mut lines = heard.split(|&byte| byte == b'\n');
        lines.any(|line| line.ends_with(message.as_bytes()) || line.starts_with(message.as_bytes()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

/// What comes after the first line is passed on as it is. The script holds nothing open by which
/// the end of the server could be hidden from the client.
const FILTER: &str = "\
#!/bin/sh
[ \"$1\" = p2pstdio ] || exec @shell@ \"$@\"
exec 3>&1 4<&0 >/dev/null
{
    exec 3>&-
    IFS= read -r asked
    case $asked in
    'VERSION '[0-9]) [ \"${asked#VERSION }\" -le @newest@ ] || asked='@version@' ;;
    esac
    printf '%s\\n' \"$asked\"
    exec tee -a '@heard@'
} <&4 | @shell@ \"$@\" >&3 3>&- 4<&- &
exec 3>&- 4<&-
wait
";
