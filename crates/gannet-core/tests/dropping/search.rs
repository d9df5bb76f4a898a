//! Looks at every state that can be reached, the nearest first.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::Hash;

/// Something that goes on in steps, each of which leads to another state.
pub(crate) trait Machine {
    type State: Clone + Eq + Hash;
    type Event: Clone + Display;

    fn start(&self) -> Self::State;

    /// Calls `reach` for everything that can happen next, and where it leads.
    fn next(&self, state: &Self::State, reach: &mut dyn FnMut(Self::Event, Self::State));

    /// Whether this must never happen.
    fn is_bad(&self, state: &Self::State) -> bool;
}

/// What a search found.
pub(crate) struct Found {
    /// How many different states there are; if a bad one was found, how many were seen before.
    pub(crate) states: usize,
    /// How many steps lead from one of them to another, or back.
    pub(crate) steps: usize,
    /// How many steps the farthest state is away from the start.
    pub(crate) depth: usize,
    /// The shortest way to a bad state, if there is any.
    pub(crate) bad: Option<Vec<String>>,
}

/// Looks at all states of `machine`, or stops at the first bad one.
pub(crate) fn search<M: Machine>(machine: &M) -> Found {
    let start = machine.start();
    let mut states = vec![start.clone()];
    let mut came: Vec<(usize, Option<M::Event>)> = vec![(0, None)];
    let mut known = HashMap::from([(start, 0)]);
    let mut found = Found { states: 0, steps: 0, depth: 0, bad: None };
    let (mut at, mut end_of_level) = (0, 1);
    while at < states.len() {
        if at == end_of_level {
            found.depth += 1;
            end_of_level = states.len();
        }
        let state = states[at].clone();
        if machine.is_bad(&state) {
            found.bad = Some(way_to(at, &came));
            break;
        }
        machine.next(&state, &mut |event, next| {
            found.steps += 1;
            if !known.contains_key(&next) {
                known.insert(next.clone(), states.len());
                states.push(next);
                came.push((at, Some(event)));
            }
        });
        at += 1;
    }
    found.states = states.len();
    found
}

fn way_to<E: Display>(mut at: usize, came: &[(usize, Option<E>)]) -> Vec<String> {
    let mut way = Vec::new();
    while let (before, Some(event)) = &came[at] {
        way.push(event.to_string());
        at = *before;
    }
    way.reverse();
    way
}

impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, bad } = self;
        write!(f, "{states} states, {steps} steps, {depth} levels")?;
        for (number, event) in bad.iter().flatten().enumerate() {
            write!(f, "\n  {:2}. {event}", number + 1)?;
        }
        Ok(())
    }
}
