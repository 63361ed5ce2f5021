//! The recorded counts, one a line: `NAME COUNT`.

use std::{collections::HashMap, fmt, fs};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const HEAD: &str = "# Instructions that each part takes, as `cargo bench --bench instructions -- --record` has counted with\n# ";

/// The counts by name, and what they were counted with.
#[derive(Default)]
pub(super) struct Bounds {
    tools: String,
    counts: HashMap<String, u64>,
}

/// What a count is, compared with the recorded one.
pub(super) enum Judgement {
    Kept {
        change: f64,
    },
    /// It is good, but not recorded.
    Fallen {
        bound: u64,
        change: f64,
    },
    Exceeded {
        bound: u64,
        change: f64,
    },
    Unknown,
}

impl Bounds {
    /// Those of the file; none if there is none.
    pub(super) fn read() -> Self {
        let text = fs::read_to_string(FILE).unwrap_or_default();
        let Some((tools, lines)) = text
            .strip_prefix(HEAD)
            .and_then(|rest| rest.split_once('\n'))
        else {
            return Self::default();
        };
        let count = |line: &str| {
            let (name, count) = line.split_once(' ').unwrap();
            (name.to_owned(), count.trim().parse().unwrap())
        };
        Self {
            tools: tools.to_owned(),
            counts: lines.lines().map(count).collect(),
        }
    }

    pub(super) fn tools(&self) -> &str {
        &self.tools
    }

    pub(super) fn judge(&self, name: &str, count: u64) -> Judgement {
        /// The most that a count may be away from the recorded one.
        const LEEWAY: f64 = 0.1;
        let Some(&bound) = self.counts.get(name) else {
            return Judgement::Unknown;
        };
        let change = count as f64 / bound as f64 - 1.0;
        if change > LEEWAY {
            Judgement::Exceeded { bound, change }
        } else if change < -LEEWAY {
            Judgement::Fallen { bound, change }
        } else {
            Judgement::Kept { change }
        }
    }

    pub(super) fn set(&mut self, name: &str, count: u64) {
        self.counts.insert(name.to_owned(), count);
    }

    /// Writes the file anew, with those names in that order.
    pub(super) fn write<'n>(&self, names: impl Iterator<Item = &'n str>, tools: &str) {
        let lines =
            names.filter_map(|name| Some(format!("{name:<28} {:>10}\n", self.counts.get(name)?)));
        fs::write(
            FILE,
            format!("{HEAD}{tools}\n{}", lines.collect::<String>()),
        )
        .unwrap();
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Kept { change } => write!(f, "{:+.1} %", 100.0 * change),
            Self::Fallen { bound, change } => {
                write!(
                    f,
                    "{:+.1} %, FALLEN from {bound}: record it anew",
                    100.0 * change
                )
            }
            Self::Exceeded { bound, change } => write!(
                f,
                "{:+.1} %, TOO MANY: {bound} are recorded",
                100.0 * change
            ),
            Self::Unknown => f.write_str("NOT RECORDED"),
        }
    }
}
