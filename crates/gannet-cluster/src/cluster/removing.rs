//! Removing from every node.

use std::sync::Arc;

use gannet_core::error::Denied;
use gannet_core::time::{far_deadline, time_left};
use gannet_core::{Error, Removal, Result, Timestamp, Uuid};

use super::Request;
use crate::node::Member;
use crate::turns::soon;

impl Request {
    /// Removes the content from all nodes, whatever is recorded of them, and records what came of
    /// it (proxy-cluster §9).
    ///
    /// A removal that nobody waits for is not begun; once begun it is finished, whether or not
    /// anybody waits, for the first node may have removed the content already.
    pub(super) async fn remove(self, deadline: Option<Timestamp>) -> Result<Removal> {
        let turn = self.parts.turns.removing(&self.key);
        let turn = soon(self.turn_limit, &self.key, turn).await?;
        let removing = tokio::spawn(async move {
            let removal = self.remove_everywhere(deadline).await;
            drop(turn);
            removal
        });
        removing.await.map_err(|error| Error::Internal(error.to_string()))?
    }

    async fn remove_everywhere(&self, deadline: Option<Timestamp>) -> Result<Removal> {
        let ask = |member| self.remove_at(member, deadline);
        let answers = self.each(self.members.to_vec(), ask).await;
        let mut removed = true;
        let mut gone: Vec<Uuid> = Vec::new();
        let mut failed = None;
        for (member, answer) in answers {
            match answer {
                Ok(removal) => {
                    removed &= removal.removed;
                    gone.extend(removal.removed.then(|| member.node.uuid.clone()));
                    gone.extend(removal.plus);
                }
                Err(error) => {
                    removed = false;
                    failed.get_or_insert(error);
                }
            }
        }
        let plus = self.plus(gone);
        self.parts.recorder.record(&self.key, &plus, false).await?;
        match failed {
            Some(error) if plus.is_empty() => Err(error),
            _ => Ok(Removal { removed, plus }),
        }
    }

    async fn remove_at(&self, member: Member, deadline: Option<Timestamp>) -> Result<Removal> {
        if member.node.read_only {
            return Err(Error::Forbidden { denied: Denied::Remove });
        }
        let annex = Arc::clone(&member.node.annex);
        let asker = &self.asker_at(&member);
        let limit = self.limits().answer;
        let remove = |limit| member.ask(limit, annex.remove(asker, &self.key));
        let Some(deadline) = deadline else {
            return remove(limit).await;
        };
        // Theirs first, then ours: so a slow answer can only shorten what is left.
        let theirs = member.ask(limit, annex.timestamp(asker)).await;
        let ours = self.parts.gateway.clock.boot();
        let far = match theirs {
            Ok(theirs) => far_deadline(theirs, ours, deadline),
            // It is too old to know of deadlines, so we look at ours, and do not wait beyond that.
            Err(Error::Unsupported(_)) => {
                return match time_left(ours, deadline) {
                    Some(left) => remove(limit.min(left)).await,
                    None => Ok(Removal::refused()),
                };
            }
            Err(error) => return Err(error),
        };
        match far {
            Some(far) => member.ask(limit, annex.remove_before(asker, &self.key, far)).await,
            None => Ok(Removal::refused()),
        }
    }
}
