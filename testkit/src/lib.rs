//! The promise of [`Annex`] stated once, as tests, and what such tests need:
//! a place sterner than any real one, a clock that is set by hand, contents that end badly.
//!
//! Each room that has a place of its own runs the suite on it:
//!
//! ```text
//! gannet_testkit::annex_keeps_its_promise!(memory, Stern::new());
//! ```
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code, though it is not in a test module"
)]

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use gannet_core::Annex;

mod clock;
mod content;
mod dice;
pub mod frames;
mod ledger;
mod notes;
mod scratch;
mod stern;
pub mod suite;

pub use clock::TestClock;
pub use content::{Ending, Gate, Journey, Sample};
pub use dice::Dice;
pub use ledger::TestLedger;
pub use notes::MemoryNotes;
pub use scratch::ScratchDir;
pub use stern::{Asked, Faults, Stern, Verb};

/// An external special remote, as a shell script: it keeps objects in the directory that its
/// setting `directory` names.
pub const EXTERNAL_PROGRAM: &str = include_str!("sham.sh");

/// A place under test, and all that must stay alive with it (directories, servers).
///
/// It must be empty at first, and nobody else's.
pub trait Place {
    /// The place.
    fn annex(&self) -> Arc<dyn Annex>;
    /// The clock by which it measures deadlines and retention, if a test may set it.
    fn clock(&self) -> Option<Arc<TestClock>>;
    /// Whether a transport stands between the asker and the content. What is far may flatten
    /// errors into one, may read ahead, and learns a little late that somebody went away.
    fn is_far(&self) -> bool {
        false
    }
}

/// A [`Place`] made of its parts.
pub struct Parts {
    annex: Arc<dyn Annex>,
    clock: Option<Arc<TestClock>>,
    far: bool,
    _guards: Box<dyn Any + Send + Sync>,
}

impl Parts {
    /// A near place; `guards` are dropped after it.
    pub fn new(
        annex: Arc<dyn Annex>,
        clock: Option<Arc<TestClock>>,
        guards: impl Any + Send + Sync,
    ) -> Self {
        Self { annex, clock, far: false, _guards: Box::new(guards) }
    }

    /// The same, behind a transport: see [`Place::is_far`].
    #[must_use]
    pub fn far(self) -> Self {
        Self { far: true, ..self }
    }
}

impl Place for Parts {
    fn annex(&self) -> Arc<dyn Annex> {
        Arc::clone(&self.annex)
    }
    fn clock(&self) -> Option<Arc<TestClock>> {
        self.clock.clone()
    }
    fn is_far(&self) -> bool {
        self.far
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({})", self.annex)
    }
}

/// Writes a module of tests, one for each promise of [`suite`].
///
/// The expression makes a [`Place`], anew for each test. It stands in an async block on a Tokio
/// runtime, so it may use `.await`, and sees the names of the module around.
/// Where a place breaks promises, and everybody knows it: `except [a_promise, another]` after the
/// place. Their tests fail as soon as one is kept after all.
#[macro_export]
macro_rules! annex_keeps_its_promise {
    ($module:ident, $place:expr $(,)?) => {
        $crate::annex_keeps_its_promise!($module, $place, except []);
    };
    ($module:ident, $place:expr, except $known:tt $(,)?) => {
        $crate::annex_keeps_its_promise!(@ $module, $place, $known;
            // Storing and reading.
            nothing_is_there_at_first
            what_is_put_is_got
            any_part_can_be_got
            opening_tells_the_size
            present_content_is_not_read_again
            empty_content_is_content
            every_kind_of_key_is_kept
            odd_names_are_kept_apart
            content_that_came_another_way_is_vouched_for
            puts_of_one_key_at_once_store_it_once
            puts_of_many_keys_at_once_are_all_stored
            // Refusing.
            wrong_bytes_leave_nothing
            a_wrong_size_leaves_nothing
            surplus_bytes_leave_nothing_visible
            doubtful_content_is_not_stored
            a_gap_is_refused
            an_unverifiable_key_is_stored_whole_or_not_at_all
            // Resuming.
            asking_for_the_offset_changes_nothing
            a_broken_put_is_resumed
            a_put_may_resume_below_its_offset
            a_put_may_break_again_and_again
            a_bad_beginning_is_found_out
            an_unverifiable_key_keeps_no_partial_content
            a_dropped_put_is_resumed
            a_dropped_put_of_an_unverifiable_key_leaves_nothing
            // Removing.
            absent_content_counts_as_removed
            removed_content_is_gone_and_can_come_back
            the_clock_does_not_go_back
            content_is_removed_before_its_deadline_only
            the_deadline_itself_is_too_late
            // Locking.
            absent_content_cannot_be_locked
            a_lock_blocks_removal_until_it_is_released
            a_lock_blocks_removal_before_a_deadline
            two_locks_need_two_releases
            a_dropped_lock_keeps_blocking
            a_release_does_not_free_what_another_lock_retains
            retention_ends_after_ten_minutes
            a_held_lock_outlives_its_retention
        );
    };
    (@ $module:ident, $place:expr, [$($known:ident),* $(,)?]; $($promise:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need none of them")]
            use super::*;

            const KNOWN: &[&str] = &[$(stringify!($known)),*];

            #[test]
            fn what_is_excepted_is_a_promise() {
                let promises = [$(stringify!($promise)),*];
                for known in KNOWN {
                    assert!(promises.contains(known), "{known} is no promise");
                }
            }

            $(
                #[test]
                fn $promise() {
                    $crate::suite::judge(stringify!($promise), KNOWN, async {
                        let place = $place;
                        $crate::suite::$promise(&place).await;
                    });
                }
            )*
        }
    };
}
