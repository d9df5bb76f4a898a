//! What is behind gateways: uuids that repositories serve besides their own.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use gannet_core::{Result, Uuid};

/// Behind which gateway each uuid is, and what was complained about when that was last found out.
#[derive(Default)]
pub(super) struct Behind {
    gateways: HashMap<Uuid, Uuid>,
    complaints: HashSet<String>,
}

impl Behind {
    pub(super) fn gateway_of(&self, uuid: &Uuid) -> Option<&Uuid> {
        self.gateways.get(uuid)
    }

    pub(super) fn forget(&mut self, uuid: &Uuid, gateway: &Uuid) {
        if self.gateways.get(uuid) == Some(gateway) {
            self.gateways.remove(uuid);
        }
    }

    /// Learns what each gateway serves. Where two serve one uuid, the first has it; of those that
    /// cannot tell what they serve, it is what they served before. What is wrong goes to the log,
    /// once as long as it stays wrong.
    pub(super) fn learn(&mut self, seen: impl Iterator<Item = (Uuid, Result<Vec<Uuid>>)>) {
        let before = std::mem::take(&mut self.gateways);
        let mut complaints = HashSet::new();
        for (gateway, served) in seen {
            let served = served.unwrap_or_else(|error| {
                let why = error.chain();
                complaints.insert(format!("cannot tell what {gateway} is a gateway of: {why}"));
                let same = before.iter().filter(|(_, by)| **by == gateway);
                same.map(|(uuid, _)| uuid.clone()).collect()
            });
            for uuid in served {
                match self.gateways.entry(uuid) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(gateway.clone());
                    }
                    Entry::Occupied(first) => {
                        let (uuid, first) = (first.key(), first.get());
                        complaints.insert(format!(
                            "both {first} and {gateway} are gateways of {uuid}: it is served \
                             through the former only"
                        ));
                    }
                }
            }
        }
        for complaint in complaints.difference(&self.complaints) {
            tracing::warn!("{complaint}");
        }
        self.complaints = complaints;
    }
}
