//! Words that must not stand where they stand.

use super::Offence;
use super::tree::Tree;

/// Finds clocks, files and sockets outside of their rooms, unfinished work, and paths of
/// somebody's machine.
pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (path, text) in &tree.files {
        // The rules themselves name what they forbid.
        if path.starts_with("xtask/src/tidy/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            for dir in MACHINE_PATHS.iter().filter(|dir| names_path(line, dir)) {
                let what = format!("names {dir}, a path of one machine");
                offences.push(Offence::new(format!("{path}:{number}"), what));
            }
        }
        if path.ends_with(".rs") {
            check_rust(path, text, &mut offences);
        }
    }
    offences
}

fn check_rust(path: &str, text: &str, offences: &mut Vec<Offence>) {
    let rules = RULES.iter().filter(|rule| rule.applies_to(path));
    let rules: Vec<&Rule> = rules.collect();
    let mut in_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
    for (number, line) in (1..).zip(text.lines()) {
        // Tests stand at the end of a file.
        in_tests |= line == "mod tests {";
        let code = line.split("//").next().unwrap_or_default();
        for rule in rules.iter().filter(|rule| !in_tests || rule.tests_too) {
            if let Some(word) = rule.words.iter().find(|word| stands_in(code, word)) {
                let what = format!("{word}: {}", rule.why);
                offences.push(Offence::new(format!("{path}:{number}"), what));
            }
        }
    }
}

struct Rule {
    words: &'static [&'static str],
    /// Directories that the rule is about, with a `/` at their end.
    within: &'static [&'static str],
    /// Directories in which it does not hold.
    except: &'static [&'static str],
    tests_too: bool,
    why: &'static str,
}

impl Rule {
    fn applies_to(&self, path: &str) -> bool {
        self.within.iter().any(|dir| path.starts_with(dir))
            && !self.except.iter().any(|dir| path.starts_with(dir))
    }
}

/// Tells whether `word` stands in `code` as a whole: `tokio` is not in `tokio_rustls`.
fn stands_in(code: &str, word: &str) -> bool {
    let part_of_word = |it: char| it.is_alphanumeric() || it == '_';
    let starts_as_word = word.starts_with(part_of_word);
    let ends_as_word = word.ends_with(part_of_word);
    code.match_indices(word).any(|(at, _)| {
        let joined_before = starts_as_word && code[..at].ends_with(part_of_word);
        let joined_after = ends_as_word && code[at + word.len()..].starts_with(part_of_word);
        !joined_before && !joined_after
    })
}

/// Tells whether a path that begins with `dir` stands in `line`.
fn names_path(line: &str, dir: &str) -> bool {
    let inside_path = |it: char| it.is_alphanumeric() || "._-/$}*".contains(it);
    line.match_indices(dir).any(|(at, _)| !line[..at].ends_with(inside_path))
}

const RULES: [Rule; 4] = [
    Rule {
        words: &["#[ignore", "todo!", "dbg!", "unimplemented!"],
        within: &["crates/", "testkit/", "xtask/", "tests/"],
        except: &[],
        tests_too: true,
        why: "unfinished work stays outside of the tree",
    },
    Rule {
        words: &["SystemTime::now", "Instant::now", "std::time::Instant", "clock_gettime"],
        within: &["crates/"],
        // These two wait with the runtime's timers, which tests can turn.
        except: &["crates/gannet/", "crates/gannet-net/", "crates/gannet-cluster/"],
        tests_too: false,
        why: "only the program reads clocks; this room is told the time",
    },
    Rule {
        words: &["SystemTime::now", "std::time::Instant", "clock_gettime"],
        within: &["crates/gannet-net/", "crates/gannet-cluster/"],
        except: &[],
        tests_too: false,
        why: "only the program reads clocks; this room has the runtime's timers",
    },
    Rule {
        words: &["std::fs", "std::net", "std::env", "std::process", "std::thread", "tokio"],
        within: &["crates/gannet-core/src/", "crates/gannet-wire/src/"],
        except: &[],
        tests_too: false,
        why: "this room is pure: no files, no sockets, no runtime",
    },
];

const MACHINE_PATHS: [&str; 3] = ["/work/", "/tmp/v", "/root/"];

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn clocks_are_for_the_program() {
        let code = "\nfn now() { SystemTime::now(); }";
        assert_eq!(
            offences("crates/gannet-repo/src/a.rs", code),
            ["crates/gannet-repo/src/a.rs:2"]
        );
        assert_eq!(offences("crates/gannet-net/src/a.rs", code).len(), 1);
        assert_eq!(offences("crates/gannet-net/src/a.rs", "Instant::now()").len(), 0);
        assert_eq!(offences("crates/gannet-net/src/a.rs", "use std::time::Instant;").len(), 1);
        assert_eq!(offences("crates/gannet-cluster/src/a.rs", "Instant::now()").len(), 0);
        assert_eq!(offences("crates/gannet-cluster/src/a.rs", code).len(), 1);
        assert_eq!(offences("crates/gannet-core/src/a.rs", "Instant::now()").len(), 1);
        assert_eq!(offences("crates/gannet/src/a.rs", code).len(), 0);
        assert_eq!(offences("crates/gannet-repo/tests/a.rs", code).len(), 0);
        let test = format!("#[cfg(test)]\nmod tests {{{code}\n}}");
        assert_eq!(offences("crates/gannet-repo/src/a.rs", &test).len(), 0);
    }

    #[test]
    fn pure_rooms_touch_nothing() {
        for code in ["use std::fs;", "tokio::spawn(x)", "std::net::TcpStream"] {
            assert_eq!(offences("crates/gannet-core/src/a.rs", code).len(), 1, "{code}");
            assert_eq!(offences("crates/gannet-wire/src/a/b.rs", code).len(), 1, "{code}");
            assert_eq!(offences("crates/gannet-repo/src/a.rs", code).len(), 0, "{code}");
        }
        assert_eq!(offences("crates/gannet-core/src/a.rs", "// not tokio").len(), 0);
        assert_eq!(offences("crates/gannet-core/src/a.rs", "use tokio_ish;").len(), 0);
    }

    #[test]
    fn unfinished_work_is_found() {
        for code in ["todo!()", "dbg!(x)", "    #[ignore]", "#[ignore = \"slow\"]"] {
            assert_eq!(offences("crates/gannet/tests/a.rs", code).len(), 1, "{code}");
            assert_eq!(offences("testkit/src/a.rs", code).len(), 1, "{code}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(offences("README.md", "a\ncd /work/main\n"), ["README.md:2"]);
        assert_eq!(offences("crates/gannet/tests/f.json", "\"/tmp/v1/repo\"").len(), 1);
        assert_eq!(offences("README.md", "https://example.com/work/main, $HOME/work/x").len(), 0);
    }
}
