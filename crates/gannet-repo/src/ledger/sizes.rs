//! How much each repository holds: the sum over all location logs (preferred-content §7).

use std::collections::BTreeMap;

use gannet_core::{Result, Uuid};
use gix::ObjectId;

use crate::git::{Found, Session};
use crate::journal::{Journal, is_location_log, key_of_log};
use crate::logs::location::LocationLog;
use crate::settings::Settings;

/// The sums as of one commit. The next one is reached by what differs.
#[derive(Debug, Default)]
pub(super) struct Sums {
    tip: Option<ObjectId>,
    bytes: Bytes,
}

type Bytes = BTreeMap<Uuid, i128>;

impl Sums {
    /// The sums as they are now, with what is only in the journal.
    ///
    /// # Errors
    /// When the journal or the branch cannot be read.
    pub(super) fn current(
        &mut self,
        settings: &Settings,
        session: &Session,
    ) -> Result<BTreeMap<Uuid, u64>> {
        let mut bytes;
        let mut looks_left = LOOKS_MAX;
        loop {
            self.catch_up(settings, session)?;
            bytes = self.bytes.clone();
            self.add_journals(settings, session, &mut bytes)?;
            looks_left -= 1;
            // What is committed meanwhile is gone from the journal.
            if looks_left == 0 || session.tip()? == self.tip {
                break;
            }
        }
        let positive =
            |(uuid, bytes)| (uuid, u64::try_from(i128::max(bytes, 0)).unwrap_or(u64::MAX));
        Ok(bytes.into_iter().map(positive).collect())
    }

    fn catch_up(&mut self, settings: &Settings, session: &Session) -> Result<()> {
        let tip = session.tip()?;
        if tip == self.tip {
            return Ok(());
        }
        let Some(tip) = tip else {
            *self = Self::default();
            return Ok(());
        };
        let step = |from: Option<ObjectId>, mut bytes: Bytes| -> Result<Bytes> {
            session.changes(from, tip, is_location_log, &mut |path, old, new| {
                count(settings, path, old, -1, &mut bytes);
                count(settings, path, new, 1, &mut bytes);
                Ok(())
            })?;
            Ok(bytes)
        };
        let caught_up = step(self.tip, self.bytes.clone());
        let bytes = match caught_up {
            // The commit that was known may be gone: somebody made the branch anew.
            Err(_) if self.tip.is_some() => step(None, Bytes::new())?,
            outcome => outcome?,
        };
        *self = Self { tip: Some(tip), bytes };
        Ok(())
    }

    fn add_journals(
        &self,
        settings: &Settings,
        session: &Session,
        bytes: &mut Bytes,
    ) -> Result<()> {
        for private in [false, true] {
            let journal = Journal::new(settings, private);
            for (_, path) in journal.list()? {
                if !is_location_log(&path) {
                    continue;
                }
                let Some(log) = journal.read(&path)? else { continue };
                if let Some(tip) = self.tip.filter(|_| !private)
                    && let Found::Blob(committed) = session.find(tip, &path)?
                {
                    count(settings, &path, &committed, -1, bytes);
                }
                count(settings, &path, &log, 1, bytes);
            }
        }
        Ok(())
    }
}

/// Adds the size of the key whose log this is to what its holders hold, so many times.
fn count(settings: &Settings, path: &[u8], log: &[u8], times: i128, bytes: &mut Bytes) {
    if log.is_empty() {
        return;
    }
    let Some(size) = key_of_log(settings, path).and_then(|key| key.size()) else { return };
    for holder in LocationLog::parse(log).holders() {
        *bytes.entry(holder).or_default() += times * i128::from(size);
    }
}

/// How often it is looked anew because somebody committed meanwhile.
const LOOKS_MAX: u32 = 5;
