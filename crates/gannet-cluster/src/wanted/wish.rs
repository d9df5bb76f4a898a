//! What the expressions of a repository come to, with all that they stand for.

use gannet_core::{Book, Uuid};

use super::expression::{BadExpression, Expression};
use super::judge::Judge;
use super::standard::standard;
use super::term::Term;

/// An expression of one repository, and what `standard` and `groupwanted` stand for in it.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) expression: Expression,
    /// Group and expression. Without them the term stands for `present`.
    pub(super) standard: Option<(&'static str, Expression)>,
    /// The same.
    pub(super) group_wanted: Option<(&'a str, Expression)>,
}

/// What is known of the terms of a wish while it is judged. Nothing is judged twice, however often
/// it is written.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) expression: Vec<Option<bool>>,
    pub(super) standard: Vec<Option<bool>>,
    pub(super) group_wanted: Vec<Option<bool>>,
}

impl<'a> Wish<'a> {
    /// Reads an expression of a repository. `None`: it says nothing.
    ///
    /// # Errors
    /// When it, or what it stands for, is no expression.
    pub(super) fn read(
        text: &str,
        repository: &Uuid,
        book: &'a Book,
    ) -> Result<Option<Self>, BadExpression> {
        let expression = Expression::parse(text)?;
        let uses = |expression: &Expression, wanted: &Term| {
            expression.terms().any(|(_, term)| term == wanted)
        };
        let groups = book.groups.get(repository);
        let mut group_wanted = None;
        if uses(&expression, &Term::GroupWanted) {
            let mut bodies = groups.into_iter().flatten().filter_map(|group| {
                let (group, text) = book.group_preferred.get_key_value(group)?;
                (!text.is_empty()).then_some((group, text))
            });
            if let (Some((group, text)), None) = (bodies.next(), bodies.next()) {
                let body = Expression::parse(text).map_err(|why| BadExpression::Group {
                    group: group.clone(),
                    why: Box::new(why),
                })?;
                group_wanted = Some((group.as_str(), body));
            }
        }
        let mut standard_body = None;
        let in_group = group_wanted.as_ref().is_some_and(|(_, body)| uses(body, &Term::Standard));
        if in_group || uses(&expression, &Term::Standard) {
            let found = groups.and_then(standard);
            standard_body = match found {
                Some((group, text)) => Some((group, Expression::parse(&text)?)),
                None => None,
            };
        }
        let wish = Self { expression, standard: standard_body, group_wanted };
        Ok((!wish.expression.is_empty()).then_some(wish))
    }

    /// Whether something is negated that must not be, so that nothing is wanted at all: obeying it
    /// would make it say the opposite.
    pub(super) fn is_unstable(&self) -> bool {
        let standard = match &self.standard {
            Some((_, body)) => body.terms().any(|(_, term)| term.is_unstable()),
            None => true,
        };
        let group_wanted = match &self.group_wanted {
            Some((_, body)) => body.terms().any(|(_, term)| match term {
                Term::Standard => standard,
                Term::GroupWanted => true,
                term => term.is_unstable(),
            }),
            None => true,
        };
        self.expression.negates(|term| match term {
            Term::Standard => standard,
            Term::GroupWanted => group_wanted,
            term => term.is_unstable(),
        })
    }

    /// Whether it wants the content, whether or not it is stable; and what was found out.
    pub(super) fn judge(&self, judge: &Judge<'_>) -> (bool, Findings) {
        let mut whole = Body::new(Some(&self.expression));
        let mut standard = Body::new(self.standard.as_ref().map(|(_, body)| body));
        let mut group_wanted = Body::new(self.group_wanted.as_ref().map(|(_, body)| body));
        let wants = whole.holds(judge, &mut |term| match term {
            Term::Standard => Some(standard.holds(judge, &mut |_| None)),
            _ => Some(group_wanted.holds(judge, &mut |term| match term {
                Term::Standard => Some(standard.holds(judge, &mut |_| None)),
                _ => None, // it does not stand for itself
            })),
        });
        let findings = Findings {
            expression: whole.findings,
            standard: standard.findings,
            group_wanted: group_wanted.findings,
        };
        (wants, findings)
    }
}

/// An expression that is being judged.
struct Body<'a> {
    expression: Option<&'a Expression>,
    findings: Vec<Option<bool>>,
    outcome: Option<bool>,
}

impl<'a> Body<'a> {
    fn new(expression: Option<&'a Expression>) -> Self {
        let terms = expression.map_or(0, |expression| expression.terms().count());
        Self { expression, findings: vec![None; terms], outcome: None }
    }

    /// `expand` tells of the terms that stand for expressions; `None`: here they do not.
    fn holds(&mut self, judge: &Judge<'_>, expand: &mut Expand<'_>) -> bool {
        let findings = &mut self.findings;
        let present = || judge.holds(&Term::Present);
        *self.outcome.get_or_insert_with(|| {
            let Some(expression) = self.expression else { return present() };
            expression.evaluate(|place, term| {
                *findings[place].get_or_insert_with(|| match term {
                    Term::Standard | Term::GroupWanted => expand(term).unwrap_or_else(present),
                    _ => judge.holds(term),
                })
            })
        })
    }
}

type Expand<'e> = dyn FnMut(&Term) -> Option<bool> + 'e;
