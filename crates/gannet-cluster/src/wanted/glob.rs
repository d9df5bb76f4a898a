//! Globs, which git-annex translates into regular expressions, with all that follows from that
//! (preferred-content §5).
//!
//! Matching takes no more steps than length of glob times length of subject.

/// A glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    pieces: Vec<Piece>,
    /// Whether upper and lower case are the same.
    folds: bool,
}

/// How a glob reads its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Names of files: one slash stands for one or more, one backslash likewise.
    File,
    /// Text as it is.
    Text,
    /// Text whose case does not matter.
    AnyCase,
}

impl Glob {
    /// Reads a glob. `None` if there is a bracket in it that the reference cannot read: the
    /// reference accepts it and fails later, whenever it looks at a file.
    pub(super) fn parse(text: &str, kind: Kind) -> Option<Self> {
        let mut regex = Regex { chars: translate(text, kind == Kind::File), at: 0 };
        let mut pieces: Vec<Piece> = Vec::new();
        while let Some(c) = regex.next() {
            let piece = match c {
                '.' => Piece::One(Set::any()),
                '[' => Piece::One(regex.bracket()?),
                '*' | '+' => {
                    // It follows what is repeated: `.`, a slash or a backslash.
                    let Some(Piece::One(set)) = pieces.pop() else { return None };
                    if c == '+' {
                        pieces.push(Piece::One(set.clone()));
                    }
                    Piece::Many(set)
                }
                '\\' => match regex.next()? {
                    '`' => Piece::At(Spot::Start),
                    '\'' => Piece::At(Spot::End),
                    '<' => Piece::At(Spot::WordStart),
                    '>' => Piece::At(Spot::WordEnd),
                    c => Piece::One(Set::of(c)),
                },
                c => Piece::One(Set::of(c)),
            };
            pieces.push(piece);
        }
        Some(Self { pieces, folds: kind == Kind::AnyCase })
    }

