//! Usage events as a busy fleet sends them, the same in each run: 64 nodes, 500 accounts, 4 models, about 60,000 groups.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};

pub const SPEC: &[u8] = include_bytes!("../testdata/spec.json");
/// When the records were appended: 2026-03-01T12:10:00Z.
pub const APPEND_US: i64 = 1_772_367_000_000_000;

/// How ids look.
#[derive(Clone, Copy, PartialEq)]
pub enum Ids {
    Sequenced,
    Foreign,
}

/// One event's values.
pub struct Sample {
    number: u64,
    random: u64,
}

impl Sample {
    pub fn new(number: u64) -> Self {
        let mut random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0xD1B5_4A32_D192_ED03);
        random = (random ^ (random >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Sample { number, random: random ^ (random >> 29) }
    }

    fn pick(&self, shift: u32, below: u64) -> u64 {
        (self.random >> shift) % below
    }

    /// Which of 64 nodes sent it; each numbers its own events.
    fn node(&self) -> u64 {
        self.number % 64
    }

    pub fn id(&self, ids: Ids) -> String {
        match ids {
            Ids::Sequenced => format!("01JD8Z5W8Q3K6V9XKQ2N4T7R{:02}-{}", 10 + self.node(), self.number / 64),
            Ids::Foreign => format!("chatcmpl-{:016x}{:08x}", self.random, self.number),
        }
    }

    fn source(&self) -> String {
        format!("/fleet/eu-west-1/node-{}", self.node())
    }

    fn subject(&self) -> String {
        format!("account-{:04}", self.pick(6, 500))
    }

    fn time_us(&self) -> i64 {
        APPEND_US - 600_000_000 + self.pick(16, 120_000_000) as i64
    }

    fn time(&self) -> String {
        let second = (self.time_us() - (APPEND_US - 600_000_000)) / 1_000_000;
        let micros = self.time_us() % 1_000_000;
        format!("2026-03-01T12:{:02}:{:02}.{micros:06}Z", second / 60, second % 60)
    }

    fn model(&self) -> &'static str {
        ["llada-8b-instruct", "mercury-coder-small", "dream-7b", "diffusiongemma-9b"][self.pick(20, 4) as usize]
    }

    fn status(&self) -> &'static str {
        ["ok", "ok", "ok", "ok", "ok", "ok", "cancelled", "error"][self.pick(24, 8) as usize]
    }

    fn measures(&self) -> [(&'static str, u64); 8] {
        let steps = 5 + self.pick(28, 44);
        [
            ("input_tokens", 100 + self.pick(30, 4000)),
            ("output_tokens", 20 + self.pick(34, 900)),
            ("denoising_steps", steps),
            ("max_denoising_steps", 48),
            ("function_evaluations", steps + 1),
            ("blocks", 1),
            ("gpu_ms", 100 + self.pick(38, 2000)),
            ("latency_ms", 200 + self.pick(42, 3000)),
        ]
    }

    fn dimensions(&self) -> [(&'static str, &'static str); 7] {
        [
            ("model", self.model()),
            ("generation_mode", "diffusion"),
            ("quantization", "bf16"),
            ("decoding_strategy", "low_confidence"),
            ("placement", "cloud"),
            ("region", "eu-west-1"),
            ("status", self.status()),
        ]
    }

    /// The event as the client library writes it.
    pub fn json(&self, ids: Ids) -> String {
        let mut data: Vec<String> =
            self.dimensions().iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        data.extend(self.measures().iter().map(|(name, value)| format!("\"{name}\":{value}")));
        format!(
            "{{\"specversion\":\"1.0\",\"type\":\"fleetmeter.generation.v1\",\"id\":\"{}\",\"source\":\"{}\",\"subject\":\"{}\",\"time\":\"{}\",\"data\":{{{}}}}}",
            self.id(ids),
            self.source(),
            self.subject(),
            self.time(),
            data.join(",")
        )
    }
}

/// Records of `per_record` events each: one JSON object, or lines, or an array.
pub fn json_records(from: u64, count: u64, per_record: u64, array: bool, ids: Ids) -> Vec<Vec<u8>> {
    let numbers: Vec<u64> = (from..from + count).collect();
    let record = |part: &[u64]| {
        let events: Vec<String> = part.iter().map(|number| Sample::new(*number).json(ids)).collect();
        match (array, part.len()) {
            (true, _) => format!("[{}]", events.join(",")),
            (false, _) => events.join("\n"),
        }
    };
    numbers.chunks(per_record as usize).map(|part| record(part).into_bytes()).collect()
}

/// Arrow IPC streams of `per_record` rows each, texts of few values as dictionaries.
pub fn arrow_records(from: u64, count: u64, per_record: u64, ids: Ids) -> Vec<Vec<u8>> {
    let numbers: Vec<u64> = (from..from + count).collect();
    numbers.chunks(per_record as usize).map(|part| arrow_record(part, ids)).collect()
}

fn arrow_record(numbers: &[u64], ids: Ids) -> Vec<u8> {
    let samples: Vec<Sample> = numbers.iter().map(|number| Sample::new(*number)).collect();
    let coded = |value: &dyn Fn(&Sample) -> String| -> ArrayRef {
        let texts: Vec<String> = samples.iter().map(value).collect();
        Arc::new(texts.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from_iter_values(samples.iter().map(|sample| sample.id(ids))))),
        ("source", coded(&Sample::source)),
        ("subject", coded(&Sample::subject)),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(samples.iter().map(Sample::time_us)).with_timezone("UTC"),
            ),
        ),
    ];
    for i in 0..7 {
        columns.push((samples[0].dimensions()[i].0, coded(&|sample: &Sample| sample.dimensions()[i].1.to_owned())));
    }
    for i in 0..8 {
        let values = samples.iter().map(|sample| sample.measures()[i].1);
        columns.push((samples[0].measures()[i].0, Arc::new(UInt64Array::from_iter_values(values))));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    let metadata: std::collections::HashMap<String, String> =
        [("fleetmeter.type".to_owned(), "fleetmeter.generation.v1".to_owned())].into();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect()).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
