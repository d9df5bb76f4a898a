//! Expressions, names and logs by chance.

use std::fmt::Write as _;

use crate::harness::Seeded;

/// The repository that knows all others.
pub(super) const KNOWING: &str = "5e5e5e5e-0000-4000-8000-000000000001";

/// Groups that people made up.
pub(super) const GROUPS: &[&str] = &["g1", "g2", "nodes"];

/// Groups that git-annex knows.
pub(super) const STANDARD: &[&str] = &[
    "client",
    "transfer",
    "backup",
    "incrementalbackup",
    "smallarchive",
    "archive",
    "source",
    "manual",
    "public",
    "unwanted",
];

/// How many copies some files shall have.
pub(super) const ATTRIBUTES: &str = "\
*.mp3 annex.numcopies=5
archive/** annex.numcopies=2
/public/* annex.numcopies=9
*.TXT !annex.numcopies
";

/// The name of the `n`th file.
pub(super) fn file(chance: &mut Seeded, n: usize) -> String {
    let dir = pick(
        chance,
        &[
            "",
            "",
            "archive/",
            "x/archive/y/",
            "public/",
            "x/public/",
            "x/public/d/",
            "my pics/",
            "sub/Dir/",
        ],
    );
    let name = pick(
        chance,
        &[
            "a",
            "B",
            "it's",
            "a<b",
            "\u{e9}t\u{e9}",
            "a b",
            "a_b",
            "a+b",
            "[x]",
            "a\\b",
            "a-b",
            "x,y",
            "50%",
        ],
    );
    let extension = pick(chance, &["", ".txt", ".mp3", ".TXT", ".tar.gz"]);
    format!("{dir}{name}{n}{extension}")
}

/// The `n`th key.
pub(super) fn key(chance: &mut Seeded, n: usize) -> String {
    let bound = [3, 3000, 2_000_000, 30_000_000][usize::try_from(chance.below(4)).unwrap()];
    let size = chance.below(bound);
    let hash = |digits| format!("{n:0digits$x}");
    match chance.below(10) {
        0 => format!("SHA256E-s{size}--{}.txt", hash(64)),
        1 => format!("SHA256-s{size}--{}", hash(64)),
        2 => format!("SHA256--{}", hash(64)),
        3 => format!("SHA1-s{size}--{}", hash(40)),
        4 => format!("MD5E-s{size}--{}.mp3", hash(32)),
        5 => format!("BLAKE3_256-s{size}--{}", hash(64)),
        6 => format!("SHA3_512-s{size}--{}", hash(128)),
        7 => format!("WORM-s{size}-m5--name_{n}"),
        8 => format!("URL--http://localhost/{n}"),
        _ => format!("VURL--http://localhost/{n}"),
    }
}

/// What stands in `group.log`.
pub(super) fn groups(chance: &mut Seeded) -> String {
    let mut groups = Vec::new();
    if chance.below(3) > 0 {
        groups.push(pick(chance, STANDARD));
    }
    groups.extend(GROUPS.iter().copied().filter(|_| chance.below(3) == 0));
    if chance.below(12) == 0 {
        groups.push(pick(chance, STANDARD));
    }
    groups.join(" ")
}

/// An expression: a sensible one, a heap of words, or one that cannot be read.
pub(super) fn expression(chance: &mut Seeded) -> String {
    match chance.below(20) {
        0 => pick(chance, &["", "()", "and", "(and)(and)", "not", "standard", "groupwanted"])
            .to_string(),
        1 => format!("{} {} {}", nested(chance, 1), bad(chance), nested(chance, 1)),
        2..=4 => heap(chance),
        5..=6 => format!("{} or {}", pick(chance, &["standard", "groupwanted"]), nested(chance, 1)),
        7..=9 => term(chance),
        _ => nested(chance, 3),
    }
}

/// What stands in a metadata log.
pub(super) fn metadata(chance: &mut Seeded) -> String {
    let mut log = String::new();
    for time in 0..1 + chance.below(3) {
        write!(log, "16000000{time:02}s").unwrap();
        for field in ["tag", "Year", "a-b.c"] {
            if chance.below(3) > 0 {
                write!(log, " {field}").unwrap();
                for _ in 0..1 + chance.below(3) {
                    let value = pick(
                        chance,
                        &[
                            "2016", "10", "9.5", "done", "Done", "!eCB5", "5x", "\u{e9}", "-3",
                            "!KDUp", "NaN",
                        ],
                    );
                    let sign = if chance.below(4) == 0 { '-' } else { '+' };
                    write!(log, " {sign}{value}").unwrap();
                }
            }
        }
        log.push('\n');
    }
    log
}

/// What stands in a web log.
pub(super) fn urls(chance: &mut Seeded) -> String {
    let mut log = String::new();
    for time in 0..1 + chance.below(3) {
        let status = u64::from(chance.below(4) > 0);
        let url = pick(
            chance,
            &[
                "http://example.com/a",
                "https://example.com/B b",
                "yt:https://video/x",
                ":ipfs:Qm",
                "quvi:http://q",
            ],
        );
        writeln!(log, "16000000{time:02}s {status} {url}").unwrap();
    }
    log
}

fn nested(chance: &mut Seeded, depth: u64) -> String {
    if depth == 0 || chance.below(5) == 0 {
        return term(chance);
    }
    let one = nested(chance, depth - 1);
    match chance.below(10) {
        0 => format!("not {one}"),
        1 => format!("not ({one})"),
        2 => format!("({one})"),
        3 => format!("({one} ({}))", nested(chance, depth - 1)),
        4 => format!("{one} {}", nested(chance, depth - 1)),
        5 => format!("({one})({})", nested(chance, depth - 1)),
        6 => format!("{one} and not ({})", nested(chance, depth - 1)),
        7 => format!("({one}) and {}", nested(chance, depth - 1)),
        8 => format!("({one}) or ({})", nested(chance, depth - 1)),
        _ => format!("{one} or {}", nested(chance, depth - 1)),
    }
}

fn heap(chance: &mut Seeded) -> String {
    let words: Vec<_> = (0..3 + chance.below(12))
        .map(|_| match chance.below(2) {
            0 => pick(chance, &["and", "or", "not", "(", ")", "and", "or", "(("]).to_string(),
            _ => term(chance),
        })
        .collect();
    // The last two do not separate words.
    words.join(pick(
        chance,
        &[" ", " ", "  ", "\t", "\u{a0}", "\u{3000}", " ", "\u{2028}", "\u{85}"],
    ))
}

/// What is no term. Brackets of globs that are not closed are missing: git-annex does not come back
/// from looking at a file with them.
fn bad(chance: &mut Seeded) -> String {
    let bad = [
        "foo",
        "foo=1",
        "And",
        "anything=",
        "present=1",
        "include=a(b)",
        "largerthan=.5",
        "largerthan=1kbx",
        "largerthan=8kbits",
        "in=here",
        "mimetype=a/b",
        "copies=+1",
        "copies=1.0",
        "copies=1e3",
        "copies=a:b:1",
        "balanced=g1:",
        "balanced=g1:1:2",
        "metadata==x",
        "metadata=a:b=c",
        "metadata=_a=c",
        "metadata=-a=c",
        "lackingcopies=x",
        "smallerthan=",
        "standard=x",
        "not=",
        "locked",
        "accessedwithin=1d",
    ];
    pick(chance, &bad).to_string()
}

fn term(chance: &mut Seeded) -> String {
    let group = match chance.below(4) {
        0 => pick(chance, STANDARD),
        1 => "nobody",
        _ => pick(chance, GROUPS),
    };
    let count = match chance.below(6) {
        0 => pick(
            chance,
            &["1x", "0x2", "-1", "0", "01", "1_0", "0o3", "1e", "18446744073709551617"],
        )
        .to_string(),
        _ => chance.below(12).to_string(),
    };
    match chance.below(26) {
        0 => "anything".to_owned(),
        1 => "nothing".to_owned(),
        2 => "present".to_owned(),
        3..=5 => format!("{}={}", pick(chance, &["include", "exclude"]), glob(chance)),
        6 => "inpreferreddir".to_owned(),
        7 | 8 => format!("{}={}", pick(chance, &["largerthan", "smallerthan"]), size(chance)),
        9 => format!("copies={count}"),
        10 => {
            let level = pick(chance, &["trusted", "semitrusted", "untrusted", "dead"]);
            format!("copies={level}{}:{count}", pick(chance, &["", "+"]))
        }
        11 => format!("copies={group}:{count}"),
        12 => format!(
            "{}={}",
            pick(chance, &["lackingcopies", "approxlackingcopies"]),
            chance.below(3)
        ),
        13 => format!("inallgroup={group}"),
        14 => format!("onlyingroup={group}"),
        15 => format!("inbackend={}", pick(chance, &["SHA256E", "MD5E", "sha256", "URL", "VURL"])),
        16 => "securehash".to_owned(),
        17 | 18 => metadata_term(chance),
        19 => format!(
            "url={}",
            pick(
                chance,
                &["*", "http://*", "*/B?b", "*/b*", "ipfs:*", "https://video/x", "*[[:space:]]b"]
            )
        ),
        20 => "unused".to_owned(),
        21..=23 => {
            let term =
                pick(chance, &["balanced", "fullybalanced", "sizebalanced", "fullysizebalanced"]);
            let copies = match chance.below(4) {
                0 => String::new(),
                1 => ":lackingcopies".to_owned(),
                2 => format!(":{count}"),
                _ => format!(":{}", chance.below(4)),
            };
            format!("{term}={group}{copies}")
        }
        24 => "standard".to_owned(),
        _ => "groupwanted".to_owned(),
    }
}