    /// Whether the whole subject, or one whole line of it, matches.
    pub(super) fn matches(&self, subject: &[u32]) -> bool {
        let end = self.pieces.len();
        let (mut now, mut next) = (vec![false; end + 1], vec![false; end + 1]);
        for at in 0..=subject.len() {
            now[0] |= at == 0 || subject[at - 1] == NEWLINE;
            for (place, piece) in self.pieces.iter().enumerate() {
                if now[place] && piece.may_be_nothing(subject, at) {
                    now[place + 1] = true;
                }
            }
            let Some(&c) = subject.get(at) else { return now[end] };
            if now[end] && c == NEWLINE {
                return true;
            }
            next.fill(false);
            for (place, piece) in self.pieces.iter().enumerate().filter(|&(place, _)| now[place]) {
                match piece {
                    Piece::One(set) => next[place + 1] |= set.has(c, self.folds),
                    Piece::Many(set) => next[place] |= set.has(c, self.folds),
                    Piece::At(_) => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        false
    }
}

/// The characters of bytes. What is not UTF-8 becomes what GHC makes of it.
pub(super) fn chars(bytes: &[u8]) -> Vec<u32> {
    let mut chars = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chars.extend(chunk.valid().chars().map(u32::from));
        chars.extend(chunk.invalid().iter().map(|&byte| 0xdc00 + u32::from(byte)));
    }
    chars
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// One character.
    One(Set),
    /// Any number of them, none included.
    Many(Set),
    /// None, but only here.
    At(Spot),
}

impl Piece {
    fn may_be_nothing(&self, subject: &[u32], at: usize) -> bool {
        let is_word = |at: usize| {
            let c = subject.get(at).and_then(|&c| char::from_u32(c));
            c.is_some_and(|c| c == '_' || c.is_alphanumeric())
        };
        let before = at.checked_sub(1).is_some_and(is_word);
        match self {
            Self::One(_) => false,
            Self::Many(_) => true,
            Self::At(Spot::Start) => at == 0,
            Self::At(Spot::End) => at == subject.len(),
            Self::At(Spot::WordStart) => !before && is_word(at),
            Self::At(Spot::WordEnd) => before && !is_word(at),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Start,
    End,
    WordStart,
    WordEnd,
}

/// Characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    /// All but these, and but a newline.
    negated: bool,
    ranges: Vec<(u32, u32)>,
}

impl Set {
    fn any() -> Self {
        Self { negated: true, ranges: Vec::new() }
    }

    fn of(c: char) -> Self {
        Self { negated: false, ranges: vec![(c.into(), c.into())] }
    }

    fn has(&self, c: u32, folds: bool) -> bool {
        if self.negated && c == NEWLINE {
            return false;
        }
        let named = |c: u32| self.ranges.iter().any(|&(from, to)| (from..=to).contains(&c));
        let either_case = || {
            let c = char::from_u32(c);
            c.is_some_and(|c| {
                let cases = [c.to_lowercase().next(), c.to_uppercase().next()];
                cases.into_iter().flatten().any(|c| named(c.into()))
            })
        };
        self.negated != (named(c) || folds && either_case())
    }
}

/// What is left of a regular expression.
struct Regex {
    chars: Vec<char>,
    at: usize,
}

impl Regex {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(c)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Reads what follows a `[`, to the end of the bracket.
    fn bracket(&mut self) -> Option<Set> {
        let negated = self.peek(0) == Some('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        let start = self.at;
        loop {
            let c = self.next()?;
            let first = self.at == start + 1;
            match (c, self.peek(0)) {
                (']', _) if !first => return Some(Set { negated, ranges }),
                ('[', Some(kind @ (':' | '=' | '.'))) if self.named(kind, &mut ranges) => {}
                (_, Some('-')) if self.peek(1).is_some_and(|to| to != ']') && c != ']' => {
                    let to = self.peek(1)?;
                    if c > to {
                        return None;
                    }
                    ranges.push((c.into(), to.into()));
                    self.at += 2;
                }
                ('-', after) if !first && after != Some(']') => return None,
                _ => ranges.push((c.into(), c.into())),
            }
        }
    }

    /// Reads `:alpha:]` after its `[`. `false`, and nothing is read, if there is no such thing.
    fn named(&mut self, kind: char, ranges: &mut Vec<(u32, u32)>) -> bool {
        let name: String =
            self.chars[self.at + 1..].iter().take_while(|&&c| c != kind && c != ']').collect();
        let end = self.at + 1 + name.chars().count();
        if name.is_empty() || self.chars.get(end..end + 2) != Some(&[kind, ']']) {
            return false;
        }
        match kind {
            ':' => {
                let class = CLASSES.iter().find(|(class, _)| *class == name);
                ranges.extend(class.into_iter().flat_map(|(_, parts)| parts.iter().copied()));
            }
            '=' => ranges.extend(name.chars().map(|c| (u32::from(c), u32::from(c)))),
            _ => {} // the reference takes no notice of collating elements
        }
        self.at = end + 2;
        true
    }
}

/// Writes a glob as the regular expression that git-annex makes of it.
fn translate(glob: &str, of_files: bool) -> Vec<char> {
    let mut regex = Vec::with_capacity(glob.len() * 2);
    let mut glob = glob.chars().peekable();
    while let Some(c) = glob.next() {
        match c {
            '*' => regex.extend(['.', '*']),
            '?' => regex.push('.'),
            '[' => {
                regex.push('[');
                if glob.next_if_eq(&'!').is_some() {
                    regex.push('^');
                }
                for c in glob.by_ref() {
                    regex.push(c);
                    match c {
                        ']' => break,
                        '\\' => regex.push(c),
                        _ => {}
                    }
                }
            }
            '/' if of_files => regex.extend(['/', '+']),
            '\\' if of_files => regex.extend(['\\', '\\', '+']),
            c if c.is_alphanumeric() => regex.push(c),
            c => regex.extend(['\\', c]),
        }
    }
    regex
}

const NEWLINE: u32 = 10;

/// Classes are of ASCII only. The names of others stand for nothing.
const CLASSES: [(&str, &[(u32, u32)]); 13] = [
    ("alnum", &[(48, 57), (65, 90), (97, 122)]),
    ("alpha", &[(65, 90), (97, 122)]),
    ("blank", &[(9, 9), (32, 32)]),
    ("cntrl", &[(0, 31), (127, 127)]),
    ("digit", &[(48, 57)]),
    ("graph", &[(33, 126)]),
    ("lower", &[(97, 122)]),
    ("print", &[(32, 126)]),
    ("punct", &[(33, 47), (58, 64), (91, 96), (123, 126)]),
    ("space", &[(9, 13), (32, 32)]),
    ("upper", &[(65, 90)]),
    ("word", &[(48, 57), (65, 90), (95, 95), (97, 122)]),
    ("xdigit", &[(48, 57), (65, 70), (97, 102)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn matching<'a>(glob: &str, subjects: &[&'a str]) -> Vec<&'a str> {
        let glob = Glob::parse(glob, Kind::File).unwrap();
        subjects.iter().copied().filter(|it| glob.matches(&chars(it.as_bytes()))).collect()
    }

    #[test]
    fn globs_match_what_the_reference_was_seen_to_match() {
        let files = [
            "f", "a\nb", "it's", "a<b", "ab", "a\\b", "a\\\\b", "a]b", "a b", "a-b", "x/y", "x//y",
            "q/it", "Ab", "a\u{e9}b", "[x", "",
        ];
        let table: &[(&str, &[&str])] = &[
            ("*", &files),
            ("f", &["f"]),
            ("b", &["a\nb"]), // a line counts for the whole
            ("a?b", &["a<b", "a\\b", "a]b", "a b", "a-b", "a\u{e9}b"]),
            ("x/y", &["x/y", "x//y"]),
            ("x//y", &["x//y"]),
            ("x?y", &["x/y"]),
            ("a\\b", &["a\\b", "a\\\\b"]),
            ("a\\\\b", &["a\\\\b"]),
            ("a[[:space:]]b", &["a\nb", "a\\b", "a b"]),
            ("a[[:foo:]]b", &["a\\b"]),
            ("a[[=-=]]b", &["a\\b", "a-b"]),
            ("a[[.-.]]b", &["a\\b"]),
            ("[]a]b", &["ab"]),
            ("a[]a]b", &["a\\b", "a]b"]),
            ("a[!]-]b", &["a<b", "a b", "a-b", "a\u{e9}b"]),
            ("a[^a]b", &["a<b", "a\\b", "a]b", "a b", "a-b", "a\u{e9}b"]),
            ("a[!-~]b", &["a<b", "a\\b", "a]b", "a b", "a\u{e9}b"]),
            ("a[--/]b", &["a-b"]),
            ("a[a-]b", &["a-b"]),
            ("[[]x", &["[x"]),
            ("it's", &[]), // these four are places in a regular expression
            ("f'", &["f"]),
            ("`f", &["f"]),
            ("q/<it>", &["q/it"]),
            ("a<b", &[]),
            ("", &[""]),
        ];
        for (glob, expected) in table {
            assert_eq!(matching(glob, &files), *expected, "{glob}");
        }
        for bad in ["[", "[a", "a[]b", "[!]", "[z-a]", "[[:alpha:]", "[a-c-e]"] {
            assert_eq!(Glob::parse(bad, Kind::File), None, "{bad}");
        }
    }

    #[test]
    fn case_matters_only_where_it_does() {
        for (glob, subject) in [("a[B-C]\u{c9}", "Abe\u{301}"), ("[!x]", "X")] {
            let glob = Glob::parse(glob, Kind::AnyCase).unwrap();
            assert!(!glob.matches(&chars(subject.as_bytes())), "{subject}");
        }
        let glob = Glob::parse("a[B-C]\u{c9}*", Kind::AnyCase).unwrap();
        assert!(glob.matches(&chars("AC\u{e9}x".as_bytes())));
        let glob = Glob::parse("x/y", Kind::Text).unwrap();
        assert!(!glob.matches(&chars(b"X/Y")) && !glob.matches(&chars(b"x//y")));
    }

    #[test]
    fn what_is_not_utf_8_is_one_character_each_byte() {
        let glob = Glob::parse("a??b", Kind::File).unwrap();
        assert!(glob.matches(&chars(b"a\xff\xfeb")));
        assert!(!glob.matches(&chars(b"a\xc3\xa9b")));
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = Glob::parse(&"a*".repeat(500), Kind::File).unwrap();
        assert!(!glob.matches(&chars("a".repeat(499).as_bytes())));
        assert!(!glob.matches(&chars(format!("{}b", "ba".repeat(600)).as_bytes())));
    }
}
