//! Expressions and what they want: the tables of the specification, and what must always hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use gannet_core::Trust;
use proptest::prelude::*;

use super::*;

const HERE: &str = "00000001-0000-4000-8000-000000000001";
const OTHER: &str = "00000002-0000-4000-8000-000000000002";
const THIRD: &str = "00000003-0000-4000-8000-000000000003";
const KEY: &str =
    "SHA256E-s1000000--41b3fbbe4d8d6bbd44c4b610bb678c55dd53fdbe9a3ed257057ee1edf5136f5b";

/// One content and what is known about it, to be changed as a test needs.
struct Scene {
    book: Book,
    facts: Facts,
    key: Key,
    file: AssociatedFile,
    sizes: BTreeMap<Uuid, u64>,
    gone: bool,
}

fn uuid(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).unwrap()
}

impl Scene {
    fn new(file: &str) -> Self {
        Self {
            book: Book::default(),
            facts: Facts::default(),
            key: Key::parse(KEY.as_bytes()).unwrap(),
            file: AssociatedFile(file.to_owned().into()),
            sizes: BTreeMap::new(),
            gone: false,
        }
    }

    fn held_by(mut self, holders: &[&str]) -> Self {
        self.facts.holders = holders.iter().map(|holder| uuid(holder)).collect();
        self
    }

    fn group(mut self, name: &str, members: &[&str]) -> Self {
        for member in members {
            self.book.groups.entry(uuid(member)).or_default().insert(name.to_owned());
        }
        self
    }

    fn ask<T>(&self, here: &str, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let facts = Facts { book: Arc::new(self.book.clone()), ..self.facts.clone() };
        ask(&Question {
            repository: &uuid(here),
            key: &self.key,
            file: &self.file,
            facts: &facts,
            sizes: &self.sizes,
            gone: self.gone,
        })
    }

    /// What the repository here wants with these expressions.
    fn wants_by(&self, preferred: &str, required: &str) -> Option<bool> {
        let mut book = self.book.clone();
        for (text, wishes) in [(preferred, &mut book.preferred), (required, &mut book.required)] {
            if !text.is_empty() {
                wishes.insert(uuid(HERE), text.to_owned());
            }
        }
        let scene = Self {
            book,
            facts: self.facts.clone(),
            key: self.key.clone(),
            file: self.file.clone(),
            sizes: self.sizes.clone(),
            gone: self.gone,
        };
        scene.ask(HERE, |question| {
            let wanted = wants(question);
            let explained = explain(question, None);
            assert_eq!(explained.wanted, wanted, "{explained}");
            wanted
        })
    }

    #[track_caller]
    fn check(&self, table: &[(&str, bool)]) {
        for (expression, expected) in table {
            assert_eq!(self.wants_by(expression, ""), Some(*expected), "{expression}");
        }
    }

    #[track_caller]
    fn check_all(&self, here: &str, expression: &str, expected: bool) {
        let wanted = self.ask(here, |question| explain(question, Some(expression)));
        assert_eq!(wanted.wanted, Some(expected), "{here}: {wanted}");
    }
}

#[test]
fn operators_have_no_precedence() {
    Scene::new("f").check(&[
        ("anything or anything and nothing", false),
        ("nothing and nothing or anything", true),
        ("not nothing and nothing", false),
        ("anything or not anything and nothing", false),
        ("anything nothing", false),
        ("anything not nothing", true),
        ("(anything)(nothing)", false),
        ("anything (nothing or anything)", true),
        ("nothing (anything or anything)", false),
        // Inside of a group, a group that follows a term goes on where that ended.
        ("(nothing (anything or anything))", true),
        ("(nothing and (anything or anything))", false),
        ("((nothing) (anything or anything))", true),
        ("not (anything (nothing or anything))", false),
        ("not not anything", true),
        ("not and anything", false),
        ("nothing or not or nothing", false),
        ("((anything", true),
        ("nothing) or anything", true),
        ("nothing or", true),
        ("or nothing", true),
        ("not", false),
        ("nothing and", false),
        ("(and)(and)", true),
    ]);
    for empty in ["()", "and", "(", ")", "()()", " \u{a0} ", "(()) and"] {
        assert_eq!(Scene::new("f").wants_by(empty, ""), None, "{empty}");
    }
}

