//! Why something is or is not wanted.

use std::fmt;

use gannet_core::Uuid;

use super::Question;
use super::expression::{BadExpression, Expression};
use super::judge::Judge;
use super::term::{Balanced, CopiesOf, Term};
use super::wish::{Findings, Wish};

/// Why a repository wants a content, or why not. Displayed, it is text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer; `None` if nothing is configured.
    pub wanted: Option<bool>,
    /// Each expression that was looked at.
    pub parts: Vec<Part>,
}

/// One expression, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where the expression comes from.
    pub source: Source,
    /// The expression.
    pub text: String,
    /// What it comes to.
    pub outcome: Outcome,
    /// Its terms, in the order in which they are written, each once.
    pub findings: Vec<Finding>,
    /// Whether it may mean something else than it seems to (see
    /// [`Expression::is_ambiguous`](super::Expression::is_ambiguous)).
    pub ambiguous: bool,
}

/// Where an expression comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Preferred content of the repository.
    Preferred,
    /// Its required content.
    Required,
    /// Whoever asks.
    Asked,
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It wants the content, or not.
    Wanted(bool),
    /// It says nothing, as if it were not configured.
    Empty,
    /// It wants nothing at all: a term is negated that must not be.
    Unstable,
    /// It cannot be used. What is present is wanted.
    Unusable(BadExpression),
}

/// What was found of one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As it is written.
    pub term: String,
    /// Whether it holds; `None` if that could not make a difference any more.
    pub holds: Option<bool>,
    /// What is the case; empty if the term speaks for itself.
    pub why: String,
    /// The terms of the expression that it stands for.
    pub inside: Vec<Self>,
}

impl Explanation {
    pub(super) fn new(question: &Question<'_>, expression: Option<&str>) -> Self {
        let book = &*question.facts.book;
        let texts: Vec<(Source, &str)> = match expression {
            Some(text) => vec![(Source::Asked, text)],
            None => {
                let preferred = book.preferred.get(question.repository);
                let required = book.required.get(question.repository);
                let preferred = preferred.map(|text| (Source::Preferred, &**text));
                let required = required.map(|text| (Source::Required, &**text));
                preferred.into_iter().chain(required).collect()
            }
        };
        let judge = Judge::new(*question);
        let parts: Vec<_> =
            texts.into_iter().map(|(source, text)| Part::new(source, text, &judge)).collect();
        // As in `Readings::want`, to which the tests hold it.
        let any = |is: fn(&Outcome) -> bool| parts.iter().any(|part| is(&part.outcome));
        let wanted = if any(|outcome| matches!(outcome, Outcome::Unusable(_))) {
            Some(judge.holds(&Term::Present))
        } else if parts.iter().all(|part| part.outcome == Outcome::Empty) {
            None
        } else {
            let unstable = any(|outcome| *outcome == Outcome::Unstable);
            Some(!unstable && any(|outcome| *outcome == Outcome::Wanted(true)))
        };
        Self { wanted, parts }
    }
}

impl Part {
    fn new(source: Source, text: &str, judge: &Judge<'_>) -> Self {
        let Question { repository, .. } = judge.question;
        let part = Self {
            source,
            text: text.to_owned(),
            outcome: Outcome::Empty,
            findings: Vec::new(),
            ambiguous: false,
        };
        match Wish::read(text, repository, judge.book()) {
            Err(why) => Self { outcome: Outcome::Unusable(why), ..part },
            Ok(None) => part,
            Ok(Some(wish)) => {
                let ambiguous = wish.expression.is_ambiguous();
                let (wants, findings) = wish.judge(judge);
                let outcome =
                    if wish.is_unstable() { Outcome::Unstable } else { Outcome::Wanted(wants) };
                let findings = list(judge, &wish.expression, &findings.expression, &|term| {
                    Some(inside(judge, &wish, &findings, term))
                });
                Self { outcome, ambiguous, findings, ..part }
            }
        }
    }
}

/// Why an expression holds that a term stands for, and what was found of its terms.
type Inside = (String, Vec<Finding>);

/// What was found of the terms of one expression. `inside` tells of those that stand for others.
fn list(
    judge: &Judge<'_>,
    expression: &Expression,
    found: &[Option<bool>],
    inside: &dyn Fn(&Term) -> Option<Inside>,
) -> Vec<Finding> {
    let finding = |((text, term), holds): ((&str, &Term), &Option<bool>)| {
        let (why, inside) = match term {
            Term::Standard | Term::GroupWanted => {
                inside(term).unwrap_or_else(|| ("here the same as present".to_owned(), Vec::new()))
            }
            _ => (why(judge, term), Vec::new()),
        };
        Finding { term: text.to_owned(), holds: *holds, why, inside }
    };
    expression.terms().zip(found).map(finding).collect()
}

/// What `standard` or `groupwanted` stands for.
fn inside(judge: &Judge<'_>, wish: &Wish<'_>, findings: &Findings, term: &Term) -> Inside {
    let standard = || match &wish.standard {
        Some((group, body)) => {
            let inside = list(judge, body, &findings.standard, &|_| None);
            (format!("as for all of the group {group}"), inside)
        }
        None => ("the same as present: not in one standard group".to_owned(), Vec::new()),
    };
    match (term, &wish.group_wanted) {
        (Term::Standard, _) => standard(),
        (_, None) => {
            ("the same as present: not in one group with an expression".to_owned(), Vec::new())
        }
        (_, Some((group, body))) => {
            let inside = list(judge, body, &findings.group_wanted, &|term| {
                (*term == Term::Standard).then(standard)
            });
            (format!("as for all of the group {group}"), inside)
        }
    }
}

