//! Expressions: how words become terms, and terms an expression (preferred-content §2, §3).
//!
//! Whatever an expression looks like, nothing here or in what evaluates it calls itself: the depth
//! of parentheses is bounded by memory alone.

use std::collections::HashMap;

use super::number::is_space;
use super::term::Term;

/// An expression that can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Each once, as it is written.
    terms: Vec<(String, Term)>,
    /// What a node consists of stands before it.
    nodes: Vec<Node>,
    root: usize,
    /// See [`Expression::is_ambiguous`].
    ambiguous: bool,
}

/// Why an expression cannot be used. Whoever finds one in a log wants what is present already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadExpression {
    /// No such term, or it has a value that it cannot have.
    #[error("`{0}` is not a term, or not with this value")]
    Term(String),
    /// More text than anybody needs.
    #[error("it is longer than {} bytes", Expression::BYTES_MAX)]
    TooLong,
    /// The expression of the group, for which `groupwanted` stands, cannot be used.
    #[error("the expression of the group `{group}` cannot be used: {why}")]
    Group {
        /// Name of the group.
        group: String,
        /// What is wrong with it.
        why: Box<Self>,
    },
}

/// Terms, and what is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Everything,
    Term(usize),
    And(usize, usize),
    Or(usize, usize),
    Not(usize),
}

impl Expression {
    /// Longest expression that is read, in bytes.
    pub const BYTES_MAX: usize = 256 * 1024;

    /// Reads an expression.
    ///
    /// # Errors
    /// When a term of it is unknown or has a bad value. Parentheses and operators may be wherever
    /// they want.
    pub fn parse(text: &str) -> Result<Self, BadExpression> {
        if text.len() > Self::BYTES_MAX {
            return Err(BadExpression::TooLong);
        }
        let mut parser = Parser::default();
        for word in text.split(is_space) {
            for token in word.split_inclusive(['(', ')']) {
                let parenthesis = token.ends_with(['(', ')']).then(|| token.len() - 1);
                let (term, parenthesis) = token.split_at(parenthesis.unwrap_or(token.len()));
                match term {
                    "" => {}
                    "and" => parser.operator(Operator::And),
                    "or" => parser.operator(Operator::Or),
                    "not" => parser.operator(Operator::Not),
                    _ => parser.term(term)?,
                }
                match parenthesis {
                    "(" => parser.open(),
                    ")" => parser.close(),
                    _ => {}
                }
            }
        }
        Ok(parser.finish())
    }

    /// Whether it says nothing at all. Such an expression counts as not configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes[self.root] == Node::Everything
    }

    /// Whether parentheses inside of parentheses make it mean something else than most readers
    /// would expect: a group that follows a term directly is read as if its parentheses were not
    /// there, and as operators have no precedence that can make a difference.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Its terms, each once, as they are written.
    pub(super) fn terms(&self) -> impl Iterator<Item = (&str, &Term)> {
        self.terms.iter().map(|(text, term)| (&**text, term))
    }

    /// Whether it holds if `holds` tells for each term, by its place among
    /// [`terms`](Self::terms), whether that does. No more are asked for than make a difference.
    pub(super) fn evaluate(&self, mut holds: impl FnMut(usize, &Term) -> bool) -> bool {
        let mut above = Vec::new();
        let mut node = self.root;
        'down: loop {
            let mut value = match self.nodes[node] {
                Node::Everything => true,
                Node::Term(place) => holds(place, &self.terms[place].1),
                pair @ (Node::And(left, _) | Node::Or(left, _)) => {
                    above.push(pair);
                    node = left;
                    continue;
                }
                not @ Node::Not(inside) => {
                    above.push(not);
                    node = inside;
                    continue;
                }
            };
            while let Some(parent) = above.pop() {
                match parent {
                    Node::Not(_) => value = !value,
                    Node::And(_, right) if value => {
                        node = right;
                        continue 'down;
                    }
                    Node::Or(_, right) if !value => {
                        node = right;
                        continue 'down;
                    }
                    _ => {}
                }
            }
            return value;
        }
    }

    /// Whether a term of which `is` is true stands under an odd number of `not`.
    pub(super) fn negates(&self, is: impl Fn(&Term) -> bool) -> bool {
        let is: Vec<bool> = self.terms.iter().map(|(_, term)| is(term)).collect();
        let mut left = vec![(self.root, false)];
        while let Some((node, negated)) = left.pop() {
            match self.nodes[node] {
                Node::Everything => {}
                Node::Term(place) if negated && is[place] => return true,
                Node::Term(_) => {}
                Node::And(one, other) | Node::Or(one, other) => {
                    left.extend([(one, negated), (other, negated)]);
                }
                Node::Not(inside) => left.push((inside, !negated)),
            }
        }
        false
    }
}

