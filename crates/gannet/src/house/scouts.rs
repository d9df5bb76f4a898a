//! Looks at disks that may never answer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// Does what may hang on another thread, which is left behind if it does.
#[derive(Default)]
pub(super) struct Scouts {
    waiting: Option<Sender<Errand>>,
    /// Where somebody was left behind, and whether they have come back.
    lost: HashMap<PathBuf, Arc<AtomicBool>>,
}

type Errand = Box<dyn FnOnce() + Send>;

impl Scouts {
    /// Does `work`, which looks at `path`. `None`: the disk did not answer in time. As long as it
    /// does not, nobody else is sent there.
    pub(super) fn send<T: Send + 'static>(
        &mut self,
        path: &Path,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.lost.get(path).is_some_and(|back| !back.load(Ordering::Acquire)) {
            return None;
        }
        let back = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let returned = Arc::clone(&back);
        let errand = move || {
            let seen = work();
            returned.store(true, Ordering::Release);
            // Nobody listens any more if it took too long.
            drop(tell.send(seen));
        };
        let waiting = self.waiting.take().or_else(hire)?;
        waiting.send(Box::new(errand)).ok()?;
        match told.recv_timeout(PATIENCE) {
            Ok(seen) => {
                self.lost.remove(path);
                self.waiting = Some(waiting);
                Some(seen)
            }
            Err(_) => {
                self.lost.insert(path.to_owned(), back);
                None
            }
        }
    }

    /// Lets the thread end that waits for the next errand.
    pub(super) fn rest(&mut self) {
        self.waiting = None;
    }
}

fn hire() -> Option<Sender<Errand>> {
    let (waiting, errands) = mpsc::channel::<Errand>();
    let scout = thread::Builder::new().name("gannet scout".to_owned());
    let hired = scout.spawn(move || errands.into_iter().for_each(|errand| errand()));
    hired.ok().map(|_| waiting)
}

/// Longer than any disk takes that is awake.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_hangs_is_left_behind_once_and_asked_again_when_back() {
        let mut scouts = Scouts::default();
        let (free, hang) = mpsc::channel::<()>();
        let (at, elsewhere) = (Path::new("/hung"), Path::new("/good"));
        assert_eq!(scouts.send(at, move || hang.recv().is_ok()), None);
        assert_eq!(scouts.send(at, || panic!("nobody may be sent here")), None::<()>);
        assert_eq!(scouts.send(elsewhere, || 1), Some(1));
        free.send(()).unwrap();
        while !scouts.lost[at].load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert_eq!(scouts.send(at, || 2), Some(2));
    }
}
