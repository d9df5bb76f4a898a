//! What a gateway tells everybody of what it serves, written into its git-annex branch
//! (proxy-cluster §1, §2).

use std::collections::BTreeSet;

use gannet_core::{Clock, ClusterUuid, Result, Uuid};

use crate::durable::sync_dir;
use crate::git::Git;
use crate::journal::{self, Journal, read_committed_log};
use crate::logs::forms::Form;
use crate::logs::{cluster, proxy, uuid};
use crate::settings::Settings;
use crate::step::Step;

/// Something that a gateway tells everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// All that it serves under other uuids than its own, and by which names. Private repositories
    /// are left out. A name must have no white space.
    Serves(BTreeSet<(Uuid, String)>),
    /// All nodes of a cluster.
    Nodes(ClusterUuid, BTreeSet<Uuid>),
    /// What people call a cluster.
    Description(ClusterUuid, String),
}

/// Writes these down. They are durable, and visible to every git-annex process, when it returns; a
/// later commit shows them to others. One result for each: whether the log had to be changed.
///
/// # Errors
/// When it cannot be written. Those before the one that failed may have been written.
pub(crate) fn publish(
    settings: &Settings,
    git: &Git,
    clock: &dyn Clock,
    notices: &[Notice],
) -> Result<Vec<bool>> {
    let _lock = journal::lock(settings)?;
    let session = git.session()?;
    let mut outcomes = Vec::with_capacity(notices.len());
    for notice in notices {
        let (path, form) = notice.log();
        // Who is private does not show in the branch, as a gateway as little as in other logs.
        let private = matches!(notice, Notice::Serves(_)) && settings.is_private(&settings.uuid);
        let journal = Journal::new(settings, private);
        let log = match journal.read(path)? {
            Some(log) => log,
            None if private => Vec::new(),
            None => read_committed_log(&session, path)?,
        };
        let name = notice.about(settings);
        let value = notice.value(settings);
        let changed = form.with(&log, name.as_str().as_bytes(), value.as_bytes(), clock.wall());
        if let Some(log) = &changed {
            journal.write(path, log)?;
            sync_dir(Step::SyncJournal, journal.dir())?;
        }
        outcomes.push(changed.is_some());
    }
    Ok(outcomes)
}

impl Notice {
    fn log(&self) -> (&'static [u8], Form) {
        match self {
            Self::Serves(_) => (proxy::PATH, Form::ByName),
            Self::Nodes(..) => (cluster::PATH, Form::ByName),
            Self::Description(..) => (uuid::PATH, Form::ByUuid),
        }
    }

    fn about<'a>(&'a self, settings: &'a Settings) -> &'a Uuid {
        match self {
            Self::Serves(_) => &settings.uuid,
            Self::Nodes(cluster, _) | Self::Description(cluster, _) => cluster.as_uuid(),
        }
    }

    fn value(&self, settings: &Settings) -> String {
        let words = |words: Vec<String>| words.join(" ");
        match self {
            Self::Serves(pairs) => {
                let public = pairs.iter().filter(|(uuid, _)| !settings.is_private(uuid));
                words(public.map(|(uuid, name)| format!("{uuid}:{name}")).collect())
            }
            Self::Nodes(_, nodes) => {
                let public = nodes.iter().filter(|node| !settings.is_private(node));
                words(public.map(Uuid::to_string).collect())
            }
            Self::Description(_, text) => uuid::one_line(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::branch::commit_journal;
    use crate::init::scratch::{At, Scratch, uuid};

    fn cluster(byte: u8) -> ClusterUuid {
        ClusterUuid::from_random([byte; 16])
    }

    fn tell(scratch: &Scratch, at: i64, notices: &[Notice]) -> Vec<bool> {
        publish(&scratch.settings(), &scratch.git, &At(at), notices).unwrap()
    }

    fn committed(scratch: &Scratch, path: &str) -> String {
        commit_journal(&scratch.settings(), &scratch.git, &At(1000)).unwrap();
        scratch.run(&["show", &format!("git-annex:{path}")])
    }

    #[test]
    fn what_is_told_replaces_what_was_told() {
        let scratch = Scratch::new(true);
        let own = scratch.settings().uuid;
        let serves = |pairs: &[(u8, &str)]| {
            let pair = |(byte, name): &(u8, &str)| (uuid(*byte), (*name).to_owned());
            Notice::Serves(pairs.iter().map(pair).collect())
        };
        assert_eq!(tell(&scratch, 5, &[serves(&[])]), [false], "it never served anything");
        let [c, d] = [cluster(1), cluster(2)];
        let nodes = Notice::Nodes(c.clone(), [uuid(9), uuid(3)].into());
        let named = Notice::Description(c.clone(), "my\ncluster ".to_owned());
        let all = [serves(&[(3, "b"), (3, "a"), (1, "c")]), nodes.clone(), named];
        assert_eq!(tell(&scratch, 10, &all), [true; 3]);
        assert_eq!(tell(&scratch, 11, &all), [false; 3]);
        let expected = format!("10s {own} {}:c {}:a {}:b", uuid(1), uuid(3), uuid(3));
        assert_eq!(committed(&scratch, "proxy.log"), expected);
        assert_eq!(tell(&scratch, 12, &all), [false; 3]);
        let other = Notice::Nodes(d.clone(), [uuid(3)].into());
        assert_eq!(tell(&scratch, 12, &[serves(&[]), other]), [true; 2]);
        assert_eq!(committed(&scratch, "proxy.log"), format!("12s {own}"), "then a space");
        let expected = format!(
            "10s {c} {} {}\n12s {d} {}",
            uuid(3),
            uuid(9),
            uuid(3),
            c = c.as_uuid(),
            d = d.as_uuid()
        );
        assert_eq!(committed(&scratch, "cluster.log"), expected);
        let log = committed(&scratch, "uuid.log");
        assert!(
            log.lines().any(|line| line == format!("{} my cluster timestamp=10s", c.as_uuid())),
            "{log}"
        );
        assert!(log.contains("scratch"), "{log}");
    }

    #[test]
    fn what_is_private_stays_so() {
        let scratch = Scratch::new(true);
        scratch.run(&["config", "remote.x.annex-uuid", uuid(3).as_str()]);
        scratch.run(&["config", "remote.x.annex-private", "true"]);
        let pairs = [(uuid(3), "x".to_owned()), (uuid(4), "y".to_owned())];
        let nodes = Notice::Nodes(cluster(1), [uuid(3), uuid(4)].into());
        tell(&scratch, 10, &[Notice::Serves(pairs.clone().into()), nodes]);
        for log in ["proxy.log", "cluster.log"] {
            let text = committed(&scratch, log);
            assert!(text.contains(uuid(4).as_str()) && !text.contains(uuid(3).as_str()), "{text}");
        }
        scratch.run(&["config", "annex.private", "true"]);
        assert_eq!(
            tell(&scratch, 20, &[Notice::Serves(pairs[1..].iter().cloned().collect())]),
            [true]
        );
        assert!(!committed(&scratch, "proxy.log").contains("20s"));
        let text = fs::read_to_string(scratch.annex().join("journal-private/proxy.log")).unwrap();
        assert_eq!(text, format!("20s {} {}:y\n", scratch.settings().uuid, uuid(4)));
    }
}