#[test]
fn what_cannot_be_read_wants_what_is_there() {
    let (absent, present) = (Scene::new("f"), Scene::new("f").held_by(&[HERE]));
    for bad in [
        "foo",
        "foo=1",
        "AND",
        "And",
        "anything=",
        "present=1",
        "include=a(b)",
        "largerthan=0.5 gb",
        "largerthan=.5",
        "in=here",
        "mimetype=a",
        "copies=+1",
        "copies=1.0",
        "copies=a:b:1",
        "balanced=a:",
        "balanced=a:b:1",
        "metadata==x",
        "metadata=a:b=c",
        "metadata=-a=c",
        "include=[a",
        "metadata=a=[",
        "url=[",
        "exclude=[z-a]",
        "standard=1",
        "not=",
        "lackingcopies=x",
    ] {
        for text in [format!("{bad} or anything"), format!("nothing and {bad}")] {
            assert_eq!(absent.wants_by(&text, ""), Some(false), "{text}");
            assert_eq!(present.wants_by(&text, ""), Some(true), "{text}");
            // It spoils the other expression of the repository too.
            assert_eq!(absent.wants_by("anything", &text), Some(false), "{text}");
            assert_eq!(present.wants_by(&text, "nothing"), Some(true), "{text}");
        }
    }
    let long = format!("anything{}", " ".repeat(Expression::BYTES_MAX));
    assert_eq!(absent.wants_by(&long, ""), Some(false));
}

#[test]
fn what_must_not_be_negated_makes_all_false() {
    for scene in
        [Scene::new("f").group("g", &[HERE]), Scene::new("f").held_by(&[HERE]).group("g", &[HERE])]
    {
        scene.check(&[
            ("anything or not present", false),
            ("anything or not balanced=g", false),
            ("anything or not sizebalanced=g", false),
            ("anything or not (nothing and not not present)", false),
            ("anything or not not present", true),
            ("anything or not fullybalanced=g", true),
            ("anything or not fullysizebalanced=g", true),
            ("anything or not copies=1", true),
            ("anything or not standard", false),
            ("anything or not groupwanted", false),
        ]);
        assert_eq!(scene.wants_by("anything", "not present"), Some(false));
        assert_eq!(scene.wants_by("not present", "anything"), Some(false));
    }
}

#[test]
fn what_is_required_is_preferred() {
    let scene = Scene::new("req/a");
    for (preferred, required, expected) in [
        ("", "", None),
        ("nothing", "", Some(false)),
        ("", "include=req/*", Some(true)),
        ("nothing", "include=req/*", Some(true)),
        ("anything", "nothing", Some(true)),
        ("()", "nothing", Some(false)),
        ("anything", "()", Some(true)),
        ("()", "()", None),
    ] {
        assert_eq!(scene.wants_by(preferred, required), expected, "{preferred}, {required}");
    }
    let mut scene = scene;
    scene.book.preferred.insert(uuid(HERE), "anything".to_owned());
    assert_eq!(scene.ask(HERE, requires), None);
    scene.book.required.insert(uuid(HERE), "include=x".to_owned());
    assert_eq!(scene.ask(HERE, requires), Some(false));
}

#[test]
fn names_of_files() {
    Scene::new("sub/my file.txt").check(&[
        ("include=*.txt", true),
        ("include=sub/*", true),
        ("include=*.TXT", false),
        ("include=my*", false),
        ("exclude=*.txt", false),
        ("include=sub/my[[:space:]]file.txt", true),
        ("include=sub//*", false),
        ("include", false),
        ("unused", false),
    ]);
    Scene::new("a=b").check(&[("include=a=b", true), ("include=a", false)]);
    let mut nameless = Scene::new("");
    nameless.check(&[
        ("include=*", false),
        ("exclude=*", true),
        ("include=", false),
        ("inpreferreddir", false),
        ("unused", false),
    ]);
    nameless.facts.unused = true;
    nameless.check(&[("unused", true)]);
    for (file, expected) in [
        ("x/public/y", true),
        ("public/y", true),
        ("x/public/d/y", false),
        ("x/public", false),
        ("y", false),
    ] {
        Scene::new(file).check(&[("inpreferreddir", expected)]);
    }
    let mut scene = Scene::new("x/pics/y");
    scene.book.preferred_dirs.insert(uuid(HERE), "pics".to_owned());
    scene.check(&[("inpreferreddir", true)]);
}

#[test]
fn sizes_and_backends() {
    Scene::new("f").check(&[
        ("largerthan=1mb", false),
        ("largerthan=976kib", true),
        ("smallerthan=1mib", true),
        ("largerthan=8mbit", false),
        ("smallerthan=1000001", true),
        ("inbackend=SHA256E", true),
        ("inbackend=sha256e", false),
        ("securehash", true),
    ]);
    let mut scene = Scene::new("f");
    scene.key = Key::parse(b"VURL--http://x").unwrap();
    scene.check(&[("largerthan=0", false), ("smallerthan=0", true), ("securehash", true)]);
    scene.facts.equivalents = vec![Key::parse(b"MD5-s5--x").unwrap()];
    scene.check(&[("securehash", false)]);
    scene.key = Key::parse(b"WORM--x").unwrap();
    scene.check(&[("securehash", false)]);
}

