//! Storing at all nodes that want it, from one stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use gannet_core::error::Denied;
use gannet_core::{
    AssociatedFile, Content, Error, Facts, PutOffset, Result, Stored, Uuid, Verdict,
};

use super::Request;
use super::asking::{Asked, first};
use crate::fan::{Branch, Ending, Fan, Patience};
use crate::node::{Member, is_failure};
use crate::plan::{self, Taker};
use crate::reserved::Reservation;
use crate::turns::{Slot, Turn, soon};
use crate::wanted::{self, Question};

/// What the nodes that shall store something say before it comes.
struct Offsets {
    /// Those who lack it, and how much of it they hold.
    lacking: Vec<(Member, u64)>,
    /// Those who have it, and who has it behind them.
    having: Vec<(Member, Vec<Uuid>)>,
    /// What went wrong first.
    failed: Option<Error>,
}

/// What came of a put at one node.
struct Outcome {
    /// Where it is among those who take it.
    place: usize,
    member: Member,
    /// The node saw that the content is valid: it has it from us.
    taken: bool,
    stored: Result<Stored>,
}

impl Request {
    /// The offset from which all who may store the content can take it.
    pub(super) async fn put_offset(&self) -> Result<PutOffset> {
        // Whoever does not say what the file is called may do so later, and others may want it
        // then (preferred-content §8).
        let members = match self.file == AssociatedFile::default() {
            true => self.writable(self.members.to_vec())?,
            false => self.takers().await?.0,
        };
        let offsets = self.offsets(members).await?;
        match offsets.least() {
            Some(least) => Ok(PutOffset::From(least)),
            None => {
                let plus = self.having(offsets.holders(), offsets.failed).await?;
                Ok(PutOffset::AlreadyHave { plus })
            }
        }
    }

    pub(super) async fn put(&self, content: Content) -> Result<Stored> {
        let (members, _space) = self.takers().await?;
        let offsets = self.offsets(members).await?;
        let Some(held) = offsets.least() else {
            let plus = self.having(offsets.holders(), offsets.failed).await?;
            return Ok(Stored { plus });
        };
        let from = content.from;
        let takers: Vec<_> = offsets.lacking.iter().filter(|(_, held)| *held >= from).collect();
        if takers.is_empty() {
            return Err(Error::WrongOffset { from, held });
        }
        let (content, turn) =
            self.parts.turns.adding_at_the_end(&self.key, content, self.turn_limit);
        let fan = Fan::new(content, self.limits().window_bytes);
        let puts = takers.into_iter().enumerate().map(|(place, (member, held))| {
            let (branch, content) = fan.branch(*held);
            self.put_at(place, member.clone(), branch, content)
        });
        let puts: Vec<_> = puts.collect();
        let mut outcomes = Vec::new();
        let ending = fan.pour(puts, |outcome| outcomes.push(outcome)).await;
        // Until here nobody could remove it once it was stored; now that is recorded.
        self.settle(outcomes, ending, offsets, &turn).await
    }