/// What stands before an operand that has not come yet.
#[derive(Clone, Copy)]
enum Waiting {
    /// The operator, and what stood left of it.
    Operator(Operator, usize),
    /// An open parenthesis.
    Group,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    Not,
}

/// Reads from left to right. All operators have the same precedence.
struct Parser {
    terms: Vec<(String, Term)>,
    places: HashMap<String, usize>,
    nodes: Vec<Node>,
    waiting: Vec<Waiting>,
    groups: usize,
    /// What was read so far on this level.
    so_far: usize,
    /// Whether a term or group has just ended.
    after_unit: bool,
    ambiguous: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            terms: Vec::new(),
            places: HashMap::new(),
            nodes: vec![Node::Everything; 2],
            waiting: Vec::new(),
            groups: 0,
            so_far: EVERYTHING,
            after_unit: false,
            ambiguous: false,
        }
    }
}

impl Parser {
    fn term(&mut self, text: &str) -> Result<(), BadExpression> {
        let place = match self.places.get(text) {
            Some(&place) => place,
            None => {
                let term = Term::parse(text).ok_or_else(|| bad(text))?;
                self.terms.push((text.to_owned(), term));
                self.places.insert(text.to_owned(), self.terms.len() - 1);
                self.terms.len() - 1
            }
        };
        self.nodes.push(Node::Term(place));
        self.so_far = self.and(self.so_far, self.nodes.len() - 1);
        self.unit_ended();
        Ok(())
    }

    fn operator(&mut self, operator: Operator) {
        self.waiting.push(Waiting::Operator(operator, self.so_far));
        self.so_far = EVERYTHING;
        self.after_unit = false;
    }

    fn open(&mut self) {
        if self.after_unit && self.groups == 0 {
            self.operator(Operator::And);
        }
        // Further in, a group that follows a term goes on where that ended.
        self.ambiguous |= self.after_unit;
        self.waiting.push(Waiting::Group);
        self.groups += 1;
        self.after_unit = false;
    }

    fn close(&mut self) {
        if self.groups == 0 {
            return;
        }
        self.apply();
        self.waiting.pop();
        self.groups -= 1;
        self.unit_ended();
    }

    fn finish(mut self) -> Expression {
        while self.groups > 0 {
            self.close();
        }
        self.apply();
        let Self { terms, nodes, so_far: root, ambiguous, .. } = self;
        Expression { terms, nodes, root, ambiguous }
    }

    fn unit_ended(&mut self) {
        self.apply();
        self.after_unit = true;
    }

    /// Gives all operators their operand that have been waiting for it on this level.
    fn apply(&mut self) {
        while let Some(&Waiting::Operator(operator, left)) = self.waiting.last() {
            self.waiting.pop();
            self.so_far = match operator {
                Operator::And => self.and(left, self.so_far),
                Operator::Or => self.push(Node::Or(left, self.so_far)),
                Operator::Not => {
                    let not = self.push(Node::Not(self.so_far));
                    self.and(left, not)
                }
            };
        }
    }

    fn and(&mut self, left: usize, right: usize) -> usize {
        match (left, right) {
            (EVERYTHING, EVERYTHING) => BOTH_EVERYTHING,
            (EVERYTHING, only) | (only, EVERYTHING) => only,
            _ => self.push(Node::And(left, right)),
        }
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn bad(token: &str) -> BadExpression {
    let start: String = token.chars().take(CHARS_QUOTED_MAX).collect();
    let end = if start.len() < token.len() { "\u{2026}" } else { "" };
    BadExpression::Term(format!("{start}{end}"))
}

/// Place of the node that matches everything.
const EVERYTHING: usize = 0;
/// Place of one that says so in two words. Two of these are not seen to say nothing.
const BOTH_EVERYTHING: usize = 1;
const CHARS_QUOTED_MAX: usize = 60;