fn glob(chance: &mut Seeded) -> String {
    pick(
        chance,
        &[
            "*",
            "*.txt",
            "*.mp3",
            "*.TXT",
            "archive/*",
            "*/archive/*",
            "a?b*",
            "a[!a-z]b*",
            "*[[:space:]]*",
            "*[[:alpha:]]",
            "*[0-9]",
            "[^a]*",
            "*'*",
            "it's*",
            "*<b*",
            "*\\b*",
            "*\\\\b*",
            "a[]a]b*",
            "*[[:upper:]]*",
            "public/*",
            "*//*",
            "a[+--]b*",
            "\u{e9}*",
            "*\u{e9}?",
            "?t?*",
            "*[[]x[]]*",
            "",
            "a*",
            "*%*",
            "*/*/*",
            "*.*.*",
            "`a*",
            "*[[=x=]]*",
            "a[[:punct:]]b*",
            "*[[:foo:]]b*",
            "*,*",
            "x/*/d/*",
        ],
    )
    .to_string()
}

fn size(chance: &mut Seeded) -> String {
    pick(
        chance,
        &[
            "1kb",
            "1KiB",
            "1mb",
            "1m",
            "0.5mb",
            "1mib",
            "8mbit",
            "10megabytes",
            "1e3",
            "1e-1kb",
            "-5",
            "0",
            "0x400",
            "1_000",
            "NaN",
            "Infinity",
            "1.5kilobytes",
            "1ki",
            "2^3",
            "1YiB",
            "15mb/s",
            "1",
            "1.x",
        ],
    )
    .to_string()
}

fn metadata_term(chance: &mut Seeded) -> String {
    let field =
        pick(chance, &["tag", "TAG", "year", "a-b.c", "none", "tag-lastchanged", "lastchanged"]);
    let test = pick(
        chance,
        &[
            "=done",
            "=d*",
            "=*",
            "",
            "=",
            "=x?y",
            "=[0-9]*",
            "=\u{c9}",
            "<5",
            ">5",
            ">=2016",
            "<=2016",
            "<d",
            ">D",
            ">e",
            "<x",
            "=2020-09-13@*",
            ">2020",
            "=(5)",
        ],
    );
    if test.contains('(') {
        format!("metadata={field}=?5?")
    } else {
        format!("metadata={field}{test}")
    }
}

fn pick(chance: &mut Seeded, from: &[&'static str]) -> &'static str {
    from[usize::try_from(chance.below(from.len() as u64)).unwrap()]
}
