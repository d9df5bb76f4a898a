//! Numbers side by side.

use std::fmt;

use super::servers::Kind;

/// Rows in the order in which they were measured first.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    unit: &'static str,
    values: Vec<(Kind, f64)>,
}

impl Table {
    pub(super) fn add(&mut self, what: &str, unit: &'static str, kind: Kind, value: f64) {
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => row.values.push((kind, value)),
            None => {
                let values = vec![(kind, value)];
                self.rows.push(Row { what: what.to_owned(), unit, values });
            }
        }
    }
}

impl Row {
    fn value(&self, kind: Kind) -> Option<f64> {
        self.values.iter().find(|(it, _)| *it == kind).map(|(_, value)| *value)
    }

    /// How many times as much Gannet has as `other`.
    fn ratio(&self, other: Kind) -> Option<f64> {
        Some(self.value(Kind::Gannet)? / self.value(other)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [gannet, reference, nginx] = Kind::ALL.map(Kind::name);
        writeln!(
            f,
            "{:<40} {:>6} {gannet:>10} {reference:>10} {nginx:>10} {:>13} {:>9}",
            "", "", "to reference", "to nginx"
        )?;
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.0}"));
        let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.2}"));
        for row in &self.rows {
            let [gannet, reference, nginx] = Kind::ALL.map(|kind| number(row.value(kind)));
            let to_reference = ratio(row.ratio(Kind::Reference));
            let to_nginx = ratio(row.ratio(Kind::Nginx));
            writeln!(
                f,
                "{:<40} {:>6} {gannet:>10} {reference:>10} {nginx:>10} {to_reference:>13} \
                 {to_nginx:>9}",
                row.what, row.unit
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_stand_beside_numbers() {
        let mut table = Table::default();
        table.add("GET", "/s", Kind::Gannet, 300.0);
        table.add("peak", "MiB", Kind::Gannet, 10.0);
        table.add("GET", "/s", Kind::Reference, 200.0);
        let lines: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(words, ["GET", "/s", "300", "200", "-", "1.50", "-"]);
        assert!(lines[2].starts_with("peak"));
    }
}
