//! Expressions of preferred content, which whoever can push a git-annex branch can write.

use std::collections::BTreeMap;
use std::sync::Arc;

use gannet_cluster::wanted::{Outcome, Question, explain, needs_sizes, problems, requires, wants};
use gannet_core::{AssociatedFile, Book, Facts, Key, Uuid};

/// Lines: what is preferred, what is required, what the group wants, the name of the file.
pub(crate) fn expressions(text: &[u8]) {
    let mut lines = text.splitn(4, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let [preferred, required, of_group] =
        [line(), line(), line()].map(|line| String::from_utf8_lossy(line).into_owned());
    let file = AssociatedFile(line().to_vec().into());
    let uuids = ["a", "b", "c"].map(|name| Uuid::parse(name.as_bytes()).expect("a uuid"));
    let mut book = Book::default();
    for (uuid, groups) in uuids.iter().zip([&["g", "client"][..], &["g"], &["g", "archive"]]) {
        let groups = groups.iter().map(|&group| group.to_owned());
        book.groups.insert(uuid.clone(), groups.collect());
    }
    book.group_preferred.insert("g".to_owned(), of_group);
    book.max_sizes = uuids.iter().cloned().zip([1000, 2000, 500]).collect();
    book.preferred.insert(uuids[0].clone(), preferred.clone());
    book.required.insert(uuids[0].clone(), required);
    drop(problems(&book));
    let sizes: BTreeMap<_, _> = uuids.iter().cloned().zip([900, 100, 500]).collect();
    let key = Key::parse(b"SHA256E-s200--41b3fbbe4d8d6bbd.txt").expect("a key");
    let facts = Facts {
        book: Arc::new(book),
        holders: uuids[1..].iter().cloned().collect(),
        metadata: [("tag".to_owned(), [b"12 x".to_vec(), text.to_vec()].into())].into(),
        urls: ["http://localhost/a".to_owned()].into(),
        ..Facts::default()
    };
    for gone in [false, true] {
        let (repository, key, file) = (&uuids[0], &key, &file);
        let question = Question { repository, key, file, facts: &facts, sizes: &sizes, gone };
        let explained = explain(&question, None);
        assert_eq!(explained.wanted, wants(&question), "an explanation explains the answer");
        assert!(!explained.to_string().is_empty());
        let (_, _) = (requires(&question), needs_sizes(repository, &facts.book));
        // A parenthesis of its own would end ours.
        if !preferred.contains(')') {
            let [yes, no] = ["(", "not ("].map(|start| {
                let all = explain(&question, Some(&format!("{start}{preferred})")));
                all.parts.into_iter().map(|part| part.outcome).next().expect("a part")
            });
            if let (Outcome::Wanted(yes), Outcome::Wanted(no)) = (yes, no) {
                assert_ne!(yes, no, "the opposite is the opposite");
            }
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let all: Vec<_> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let pairs = SEEDS.windows(3).map(|seeds| seeds.join("\n").into_bytes());
    all.iter().cloned().chain(pairs).collect()
}

const SEEDS: &[&str] = &[
    "standard or include=*.mp3\nstandard\ngroupwanted or standard\nx/archive/y",
    "anything or not (anything and nothing)\nnot present",
    "(nothing (anything or anything)) not (()",
    "not (inallgroup=client and copies=client:2) and onlyingroup=g\n\n\npublic/d/f",
    "groupwanted groupwanted\n\nnot fullybalanced=g:2 or sizebalanced=g:lackingcopies",
    "balanced=g fullysizebalanced=g:2 approxlackingcopies=1 lackingcopies=-0x1",
    "metadata=tag>=1.5e1 or metadata=TAG=[!a-c]*[[:space:]]? or url=*/a unused",
    "largerthan=1.5kib smallerthan=8mbit inbackend=SHA256E securehash inpreferreddir",
    "exclude=[[=a=]]\\[]-]//it's<b> copies=semitrusted+:1 copies=archive:1 present",
];