    /// Looks whether the content reached nodes by another way.
    pub(super) async fn put_present(&self) -> Result<Stored> {
        let _turn = self.adding().await?;
        let limit = self.limits().answer;
        let ask = |member: Member| async move {
            let asker = self.asker_at(&member);
            let answer = member.node.annex.put_present(&asker, &self.key, &self.file);
            member.ask(limit, answer).await
        };
        let mut who = Vec::new();
        let mut failed = None;
        for (member, answer) in self.each(self.members.to_vec(), ask).await {
            match answer {
                Ok(stored) => who.extend(member.with(stored.plus)),
                Err(Error::Missing { .. }) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        if who.is_empty() {
            return Err(failed.unwrap_or_else(|| Error::Missing { key: self.key.clone() }));
        }
        self.parts.recorder.record(&self.key, &who, true).await?;
        Ok(Stored { plus: self.plus(who) })
    }

    /// The nodes that shall store the content, and space for it there, as far as that is counted.
    ///
    /// # Errors
    /// When there is none.
    async fn takers(&self) -> Result<(Vec<Member>, Reservation)> {
        let facts = self.facts().await?;
        let counted = |member: &Member| wanted::needs_sizes(&member.node.uuid, &facts.book);
        let sizes = match self.members.iter().any(counted) {
            true => self.parts.gateway.ledger.sizes().await?,
            false => Arc::default(),
        };
        let size = self.key.size().unwrap_or(0);
        let mut chosen = Vec::new();
        let reservation = self.parts.reserved.reserve(&sizes, size, |sizes| {
            let takers = self.believed(&facts).map(|(member, has)| Taker {
                has,
                wants: self.is_wanted(member, &facts, sizes),
                read_only: member.node.read_only,
            });
            let places = plan::store(&takers.collect::<Vec<_>>());
            chosen = places.into_iter().map(|place| self.members[place].clone()).collect();
            chosen.iter().map(|member| member.node.uuid.clone()).collect()
        });
        Ok((self.writable(chosen)?, reservation))
    }

    /// Whether a node wants the content. Where nothing is configured, all is wanted
    /// (proxy-cluster §7).
    fn is_wanted(&self, member: &Member, facts: &Facts, sizes: &BTreeMap<Uuid, u64>) -> bool {
        let question = Question {
            repository: &member.node.uuid,
            key: &self.key,
            file: &self.file,
            facts,
            sizes,
            gone: false,
        };
        wanted::wants(&question).unwrap_or(true)
    }

    /// # Errors
    /// When nothing may be stored at any of these.
    fn writable(&self, mut members: Vec<Member>) -> Result<Vec<Member>> {
        members.retain(|member| !member.node.read_only);
        match members.is_empty() {
            true => Err(Error::Forbidden { denied: Denied::Write }),
            false => Ok(members),
        }
    }

    async fn adding(&self) -> Result<Turn> {
        soon(self.turn_limit, &self.key, self.parts.turns.adding(&self.key)).await
    }

    /// Asks these what they hold of the content. Whoever has it without being recorded is.
    async fn offsets(&self, members: Vec<Member>) -> Result<Offsets> {
        let _turn = self.adding().await?;
        let limit = self.limits().answer;
        let ask = |member: Member| async move {
            let asker = self.asker_at(&member);
            let answer = member.node.annex.put_offset(&asker, &self.key, &self.file);
            member.ask(limit, answer).await
        };
        let mut offsets = Offsets { lacking: Vec::new(), having: Vec::new(), failed: None };
        for (member, answer) in self.each(members, ask).await {
            match answer {
                Ok(PutOffset::From(held)) => offsets.lacking.push((member, held)),
                Ok(PutOffset::AlreadyHave { plus }) => offsets.having.push((member, plus)),
                Err(error) => {
                    offsets.failed.get_or_insert(error);
                }
            }
        }
        if !offsets.having.is_empty() {
            let holders = self.facts().await?.holders;
            let mut news = offsets.holders();
            news.retain(|uuid| !holders.contains(uuid));
            self.parts.recorder.record(&self.key, &news, true).await?;
        }
        Ok(offsets)
    }

    async fn put_at(
        &self,
        place: usize,
        member: Member,
        branch: Branch,
        content: Content,
    ) -> Outcome {
        let _busy = member.busy();
        let limits = self.limits();
        let patience = Patience { stall: limits.stall, settle: limits.settle };
        let asker = self.asker_at(&member);
        let put = member.node.annex.put(&asker, &self.key, &self.file, content);
        let stored = branch.watch(patience, put).await.map_err(|error| match error {
            Error::Stalled => member.node.fault("it takes nothing more"),
            error => error,
        });
        Outcome { place, member, taken: branch.is_taken(), stored }
    }

    /// Makes one answer of what came of the put at each node, and records it.
    async fn settle(
        &self,
        mut outcomes: Vec<Outcome>,
        ending: Ending,
        offsets: Offsets,
        turn: &Slot,
    ) -> Result<Stored> {
        outcomes.sort_by_key(|outcome| outcome.place);
        let mut stored = Vec::new();
        let mut had = Vec::new();
        let mut failed = None;
        for Outcome { member, taken, stored: outcome, .. } in outcomes {
            match outcome {
                Ok(also) if taken => stored.extend(member.with(also.plus)),
                Ok(also) => had.push((member, also.plus)),
                Err(error) => {
                    if is_failure(&error) && !matches!(ending, Ending::Broken(_)) {
                        member.failed();
                    }
                    failed = Some(more_telling(failed, error));
                }
            }
        }
        // Those who did not look at the verdict, or did not even want the content, had it before.
        // Have they still?
        if matches!(ending, Ending::Complete(Verdict::Valid) | Ending::Unread) {
            had.extend(offsets.having);
        }
        let _turn = match had.is_empty() || turn.is_filled() {
            true => None,
            false => Some(self.adding().await?),
        };
        for (member, plus) in had {
            match self.has(&member).await {
                Ok(true) => stored.extend(member.with(plus)),
                Ok(false) => {}
                Err(error) => failed = Some(more_telling(failed, error)),
            }
        }
        self.parts.recorder.record(&self.key, &stored, true).await?;
        match ending {
            Ending::Broken(error) => Err(error),
            Ending::Complete(Verdict::Doubtful) => Err(Error::Doubtful),
            Ending::Complete(Verdict::Valid) | Ending::Unread => {
                let plus = self.having(stored, failed.or(offsets.failed)).await?;
                Ok(Stored { plus })
            }
        }
    }

    /// The uuids of those who have the content, once nobody is left to whom it could be sent.
    ///
    /// If none of those who were asked has it, others may: then it is here, though those who
    /// should store it cannot.
    ///
    /// # Errors
    /// When nobody has it.
    async fn having(&self, holders: Vec<Uuid>, failed: Option<Error>) -> Result<Vec<Uuid>> {
        if !holders.is_empty() {
            return Ok(self.plus(holders));
        }
        let error = match failed {
            Some(error @ (Error::Rejected { .. } | Error::Refused { .. })) => return Err(error),
            Some(error) => error,
            None => Error::Missing { key: self.key.clone() },
        };
        let facts = self.facts().await.ok();
        let believed = facts.iter().flat_map(|facts| self.believed(facts));
        let holders = believed.filter(|(_, has)| *has).map(|(member, _)| member.clone()).collect();
        let limits = self.limits();
        let ask = |member: Member| async move {
            let has = self.has(&member).await?;
            Ok(has.then(|| member.node.uuid.clone()))
        };
        match first(holders, limits, ask).await {
            Asked::Got(holder, _) => Ok(self.plus([holder])),
            Asked::Nobody | Asked::Unclear(_) => Err(error),
        }
    }

    /// Whether a node says that it has the content when it is offered: that is what puts are
    /// acknowledged by.
    async fn has(&self, member: &Member) -> Result<bool> {
        let asker = self.asker_at(member);
        let answer = member.node.annex.put_offset(&asker, &self.key, &self.file);
        let offset = member.ask(self.limits().answer, answer).await?;
        Ok(matches!(offset, PutOffset::AlreadyHave { .. }))
    }
}

impl Offsets {
    fn holders(&self) -> Vec<Uuid> {
        let all = self.having.iter().cloned();
        all.flat_map(|(member, plus)| member.with(plus)).collect()
    }

    fn least(&self) -> Option<u64> {
        self.lacking.iter().map(|(_, held)| *held).min()
    }
}

/// What a node says no for, rather than how it failed; else what came first.
fn more_telling(before: Option<Error>, error: Error) -> Error {
    match before {
        Some(before) if !is_failure(&before) || is_failure(&error) => before,
        _ => error,
    }
}
