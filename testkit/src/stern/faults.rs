//! The faults that a place can be told to have.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use gannet_core::{Error, Result};

use crate::Gate;

/// The faults of a place. At first it has none.
#[derive(Clone)]
pub struct Faults {
    /// Each get ends with [`Verdict::Doubtful`](gannet_core::Verdict::Doubtful).
    pub doubtful_gets: bool,
    /// Each get ends after so many bytes, without a verdict.
    pub cut_gets_after: Option<u64>,
    /// Each piece, the verdict too, of gets and of puts must pass this gate.
    pub gate: Option<Arc<Gate>>,
    /// Bytes in each piece of a get.
    pub piece_bytes: usize,
    errors: HashMap<Verb, Arc<dyn Fn() -> Error + Send + Sync>>,
}

/// The verbs of an [`Annex`](gannet_core::Annex).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are named after the verbs")]
pub enum Verb {
    CheckPresent,
    Get,
    PutOffset,
    Put,
    PutPresent,
    Remove,
    RemoveBefore,
    Timestamp,
    Lock,
}

impl Faults {
    /// From now on this verb only gives this error.
    pub fn fail(&mut self, verb: Verb, error: impl Fn() -> Error + Send + Sync + 'static) {
        self.errors.insert(verb, Arc::new(error));
    }

    pub(super) fn check(&self, verb: Verb) -> Result<()> {
        self.errors.get(&verb).map_or(Ok(()), |error| Err(error()))
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            doubtful_gets: false,
            cut_gets_after: None,
            gate: None,
            piece_bytes: 16 * 1024,
            errors: HashMap::new(),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("doubtful_gets", &self.doubtful_gets)
            .field("cut_gets_after", &self.cut_gets_after)
            .field("gate", &self.gate)
            .field("piece_bytes", &self.piece_bytes)
            .field("errors", &self.errors.keys())
            .finish()
    }
}
