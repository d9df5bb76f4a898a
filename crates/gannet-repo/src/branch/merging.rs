//! Merges what others have in their git-annex branches, once it was fetched or pushed (repository §7.5).

use std::collections::BTreeSet;

use gannet_core::{Clock, Result};
use gix::ObjectId;

use super::{TRIES_MAX, ensure, moving, unite};
use crate::git::{BRANCH, Found, Git, Session};
use crate::journal;
use crate::settings::Settings;

/// What became of the git-annex branches of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// References that had something new, which is in our branch now.
    pub merged: Vec<String>,
    /// References that must not be merged here, and why.
    pub left: Vec<(String, &'static str)>,
}

/// Unites the git-annex branch with those of others that are in this repository: `git-annex` of
/// remotes, and what was pushed beside ours. What they have committed counts as if it had been
/// recorded here. With `annex.merge-annex-branches=false` nothing is done.
///
/// # Errors
/// When something cannot be read, or the branch not be written. What was merged before stays so.
pub(crate) fn merge_fetched(settings: &Settings, git: &Git, clock: &dyn Clock) -> Result<Merged> {
    let mut outcome = Merged::default();
    if !settings.merge_annex_branches {
        return Ok(outcome);
    }
    let _lock = journal::lock(settings)?;
    let session = git.session()?;
    let mut seen = BTreeSet::new();
    for (name, id) in session.references()? {
        let theirs = ObjectId::from_hex(id.as_bytes());
        let is_branch = name.ends_with(b"/git-annex") && name != BRANCH.as_bytes();
        let Ok(theirs) = theirs else { continue };
        if !is_branch || !seen.insert(theirs) {
            continue;
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        match merge(settings, &session, clock, &name, theirs)? {
            Merge::Known => {}
            Merge::New => outcome.merged.push(name),
            Merge::Left(why) => outcome.left.push((name, why)),
        }
    }
    Ok(outcome)
}

enum Merge {
    Known,
    New,
    Left(&'static str),
}

/// The caller holds the lock of the journal.
fn merge(
    settings: &Settings,
    session: &Session,
    clock: &dyn Clock,
    name: &str,
    theirs: ObjectId,
) -> Result<Merge> {
    for _ in 0..TRIES_MAX {
        let tip = ensure(settings, session, clock)?;
        for (path, why) in NOT_FOR_US {
            if read(session, tip, path)? != read(session, theirs, path)? {
                return Ok(Merge::Left(why));
            }
        }
        let mut draft = session.draft(Some(tip))?;
        session.changes(Some(tip), theirs, |_| true, &mut |path, ours, theirs| {
            if theirs.is_empty() || matches!(session.find(tip, path)?, Found::Other) {
                return Ok(());
            }
            let united = unite(path, theirs, ours);
            if united == ours { Ok(()) } else { draft.put(path, &united) }
        })?;
        if draft.is_empty() {
            return Ok(Merge::Known);
        }
        draft.also_after(theirs);
        let short = name.strip_prefix("refs/").unwrap_or(name);
        let short = short.strip_prefix("remotes/").unwrap_or(short);
        let message = format!("merging {short} into git-annex");
        let now = clock.wall();
        let next = draft.commit(&message, now, settings)?;
        if session.move_branch(Some(tip), next, &message, now, settings)? {
            return Ok(Merge::New);
        }
    }
    Err(moving(TRIES_MAX))
}

fn read(session: &Session, commit: ObjectId, path: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
    let Found::Blob(text) = session.find(commit, path)? else { return Ok(BTreeSet::new()) };
    // What was tuned, or done, counts, and not in which repository, or when.
    let kind = |line: &[u8]| line.split(|&byte| byte == b' ').nth(1).map(<[u8]>::to_vec);
    Ok(text.split(|&byte| byte == b'\n').filter_map(kind).collect())
}

/// Files that must be alike, as git-annex treats the whole branch differently by them.
const NOT_FOR_US: [(&[u8], &str); 2] = [
    (b"difference.log", "it is of a repository that was tuned in another way"),
    (b"transitions.log", "something was forgotten there or here: let `git annex merge` do it"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::commit_journal;
    use crate::init::scratch::{At, Scratch, key, uuid};
    use crate::journal::{Change, Claim, record};
    use crate::logs::location::Status;

    fn note(scratch: &Scratch, at: i64, name: &str, holder: u8) {
        let claim = Claim::Is(Status::Present);
        let change = Change { key: key(name), uuid: uuid(holder), claim };
        record(&scratch.settings(), &scratch.git, &At(at), &[change]).unwrap();
        commit_journal(&scratch.settings(), &scratch.git, &At(at)).unwrap();
    }

    fn fetch(scratch: &Scratch, from: &Scratch, to: &str) {
        let refs = format!("+git-annex:{to}");
        scratch.run(&["fetch", "-q", from.path.to_str().unwrap(), &refs]);
    }

    fn merge(scratch: &Scratch) -> Merged {
        scratch.git.forget();
        merge_fetched(&scratch.settings(), &scratch.git, &At(100)).unwrap()
    }

    #[test]
    fn what_others_know_is_known_here_afterwards() {
        let (here, there, third) = (Scratch::new(true), Scratch::new(false), Scratch::new(true));
        note(&here, 10, "both", 1);
        note(&there, 20, "both", 2);
        note(&there, 20, "theirs", 2);
        note(&third, 30, "both", 3);
        assert_eq!(merge(&here), Merged::default());
        fetch(&here, &there, "refs/remotes/there/git-annex");
        fetch(&here, &there, "refs/remotes/again/git-annex");
        fetch(&here, &third, "refs/heads/synced/git-annex");
        fetch(&here, &third, "refs/remotes/third/other");
        let merged = ["refs/heads/synced/git-annex", "refs/remotes/again/git-annex"];
        let expected = Merged { merged: merged.map(str::to_owned).to_vec(), left: Vec::new() };
        assert_eq!(merge(&here), expected);
        let tip = here.run(&["rev-parse", "git-annex"]);
        assert_eq!(merge(&here), Merged::default());
        assert_eq!(here.run(&["rev-parse", "git-annex"]), tip, "nothing is new");
        let said = here.run(&["log", "--format=%s", "--first-parent", "-2", "git-annex"]);
        assert_eq!(
            said,
            "merging again/git-annex into git-annex\nmerging heads/synced/git-annex into git-annex"
        );
        here.run(&["merge-base", "--is-ancestor", "refs/remotes/there/git-annex", "git-annex"]);
        here.run(&["fsck", "--strict"]);
        let names = here.run(&["ls-tree", "-r", "--name-only", "git-annex"]);
        let path = names.lines().find(|path| path.ends_with("both.log")).unwrap();
        let log = here.run(&["show", &format!("git-annex:{path}")]);
        let expected =
            [(10, 1), (20, 2), (30, 3)].map(|(at, who)| format!("{at}s 1 {}", uuid(who)));
        assert_eq!(
            log.lines().collect::<BTreeSet<_>>(),
            expected.iter().map(|line| &**line).collect()
        );
        assert!(names.contains("theirs.log"));
        assert_eq!(here.run(&["show", "git-annex:uuid.log"]).lines().count(), 3);
    }

    #[test]
    fn what_git_annex_treats_in_another_way_is_left_to_it() {
        let (here, there) = (Scratch::new(true), Scratch::new(true));
        note(&there, 20, "theirs", 2);
        let session = there.git.session().unwrap();
        let tip = session.tip().unwrap();
        let mut draft = session.draft(tip).unwrap();
        draft.put(b"transitions.log", b"ForgetGitHistory 1s\n").unwrap();
        let next = draft.commit("forget", At(30).wall(), &there.settings()).unwrap();
        assert!(
            session.move_branch(tip, next, "forget", At(30).wall(), &there.settings()).unwrap()
        );
        fetch(&here, &there, "refs/remotes/there/git-annex");
        let outcome = merge(&here);
        assert!(outcome.merged.is_empty() && outcome.left.len() == 1, "{outcome:?}");
        assert!(!here.run(&["ls-tree", "-r", "--name-only", "git-annex"]).contains("theirs"));
    }

    #[test]
    fn the_owner_may_want_no_merging() {
        let (here, there) = (Scratch::new(true), Scratch::new(true));
        fetch(&here, &there, "refs/remotes/there/git-annex");
        here.run(&["config", "annex.merge-annex-branches", "false"]);
        assert_eq!(merge(&here), Merged::default());
        here.run(&["config", "annex.merge-annex-branches", "true"]);
        assert_eq!(merge(&here).merged, ["refs/remotes/there/git-annex"]);
    }
}