#[test]
fn copies_are_counted() {
    let mut scene = Scene::new("f").held_by(&[OTHER, THIRD]).group("g", &[THIRD, HERE]);
    scene.book.trust = [(uuid(OTHER), Trust::Trusted), (uuid(THIRD), Trust::Untrusted)].into();
    scene.check(&[
        ("copies=2", true),
        ("copies=3", false),
        ("copies=trusted:1", true),
        ("copies=trusted:2", false),
        ("copies=semitrusted:1", false),
        ("copies=semitrusted+:1", true),
        ("copies=untrusted+:2", true),
        ("copies=g:1", true),
        ("copies=g:2", false),
        ("copies=Trusted:1", false),
        ("copies=nobody:0", true),
        ("lackingcopies=1", false),
        ("lackingcopies=0", true),
        ("onlyingroup=g", false),
        ("inallgroup=g", false),
        ("inallgroup=nobody", true),
        ("onlyingroup=nobody", false),
    ]);
    scene.book.numcopies = Some(2);
    scene.check(&[("lackingcopies=1", true), ("lackingcopies=2", false)]);
    scene.facts.numcopies_of_file = Some(4);
    scene.check(&[("lackingcopies=3", true), ("approxlackingcopies=2", false)]);
    scene.file = AssociatedFile::default();
    scene.check(&[("lackingcopies=2", false)]);
    let mut scene = scene.held_by(&[THIRD, HERE]);
    scene.check(&[
        ("inallgroup=g", true),
        ("onlyingroup=g", true),
        ("present", true),
        ("copies=g:2", true),
    ]);
    scene.gone = true;
    scene.check(&[
        ("inallgroup=g", false),
        ("onlyingroup=g", true),
        ("present", true),
        ("copies=g:2", false),
        ("copies=2", false),
    ]);
}

#[test]
fn metadata_and_urls() {
    let mut scene = Scene::new("f");
    let values = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
    scene.facts.metadata =
        [("Tag".to_owned(), values(&["Done", "x y"])), ("year".to_owned(), values(&["2016"]))]
            .into();
    scene.facts.urls = ["http://example.com/A".to_owned()].into();
    scene.check(&[
        ("metadata=tag=done", true),
        ("metadata=TAG=d*", true),
        ("metadata=tag=don", false),
        ("metadata=tag", false),
        ("metadata=none=*", false),
        ("metadata=year>=2016", true),
        ("metadata=year>2016", false),
        ("metadata=year<10000", true),
        ("metadata=year<1x", false),
        ("metadata=year<3x", true), // no number, so as text
        ("metadata=tag>d", true),   // `x y`
        ("metadata=tag<E", true),
        ("url=http://*/A", true),
        ("url=*/a", false),
    ]);
}

#[test]
fn standard_groups() {
    let table: &[(&str, &str, &[&str], bool)] = &[
        ("client", "a", &[], true),
        ("client", "archive/a", &[OTHER], true),
        ("client", "x/archive/a", &[THIRD], false), // third is an archive
        ("transfer", "a", &[OTHER], true),
        ("backup", "a", &[], true),
        ("incrementalbackup", "a", &[OTHER], true),
        ("smallarchive", "archive/a", &[OTHER], true),
        ("smallarchive", "a", &[OTHER], false),
        ("archive", "a", &[OTHER], true),
        ("archive", "a", &[THIRD], false),
        ("source", "a", &[], true),
        ("source", "a", &[OTHER], false),
        ("manual", "a", &[OTHER], false),
        ("manual", "a", &[HERE], true),
        ("public", "public/a", &[OTHER], true),
        ("public", "a", &[OTHER], false),
        ("unwanted", "a", &[], false),
        ("fullarchive", "a", &[], false),
    ];
    for (group, file, holders, expected) in table {
        let scene =
            Scene::new(file).held_by(holders).group(group, &[HERE]).group("archive", &[THIRD]);
        assert_eq!(scene.wants_by("standard", ""), Some(*expected), "{group} {file} {holders:?}");
    }
    let ambiguous = Scene::new("a").group("backup", &[HERE]).group("archive", &[HERE]);
    assert_eq!(ambiguous.wants_by("standard", ""), Some(false));
    assert_eq!(ambiguous.held_by(&[HERE]).wants_by("standard", ""), Some(true));
}

