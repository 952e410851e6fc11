//! The spec as it is written: the JSON that `fleetmeter_schemas.native_spec()` makes. Unknown keys are refused, so that
//! a contract newer than the core cannot be half understood. `spec` checks it and turns it into tables.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecText {
    pub version: u32,
    pub envelope: EnvelopeText,
    pub known_attributes: Vec<String>,
    pub types: Vec<TypeText>,
    pub ledger: LedgerText,
    pub reasons: Vec<ReasonText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeText {
    pub id: u32,
    pub source: u32,
    pub subject: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerText {
    pub dimensions: Vec<String>,
    pub measures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonText {
    pub code: i64,
    pub name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeText {
    pub name: String,
    pub short: String,
    pub route: RouteText,
    pub count_measure: Option<String>,
    pub fields: Vec<FieldText>,
    pub rules: Vec<RuleText>,
    pub bands: Vec<BandText>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RouteText {
    Rollup,
    Fact,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldText {
    pub name: String,
    pub role: RoleText,
    pub kind: KindText,
    pub required: bool,
    pub max_length: Option<u32>,
    pub choices: Option<Vec<String>>,
    pub cap: Option<u64>,
    pub samples: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RoleText {
    Dimension,
    Measure,
    Subject,
    Detail,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum KindText {
    String,
    Uint,
    Int,
    Time,
    Labels,
}

#[derive(Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleText {
    PartsWithin { parts: Vec<String>, whole: String },
    NotAbove { field: String, limit: String },
    RequiredWhen { field: String, on: String, values: Vec<String> },
    AbsentWhen { field: String, on: String, values: Vec<String> },
    NearEventTime { field: String, max_age_us: i64, max_ahead_us: i64 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandText {
    pub name: String,
    pub of: String,
    pub thresholds: Vec<u64>,
    pub labels: Vec<String>,
}
