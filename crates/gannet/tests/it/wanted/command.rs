//! `gannet matches` explains what is wanted.

use crate::harness::server::GANNET;
use crate::harness::{Repo, World};

#[test]
fn an_answer_comes_with_its_reasons() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let here = repo.uuid();
    world.annex(repo.path(), &["group", ".", "archive", "--quiet"]);
    world.annex(repo.path(), &["wanted", ".", "standard", "--quiet"]);
    let ask = |words: &[&str]| {
        let said = world.run(repo.path(), &[&[GANNET, "matches", repo.arg()], words].concat());
        (said.code, said.out() + &said.err())
    };
    let before = repo.inventory();
    for (words, code, texts) in [
        (
            &["include=*.txt and copies=2", "a.txt"][..],
            1,
            &[
                "not wanted\n",
                "\n  + include=*.txt: it is called `a.txt`\n",
                "\n  - copies=2: it is in 5e5e5e5e",
            ][..],
        ),
        (
            &["include=*.txt", &repo.path().join("big.txt").display().to_string()],
            0,
            &["\nexpression: include=*.txt\n  holds\n"],
        ),
        (&["exclude=*", crate::harness::ABSENT], 0, &["\n  + exclude=*: it has no name\n"]),
        (
            &["", "a.txt"],
            1,
            &[
                "preferred content: standard\n",
                "as for all of the group archive",
                "copies=archive:1: 1 of them",
            ],
        ),
        (&["", "a.txt", "--gone"], 0, &["\n    - copies=archive:1: 0 of them\n"]),
        (
            &["present", "a.txt", "--by", "00000000-0000-0000-0000-000000000001"],
            1,
            &["\n  - present: "],
        ),
        (&["include=x or foo", "a.txt"], 2, &["is read as `present`: `foo` is not a term"]),
        (&["anything", "no-such-file"], 2, &["`no-such-file` is no key"]),
    ] {
        let (said, text) = ask(words);
        assert_eq!(said, Some(code), "{words:?}: {text}");
        for part in texts {
            assert!(text.contains(part), "{words:?}: no `{part}` in {text}");
        }
    }
    assert_eq!(before, repo.inventory(), "{here} stays as it is");
}