/// What is the case. Empty if the term speaks for itself.
fn why(judge: &Judge<'_>, term: &Term) -> String {
    let Question { key, file, facts, .. } = judge.question;
    let copies = |of: &CopiesOf| format!("{} of them", judge.copies(of));
    match term {
        Term::Anything | Term::Nothing | Term::Standard | Term::GroupWanted => String::new(),
        Term::Present | Term::InAllGroup(_) | Term::OnlyInGroup(_) => {
            format!("it is in {}", names(judge, judge.locations()))
        }
        Term::Include(_) | Term::Exclude(_) | Term::InPreferredDir if file.0.is_empty() => {
            "it has no name".to_owned()
        }
        Term::InPreferredDir => {
            format!("the directory is called `{}`", judge.preferred_dir().escape_debug())
        }
        Term::Include(_) | Term::Exclude(_) => {
            format!("it is called `{}`", file.0.escape_ascii())
        }
        Term::LargerThan(than) | Term::SmallerThan(than) => match key.size() {
            Some(size) => format!("it has {size} bytes, and the limit is {than}"),
            None => "nobody knows its size".to_owned(),
        },
        Term::Copies { of: CopiesOf::All, .. } => {
            format!("it is in {}", names(judge, judge.locations()))
        }
        Term::Copies { of, .. } => copies(of),
        Term::LackingCopies { approximately, .. } => {
            let (lacking, needed) =
                (judge.lacking(*approximately), judge.numcopies(*approximately));
            format!("{lacking} of {needed} are lacking")
        }
        Term::InBackend(_) | Term::SecureHash => {
            format!("its backend is {}", key.backend().escape_ascii())
        }
        Term::Metadata { field, .. } => {
            let values: Vec<_> = judge
                .values(field)
                .take(NAMED_MAX)
                .map(|value| format!("`{}`", value.escape_ascii()))
                .collect();
            match &*values {
                [] => "the field is not set".to_owned(),
                values => format!("the field is {}", values.join(", ")),
            }
        }
        Term::Url(_) => format!("{} URLs are known", facts.urls.len()),
        Term::Unused if facts.unused => "it is unused".to_owned(),
        Term::Unused => "it is not known to be unused".to_owned(),
        Term::Balanced(balanced) => why_balanced(judge, balanced),
    }
}

fn why_balanced(judge: &Judge<'_>, balanced: &Balanced) -> String {
    let copies = judge.wanted_copies(balanced);
    let takers = names(judge, judge.takers(balanced).into_iter());
    let there = judge.copies(&CopiesOf::Group(balanced.group.clone()));
    format!("{copies} shall be in the group, first in {takers}; {there} are")
}

/// What people call these repositories.
fn names<'a>(judge: &Judge<'_>, repositories: impl Iterator<Item = &'a Uuid>) -> String {
    let name = |uuid: &'a Uuid| match judge.book().descriptions.get(uuid) {
        Some(description) => format!("{uuid} ({})", description.escape_debug()),
        None => uuid.to_string(),
    };
    let mut names: Vec<_> = repositories.take(NAMED_MAX + 1).map(name).collect();
    if names.len() > NAMED_MAX {
        names[NAMED_MAX] = "others".to_owned();
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.wanted {
            Some(true) => "wanted\n",
            Some(false) => "not wanted\n",
            None => "nothing is configured\n",
        })?;
        for part in &self.parts {
            let source = match part.source {
                Source::Preferred => "preferred content",
                Source::Required => "required content",
                Source::Asked => "expression",
            };
            writeln!(f, "{source}: {}", part.text.escape_debug())?;
            match &part.outcome {
                Outcome::Wanted(true) => writeln!(f, "  holds")?,
                Outcome::Wanted(false) => writeln!(f, "  does not hold")?,
                Outcome::Empty => writeln!(f, "  says nothing")?,
                Outcome::Unstable => {
                    writeln!(f, "  wants nothing: a term is negated that must not be")?;
                }
                Outcome::Unusable(why) => writeln!(f, "  is read as `present`: {why}")?,
            }
            if part.ambiguous {
                writeln!(f, "  (parentheses in it are read as if they were not there)")?;
            }
            write_findings(f, &part.findings, 1)?;
        }
        Ok(())
    }
}

/// Expressions stand for others in no more than two levels.
fn write_findings(f: &mut fmt::Formatter<'_>, findings: &[Finding], level: usize) -> fmt::Result {
    for finding in findings {
        let mark = match finding.holds {
            Some(true) => "+",
            Some(false) => "-",
            None => " ",
        };
        write!(f, "{:indent$}{mark} {}", "", finding.term.escape_debug(), indent = level * 2)?;
        match &*finding.why {
            "" => writeln!(f)?,
            why => writeln!(f, ": {why}")?,
        }
        write_findings(f, &finding.inside, level + 1)?;
    }
    Ok(())
}

const NAMED_MAX: usize = 10;
