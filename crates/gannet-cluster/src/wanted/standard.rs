//! Standard groups, and what their members want (preferred-content §6).

use std::collections::BTreeSet;

/// The one standard group among these and the expression of its members; `None` if there are
/// more, or none.
pub(super) fn standard(groups: &BTreeSet<String>) -> Option<(&'static str, String)> {
    let mut standard = STANDARD.iter().filter(|(group, _)| groups.contains(*group));
    match (standard.next(), standard.next()) {
        (Some((group, expression)), None) => Some((group, expression())),
        _ => None,
    }
}

type Write = fn() -> String;

static STANDARD: [(&str, Write); 10] = [
    ("client", client),
    ("transfer", || {
        format!("(not (inallgroup=client and copies=client:2) and ({})) or {LACKING}", client())
    }),
    ("backup", || "anything".to_owned()),
    ("incrementalbackup", || {
        format!("((not copies=backup:1) and (not copies=incrementalbackup:1)) or {LACKING}")
    }),
    ("smallarchive", || {
        format!("((include=*/archive/* or include=archive/*) and ({})) or {LACKING}", archive())
    }),
    ("archive", archive),
    ("source", || "not (copies=1)".to_owned()),
    ("manual", || format!("present and ({})", client())),
    ("public", || "inpreferreddir".to_owned()),
    ("unwanted", || "not anything".to_owned()),
];

fn client() -> String {
    format!(
        "(include=* and ((exclude=*/archive/* and exclude=archive/*) or ({NOT_ARCHIVED}))) \
         or {LACKING}"
    )
}

fn archive() -> String {
    format!("({NOT_ARCHIVED}) or {LACKING}")
}

const NOT_ARCHIVED: &str = "not (copies=archive:1 or copies=smallarchive:1)";
const LACKING: &str = "approxlackingcopies=1";