#[test]
fn what_a_group_wants() {
    let mut scene = Scene::new("f").group("g1", &[HERE]);
    let bodies = [
        ("g1", "include=f"),
        ("g2", "foo=2"),
        ("g3", ""),
        ("g4", "not present"),
        ("g5", "standard"),
        ("g6", "groupwanted or include=f"),
    ];
    scene.book.group_preferred =
        bodies.map(|(group, text)| (group.to_owned(), text.to_owned())).into();
    let groups = |names: &[&str]| BTreeSet::from_iter(names.iter().map(|&name| name.to_owned()));
    for (names, expression, expected) in [
        (&["g1"][..], "groupwanted", true),
        (&["g1"], "not groupwanted", false),
        (&["g1", "g3"], "groupwanted", true),
        (&["g1", "g6"], "groupwanted", false),
        (&["g2"], "groupwanted or anything", false),
        (&["g2"], "anything", true),
        (&["g4"], "groupwanted", true),
        (&["g4"], "not groupwanted or anything", false),
        (&["g5", "backup"], "groupwanted", true),
        (&["g5"], "groupwanted", false),
        (&["g6"], "groupwanted", true),
        (&["g6"], "not groupwanted", false),
        (&["none"], "groupwanted", false),
    ] {
        scene.book.groups.insert(uuid(HERE), groups(names));
        assert_eq!(scene.wants_by(expression, ""), Some(expected), "{names:?} {expression}");
    }
}

#[test]
fn balanced_contents_stay_where_they_are() {
    let all = [HERE, OTHER, THIRD];
    let mut scene = Scene::new("f").group("nodes", &all);
    // By its hash, the key of the specification is for the second one, then the third.
    scene.key =
        Key::parse(b"SHA256-s7--41b3fbbe4d8d6bbd44c4b610bb678c55dd53fdbe9a3ed257057ee1edf5136f5b")
            .unwrap();
    let wanted = |scene: &Scene, expression: &str| -> Vec<usize> {
        let wants =
            |here: &str| scene.ask(here, |question| explain(question, Some(expression)).wanted);
        (0..3).filter(|&n| wants(all[n]) == Some(true)).collect()
    };
    for (expression, expected) in [
        ("balanced=nodes", &[1][..]),
        ("fullybalanced=nodes:2", &[1, 2]),
        ("balanced=nodes:0", &[]),
        ("balanced=nodes:5", &[0, 1, 2]),
        ("balanced=nobody", &[]),
        ("fullysizebalanced=nodes", &[]),
    ] {
        assert_eq!(wanted(&scene, expression), expected, "{expression}");
    }
    scene = scene.held_by(&[HERE]);
    assert_eq!(wanted(&scene, "balanced=nodes"), [0]);
    assert_eq!(wanted(&scene, "fullybalanced=nodes"), [1]);
    assert_eq!(wanted(&scene, "balanced=nodes:2"), [0, 1, 2]);
    scene.book.numcopies = Some(2);
    assert_eq!(wanted(&scene, "balanced=nodes:lackingcopies"), [0, 1, 2]);
    scene = scene.held_by(&["outside", THIRD]);
    assert_eq!(wanted(&scene, "fullybalanced=nodes:lackingcopies"), [1]);
    scene = scene.held_by(&["outside", "another"]);
    assert_eq!(wanted(&scene, "fullybalanced=nodes:lackingcopies"), [0_usize; 0]);
    scene.book.trust.insert(uuid("another"), Trust::Untrusted);
    assert_eq!(wanted(&scene, "fullybalanced=nodes:lackingcopies"), [1]);
    assert!(!needs_sizes(&uuid(HERE), &scene.book));
    for (uuid, max) in all.iter().map(|it| uuid(it)).zip([1000, 1000, 100]) {
        scene.book.max_sizes.insert(uuid, max);
    }
    scene.sizes = all.iter().map(|it| uuid(it)).zip([900, 500, 0]).collect();
    assert_eq!(wanted(&scene, "sizebalanced=nodes"), [2]);
    assert_eq!(wanted(&scene, "fullysizebalanced=nodes:2"), [1, 2]);
    scene.book.preferred.insert(uuid(HERE), "present or balanced=nodes".to_owned());
    assert!(needs_sizes(&uuid(HERE), &scene.book));
}

