//! Whether a term holds for a content (preferred-content §5).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gannet_core::backend::{Strength, strength};
use gannet_core::{Book, Key, Trust, Uuid};

use super::Question;
use super::balance::{Member, Ring, by_size};
use super::glob::chars;
use super::term::{Balanced, Copies, CopiesOf, Term};

/// Judges terms. What several of them need is found out once.
pub(super) struct Judge<'a> {
    pub(super) question: Question<'a>,
    /// What the content is called, if it is called anything.
    file: Option<Vec<u32>>,
    rings: RefCell<HashMap<String, Rc<Ring<'a>>>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(question: Question<'a>) -> Self {
        let file = (!question.file.0.is_empty()).then(|| chars(&question.file.0));
        Self { question, file, rings: RefCell::default() }
    }

    /// Whether a term holds. Those that stand for other expressions are not for this judge.
    pub(super) fn holds(&self, term: &Term) -> bool {
        let Question { repository, key, facts, .. } = self.question;
        match term {
            Term::Anything => true,
            Term::Nothing | Term::Standard | Term::GroupWanted => false,
            Term::Present => facts.holders.contains(repository),
            Term::Include(glob) => self.file.as_ref().is_some_and(|file| glob.matches(file)),
            Term::Exclude(glob) => !self.file.as_ref().is_some_and(|file| glob.matches(file)),
            Term::InPreferredDir => self.is_in_preferred_dir(),
            Term::LargerThan(than) => key.size().is_some_and(|size| i128::from(size) > *than),
            Term::SmallerThan(than) => key.size().is_none_or(|size| i128::from(size) < *than),
            Term::Copies { of, at_least } => self.copies(of) >= *at_least,
            Term::LackingCopies { at_least, approximately } => {
                self.lacking(*approximately) >= *at_least
            }
            Term::InAllGroup(group) => self.is_in_all(group),
            Term::OnlyInGroup(group) => self.is_only_in(group),
            Term::InBackend(backend) => key.backend() == backend.as_bytes(),
            Term::SecureHash => self.is_secure(),
            Term::Metadata { field, test } => self.values(field).any(|value| test.passes(value)),
            Term::Url(glob) => facts.urls.iter().any(|url| glob.matches(&chars(url.as_bytes()))),
            Term::Unused => self.file.is_none() && facts.unused,
            Term::Balanced(balanced) => self.is_balanced(balanced),
        }
    }

    pub(super) fn book(&self) -> &'a Book {
        &self.question.facts.book
    }

    /// Who has the content; or would, if it were gone here.
    pub(super) fn locations(&self) -> impl Iterator<Item = &'a Uuid> {
        let Question { repository, facts, gone, .. } = self.question;
        facts.holders.iter().filter(move |holder| !(gone && *holder == repository))
    }

    /// How many copies of some kind there are.
    pub(super) fn copies(&self, of: &CopiesOf) -> i64 {
        let book = self.book();
        count(self.locations().filter(|&holder| match of {
            CopiesOf::All => true,
            CopiesOf::Trust(trust) => book.trust(holder) == *trust,
            CopiesOf::TrustFrom(trust) => book.trust(holder) >= *trust,
            CopiesOf::Group(group) => is_member(book, holder, group),
        }))
    }

    /// How many copies there should be.
    pub(super) fn numcopies(&self, approximately: bool) -> i64 {
        let of_file = self.question.facts.numcopies_of_file;
        let of_file = of_file.filter(|_| !approximately && self.file.is_some());
        let number = of_file.or(self.book().numcopies).unwrap_or(NUMCOPIES);
        i64::try_from(number).unwrap_or(i64::MAX)
    }

    /// How many more there should be.
    pub(super) fn lacking(&self, approximately: bool) -> i64 {
        self.numcopies(approximately) - count(self.locations().filter(|holder| self.counts(holder)))
    }

    /// All values of a field of the metadata.
    pub(super) fn values(&self, field: &str) -> impl Iterator<Item = &'a Vec<u8>> {
        let fields = self.question.facts.metadata.iter();
        fields.filter(move |(name, _)| name.to_lowercase() == field).flat_map(|(_, values)| values)
    }

    /// The name of a directory whose files the repository prefers.
    pub(super) fn preferred_dir(&self) -> &'a str {
        self.book().preferred_dirs.get(self.question.repository).map_or("public", String::as_str)
    }

    /// How many members of its group shall have the content.
    pub(super) fn wanted_copies(&self, balanced: &Balanced) -> i64 {
        match balanced.copies {
            Copies::Number(number) => number,
            Copies::Lacking => {
                let outside = self.locations().filter(|holder| {
                    self.counts(holder) && !is_member(self.book(), holder, &balanced.group)
                });
                self.numcopies(false) - count(outside)
            }
        }
    }

    /// The members of its group that the content is for, wherever it is.
    pub(super) fn takers(&self, balanced: &Balanced) -> Vec<&'a Uuid> {
        let copies = self.wanted_copies(balanced);
        if balanced.by_size {
            return by_size(&self.members(&balanced.group), self.question.key, copies);
        }
        let mut rings = self.rings.borrow_mut();
        let ring = rings.entry(balanced.group.clone()).or_insert_with(|| {
            Rc::new(Ring::new(&self.members(&balanced.group), self.question.key))
        });
        ring.takers(copies).collect()
    }

    fn is_balanced(&self, balanced: &Balanced) -> bool {
        let repository = self.question.repository;
        if balanced.stays {
            if self.question.facts.holders.contains(repository) {
                return true;
            }
            let enough = match balanced.copies {
                Copies::Number(number) => {
                    self.copies(&CopiesOf::Group(balanced.group.clone())) >= number
                }
                Copies::Lacking => self.lacking(false) < 1,
            };
            if enough {
                return false;
            }
        }
        self.takers(balanced).contains(&repository)
    }

    fn members(&self, group: &str) -> Vec<Member<'a>> {
        let Question { facts, sizes, .. } = self.question;
        let book = self.book();
        let all = book.groups.iter().filter(|(_, groups)| groups.contains(group));
        let member = |uuid| Member {
            uuid,
            has_it: facts.holders.contains(uuid),
            max: book.max_sizes.get(uuid).copied(),
            size: sizes.get(uuid).copied(),
        };
        all.map(|(uuid, _)| member(uuid)).collect()
    }

    fn counts(&self, holder: &Uuid) -> bool {
        self.book().trust(holder) > Trust::Untrusted
    }

    fn is_in_all(&self, group: &str) -> bool {
        let Question { repository, facts, gone, .. } = self.question;
        let mut members = self.book().members(group).filter(|uuid| uuid.as_cluster().is_none());
        members.all(|member| facts.holders.contains(member) && !(gone && member == repository))
    }

    fn is_only_in(&self, group: &str) -> bool {
        let mut locations = self.locations().peekable();
        locations.peek().is_some() && locations.all(|it| is_member(self.book(), it, group))
    }

    /// A name that contains no slash means the directory in which the file is; the reference looks
    /// further up only for names that end in one.
    fn is_in_preferred_dir(&self) -> bool {
        let file: &[u8] = &self.question.file.0;
        let Some(end) = file.iter().rposition(|&byte| byte == b'/') else { return false };
        let dir = &file[..end];
        let dir = &dir[..dir.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1)];
        parts(dir).any(|part| part == self.preferred_dir().as_bytes())
    }

    fn is_secure(&self) -> bool {
        let Question { key, facts, .. } = self.question;
        let is_secure = |key: &Key| strength(key) == Strength::Secure;
        is_secure(key) || key.backend() == b"VURL" && facts.equivalents.iter().all(is_secure)
    }
}

fn is_member(book: &Book, repository: &Uuid, group: &str) -> bool {
    book.groups.get(repository).is_some_and(|groups| groups.contains(group))
}

fn count(holders: impl Iterator) -> i64 {
    i64::try_from(holders.count()).unwrap_or(i64::MAX)
}

/// The parts of a path, each with the slashes that follow it.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.chunk_by(|&one, &next| !(one == b'/' && next != b'/'))
}

/// How many copies there shall be if nobody says otherwise.
const NUMCOPIES: u64 = 1;
