//! Asking one node after the other, or all.

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use gannet_core::{Error, Facts, Result};
use tokio::time::sleep;

use super::{Limits, Request};
use crate::node::Member;
use crate::plan::{self, Server};

/// What came of asking one node after the other.
pub(super) enum Asked<T> {
    /// One had what was wanted. These have not answered yet.
    Got(T, Vec<Member>),
    /// None of them has it; they all said so.
    Nobody,
    /// None of them has it, as far as could be learned. This is what one said who could not tell.
    Unclear(Error),
}

impl Request {
    /// Tells whether a node has the content: as soon as one says yes, or once all said no.
    ///
    /// The gateway's own copy, if it has one, is none of the cluster's.
    pub(super) async fn check_present(&self) -> Result<bool> {
        let limits = self.limits();
        let order = self.in_order(&self.facts().await?);
        let ask = |member: Member| async move {
            let asker = self.asker_at(&member);
            let answer = member.node.annex.check_present(&asker, &self.key);
            Ok(member.ask(limits.answer, answer).await?.then_some(()))
        };
        match first(order, limits, ask).await {
            Asked::Got((), _) => Ok(true),
            Asked::Nobody => Ok(false),
            Asked::Unclear(error) => Err(error),
        }
    }

    /// All members, those that are most likely to serve well first.
    pub(super) fn in_order(&self, facts: &Facts) -> Vec<Member> {
        let servers = self.believed(facts).map(|(member, has)| Server {
            has,
            resting: member.is_resting(),
            cost: member.node.cost,
            wait: member.expected_wait(),
        });
        let order = plan::serve(&servers.collect::<Vec<_>>());
        order.into_iter().map(|place| self.members[place].clone()).collect()
    }

    /// Asks each of these, several at once, and returns all answers in the same order.
    pub(super) async fn each<T, F>(
        &self,
        members: Vec<Member>,
        ask: impl Fn(Member) -> F,
    ) -> Vec<(Member, T)>
    where
        F: Future<Output = T>,
    {
        let jobs = self.limits().jobs.max(1);
        let asking = members.into_iter().map(|member| {
            let answer = ask(member.clone());
            async move { (member, answer.await) }
        });
        stream::iter(asking).buffered(jobs).collect().await
    }
}

/// Asks one after the other until one has what is wanted. Whoever lets us wait is not waited for
/// alone: the next one is asked besides. Those who are not needed any more are dropped.
pub(super) async fn first<T, F>(
    members: Vec<Member>,
    limits: Limits,
    ask: impl Fn(Member) -> F,
) -> Asked<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let mut members: Vec<Option<Member>> = members.into_iter().map(Some).collect();
    let begin = |place: usize, member: Member| {
        let answer = ask(member);
        async move { (place, answer.await) }
    };
    let mut next = 0;
    let mut asked = FuturesUnordered::new();
    let mut unclear = None;
    loop {
        let may_ask = asked.len() < limits.jobs.max(1);
        let member = members.get(next).filter(|_| may_ask).cloned().flatten();
        match member {
            // Nobody is there to be waited for.
            Some(member) if asked.is_empty() => {
                asked.push(begin(next, member));
                next += 1;
            }
            member => tokio::select! {
                biased;
                answer = asked.next() => {
                    let Some((place, answer)) = answer else {
                        return unclear.map_or(Asked::Nobody, Asked::Unclear);
                    };
                    members[place] = None;
                    match answer {
                        Ok(Some(got)) => return Asked::Got(got, members.into_iter().flatten().collect()),
                        Ok(None) => {}
                        Err(error) => {
                            unclear.get_or_insert(error);
                        }
                    }
                }
                () = sleep(limits.hedge), if member.is_some() => {
                    asked.extend(member.map(|member| begin(next, member)));
                    next += 1;
                }
            },
        }
    }
}
