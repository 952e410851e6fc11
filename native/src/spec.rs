//! The event contract as tables: types, fields, rules, bands, ledger columns. Nothing about a field is known to the core
//! but what stands here.

use crate::error::CoreError;
use crate::hash::TableHasher;
use crate::keys::KeyTable;
use crate::reasons::Reason;
use crate::spec_text::{BandText, FieldText, KindText, RoleText, RouteText, RuleText, SpecText, TypeText};

mod build;

pub use crate::spec_text::KindText as Kind;

use build::Builder;

/// A set of a type's fields, one bit each.
pub type FieldSet = u128;
const MAX_FIELDS: usize = FieldSet::BITS as usize;
/// Caps stay below this, so that quantities, signed ones and times share one signed number.
const MAX_CAP: u64 = i64::MAX as u64;

/// Numbers of the seven attributes that the core reads, in the order of judgement; others follow.
pub mod attribute {
    pub const SPECVERSION: usize = 0;
    pub const TYPE: usize = 1;
    pub const ID: usize = 2;
    pub const SOURCE: usize = 3;
    pub const SUBJECT: usize = 4;
    pub const TIME: usize = 5;
    pub const DATA: usize = 6;
    pub const NAMES: [&str; 7] = ["specversion", "type", "id", "source", "subject", "time", "data"];
}

pub struct Spec {
    pub attributes: KeyTable,
    /// Most code points of id, source and subject.
    pub id_length: u32,
    pub source_length: u32,
    pub subject_length: u32,
    pub types: Vec<EventType>,
    type_names: KeyTable,
    pub dimensions: Vec<String>,
    pub measures: Vec<String>,
    /// The kinds of subject that are counted distinct: the names of fields with that role.
    pub subject_kinds: Vec<String>,
    /// Strings that need a fixed number in the interner.
    pub fixed_strings: Vec<String>,
    pub most_fields: usize,
    /// The largest value that one event can add to one measure.
    pub largest_cap: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    Rollup,
    Fact,
}

pub struct EventType {
    pub name: String,
    /// Number of the short name in the interner (a fixed string).
    pub short: u32,
    pub route: Route,
    /// Ledger measure that counts the events.
    pub count: Option<u16>,
    pub fields: Vec<Field>,
    pub keys: KeyTable,
    pub required: FieldSet,
    /// Ledger dimension that holds the canonical labels.
    pub labels: Option<u16>,
    /// Each with the fields of which one must be there for it to be broken (none: always to be looked at).
    pub rules: Vec<(FieldSet, Rule)>,
    pub bands: Vec<Band>,
}

pub struct Field {
    pub name: String,
    /// `data.<name>`, as rejections say it.
    pub path: String,
    pub kind: Kind,
    pub required: bool,
    pub max_length: u32,
    pub choices: Option<Vec<String>>,
    pub cap: i64,
    /// Ledger dimension it groups by, if the type rolls up.
    pub dimension: Option<u16>,
    /// Ledger measure it adds to, and the measure that counts who reported it.
    pub measure: Option<u16>,
    pub samples: Option<u16>,
    /// Kind of subject it names.
    pub subject: Option<u8>,
    /// Whether its value is needed as an interned number (dimensions, and what rules look at).
    pub interned: bool,
    /// Number of the field over all types.
    pub slot: u32,
}

pub enum Rule {
    PartsWithin {
        parts: Vec<usize>,
        whole: usize,
    },
    NotAbove {
        field: usize,
        limit: usize,
    },
    /// `on`'s interned number is in `values`.
    RequiredWhen {
        field: usize,
        on: usize,
        values: Vec<u32>,
    },
    AbsentWhen {
        field: usize,
        on: usize,
        values: Vec<u32>,
    },
    /// A time lies at most so far before and after the event's own.
    NearEventTime {
        field: usize,
        max_age_us: i64,
        max_ahead_us: i64,
    },
}

impl Rule {
    /// The fields of which one must be there for the rule to be broken; empty if absence can break it.
    fn triggers(&self) -> FieldSet {
        match self {
            Rule::PartsWithin { parts, .. } => parts.iter().fold(0, |set, part| set | 1 << part),
            Rule::NotAbove { field, .. } | Rule::AbsentWhen { field, .. } | Rule::NearEventTime { field, .. } => {
                1 << field
            }
            Rule::RequiredWhen { .. } => 0,
        }
    }
}

pub struct Band {
    pub dimension: u16,
    pub of: usize,
    pub thresholds: Vec<i64>,
    /// Interned numbers, one more than thresholds.
    pub labels: Vec<u32>,
}

impl Spec {
    /// Reads and checks the JSON of a spec; the error says what is wrong with it.
    pub fn parse(json: &[u8], hasher: TableHasher) -> Result<Spec, CoreError> {
        let text: SpecText =
            serde_json::from_slice(json).map_err(|error| invalid(format!("the spec is not readable: {error}")))?;
        if text.version != 1 {
            return Err(invalid(format!("the spec has version {}; this core knows version 1", text.version)));
        }
        check_reasons(&text)?;
        Builder::new(&text, hasher)?.build(&text)
    }

    pub fn type_named(&self, name: &[u8]) -> Option<usize> {
        self.type_names.find(name)
    }
}

fn invalid(message: String) -> CoreError {
    CoreError::Invalid(message)
}

fn check_reasons(text: &SpecText) -> Result<(), CoreError> {
    let given: Vec<(i64, &str)> = text.reasons.iter().map(|reason| (reason.code, reason.name.as_str())).collect();
    let own = Reason::ALL.map(|reason| (i64::from(reason.code()), reason.name()));
    if let Some((code, name)) = given.iter().find(|pair| !own.contains(pair)) {
        return Err(invalid(format!("reason {code} {name:?} of the spec is not known to this core: rebuild it")));
    }
    match own.iter().find(|pair| !given.contains(pair)) {
        Some((code, name)) => Err(invalid(format!("the spec lacks reason {code} {name:?} of this core"))),
        None if given.len() != own.len() => Err(invalid("the spec repeats a reason".to_owned())),
        None => Ok(()),
    }
}
