//! Preferred content: which repository wants which content (preferred-content §3 to §7).
//!
//! Pure: what is known is handed in. Whatever an expression looks like, and whoever wrote it,
//! reading it takes time in proportion to its length, and so does judging one content by it.

use std::collections::BTreeMap;

use gannet_core::{AssociatedFile, Book, Facts, Key, Uuid};

mod balance;
mod explain;
mod expression;
mod glob;
mod judge;
mod number;
mod standard;
mod term;
#[cfg(test)]
mod tests;
mod wish;

pub use explain::{Explanation, Finding, Outcome, Part, Source};
pub use expression::{BadExpression, Expression};

use judge::Judge;
use term::Term;
use wish::Wish;

/// A content, and who might want it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose expressions are asked.
    pub repository: &'a Uuid,
    /// The content.
    pub key: &'a Key,
    /// What it is called, if anything: the path from the top of the work tree.
    pub file: &'a AssociatedFile,
    /// What is known.
    pub facts: &'a Facts,
    /// How many bytes each repository holds, with what is on its way there. Matters only where
    /// [`needs_sizes`] says so; may be empty otherwise.
    pub sizes: &'a BTreeMap<Uuid, u64>,
    /// Whether the content is to be looked at as if the repository had lost it already: so it is
    /// when somebody asks whether it may go.
    pub gone: bool,
}

/// Whether the repository prefers to have the content, or must have it. `None`: nothing is
/// configured for it, and what that means is for whoever asks to say.
#[must_use]
pub fn wants(question: &Question<'_>) -> Option<bool> {
    Readings::of(question.repository, &question.facts.book).want(question)
}

/// Whether the repository must have the content. `None`: nothing is configured for it.
#[must_use]
pub fn requires(question: &Question<'_>) -> Option<bool> {
    let book = &*question.facts.book;
    let required = read(book.required.get(question.repository), question.repository, book);
    Readings { preferred: Ok(None), required }.want(question)
}

/// Explains term by term what [`wants`] says; or, with an expression, what it would say if that
/// were all that is configured for the repository.
#[must_use]
pub fn explain(question: &Question<'_>, expression: Option<&str>) -> Explanation {
    Explanation::new(question, expression)
}

/// Whether the expressions of a repository ask for the space that others have left, so that their
/// [`sizes`](Question::sizes) matter.
#[must_use]
pub fn needs_sizes(repository: &Uuid, book: &Book) -> bool {
    let asks = |term: &Term| match term {
        Term::Balanced(balanced) => {
            book.members(&balanced.group).any(|member| book.max_sizes.contains_key(member))
        }
        _ => false,
    };
    let readings = Readings::of(repository, book);
    let wishes = [&readings.preferred, &readings.required];
    wishes.into_iter().flatten().flatten().any(|wish| {
        let bodies = [wish.group_wanted.as_ref().map(|(_, body)| body), Some(&wish.expression)];
        bodies.into_iter().flatten().any(|body| body.terms().any(|(_, term)| asks(term)))
    })
}

/// What is wrong with the expressions of repositories: what cannot be used, wants nothing, or may
/// mean something else than it seems to. For people; nothing is refused because of it.
#[must_use]
pub fn problems(book: &Book) -> Vec<(Uuid, Problem)> {
    let mut problems = Vec::new();
    let all = book.preferred.iter().chain(&book.required);
    for (repository, text) in all.filter(|(_, text)| !text.is_empty()) {
        let wish = Wish::read(text, repository, book);
        let problem = match &wish {
            Err(why) => Some(Problem::Unusable(why.clone())),
            Ok(Some(wish)) if wish.is_unstable() => Some(Problem::Unstable),
            Ok(Some(wish)) if wish.expression.is_ambiguous() => Some(Problem::Ambiguous),
            Ok(_) => None,
        };
        problems.extend(problem.map(|problem| (repository.clone(), problem)));
    }
    problems
}

/// What can be wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It cannot be used.
    #[error("it is read as `present`: {0}")]
    Unusable(BadExpression),
    /// It wants nothing at all.
    #[error("nothing is wanted, because a term is negated that must not be")]
    Unstable,
    /// See [`Expression::is_ambiguous`].
    #[error("parentheses in it are read as if they were not there")]
    Ambiguous,
}

/// What is configured for a repository.
struct Readings<'a> {
    preferred: Reading<'a>,
    required: Reading<'a>,
}

type Reading<'a> = Result<Option<Wish<'a>>, BadExpression>;

impl<'a> Readings<'a> {
    fn of(repository: &Uuid, book: &'a Book) -> Self {
        Self {
            preferred: read(book.preferred.get(repository), repository, book),
            required: read(book.required.get(repository), repository, book),
        }
    }

    /// Both together are judged as one expression, so that what is wrong with one of them is wrong
    /// with all.
    fn want(&self, question: &Question<'_>) -> Option<bool> {
        let judge = Judge::new(*question);
        let (Ok(preferred), Ok(required)) = (&self.preferred, &self.required) else {
            return Some(judge.holds(&Term::Present));
        };
        let wishes = || preferred.iter().chain(required);
        wishes().next()?;
        let stable = !wishes().any(Wish::is_unstable);
        Some(stable && wishes().any(|wish| wish.judge(&judge).0))
    }
}

fn read<'a>(text: Option<&String>, repository: &Uuid, book: &'a Book) -> Reading<'a> {
    match text {
        Some(text) => Wish::read(text, repository, book),
        None => Ok(None),
    }
}