#[test]
fn a_cluster_in_a_group_gets_nothing_and_hides_nothing() {
    let cluster = "ac000000-0000-8000-8000-000000000000";
    let scene = Scene::new("f").group("g", &[HERE, cluster]).held_by(&[HERE]);
    for expression in ["fullybalanced=g", "inallgroup=g", "onlyingroup=g"] {
        scene.check_all(HERE, expression, true);
    }
    scene.check_all(cluster, "fullybalanced=g:9", false);
}

#[test]
fn problems_are_told() {
    let mut book = Book::default();
    for (repository, text) in [
        ("a", "foo"),
        ("b", "not present"),
        ("c", "(nothing (anything))"),
        ("d", "anything"),
        ("e", ""),
    ] {
        book.preferred.insert(uuid(repository), text.to_owned());
    }
    let told: Vec<_> =
        problems(&book).into_iter().map(|(it, problem)| (it.to_string(), problem)).collect();
    let foo = BadExpression::Term("foo".to_owned());
    assert_eq!(
        told,
        [
            ("a".to_owned(), Problem::Unusable(foo)),
            ("b".to_owned(), Problem::Unstable),
            ("c".to_owned(), Problem::Ambiguous)
        ]
    );
}

#[test]
fn an_explanation_can_be_read() {
    let scene = Scene::new("a/b").group("source", &[HERE]).held_by(&[OTHER]);
    let explained = scene.ask(HERE, |question| {
        explain(question, Some("standard or include=x or (copies=1 and not anything)"))
    });
    assert_eq!(
        explained.to_string(),
        format!(
            "\
not wanted
expression: standard or include=x or (copies=1 and not anything)
  does not hold
  - standard: as for all of the group source
    + copies=1: it is in {OTHER}
  - include=x: it is called `a/b`
  + copies=1: it is in {OTHER}
  + anything
"
        )
    );
}

/// A hostile expression takes memory in proportion to its length, and no stack.
#[test]
fn depth_costs_nothing() {
    let n = 25_000;
    for text in [
        format!("{}anything{}", "(".repeat(4 * n), ")".repeat(4 * n)),
        "not ".repeat(2 * n) + "anything",
        "or ".repeat(2 * n) + "anything",
        "(nothing or ".repeat(n / 2),
        "not (".repeat(n) + "nothing",
        "groupwanted ".repeat(n / 2),
        "anything and ".repeat(n / 2),
    ] {
        let mut scene = Scene::new("f").group("g", &[HERE]).group("client", &[HERE]);
        scene.book.group_preferred.insert("g".to_owned(), "standard ".repeat(n));
        assert!(scene.wants_by(&text, "").is_some());
    }
}

/// Expressions as trees, written with all parentheses that they need, mean what they mean in logic.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(bool),
    Not(Box<Tree>),
    Pair(bool, Box<Tree>, Box<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Leaf(true) => "anything".to_owned(),
            Self::Leaf(false) => "nothing".to_owned(),
            Self::Not(inside) => format!("not ({})", inside.text()),
            Self::Pair(true, one, other) => format!("({}) and ({})", one.text(), other.text()),
            Self::Pair(false, one, other) => format!("({}) or ({})", one.text(), other.text()),
        }
    }

    fn holds(&self) -> bool {
        match self {
            Self::Leaf(holds) => *holds,
            Self::Not(inside) => !inside.holds(),
            Self::Pair(true, one, other) => one.holds() && other.holds(),
            Self::Pair(false, one, other) => one.holds() || other.holds(),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    any::<bool>().prop_map(Tree::Leaf).prop_recursive(6, 60, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inside| Tree::Not(inside.into())),
            (any::<bool>(), inner.clone(), inner).prop_map(|(and, one, other)| Tree::Pair(
                and,
                one.into(),
                other.into()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn with_all_parentheses_it_is_logic(tree in tree()) {
        prop_assert_eq!(Scene::new("f").wants_by(&tree.text(), ""), Some(tree.holds()));
    }

    #[test]
    fn whatever_is_written_there_is_an_answer(
        words in proptest::collection::vec(
            prop_oneof![
                Just("and"), Just("or"), Just("not"), Just("("), Just(")"), Just("present"),
                Just("standard"), Just("groupwanted"), Just("include=*"), Just("balanced=g"),
                Just("copies=1"), Just("metadata=a>1"), Just("fullysizebalanced=g:2"),
            ],
            0..20,
        ),
        noise in ".{0,20}",
    ) {
        let scene = Scene::new("f").group("g", &[HERE, OTHER]).held_by(&[OTHER]);
        // `wants_by` compares with the explanation.
        scene.wants_by(&words.join(" "), "");
        scene.wants_by(&words.join(" "), &words.concat());
        scene.wants_by(&noise, &format!("{noise} {}", words.join(" ")));
    }
}
