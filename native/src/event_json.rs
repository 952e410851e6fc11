//! An Arrow row as a structured CloudEvent: what quarantine keeps of a refused one, and what a fact is.

use std::io::Write;

use crate::arrow_columns::{Batch, Column, Texts, sayable};
use crate::json_text::write_string;
use crate::judge::{Row, Value};
use crate::scan::Scanner;
use crate::spec::EventType;
use crate::time::format_rfc3339;

/// The row's values; nulls are left out. A time that RFC 3339 cannot say is written as its number, labels that are not a
/// JSON object as a string: so that what was wrong can be seen.
pub fn write_event(event: &EventType, batch: &Batch, row: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"type\":");
    write_string(event.name.as_bytes(), &mut out);
    for (name, texts) in [("id", &batch.id), ("source", &batch.source), ("subject", &batch.subject)] {
        write_text(name, texts, row, &mut out);
    }
    if let Some(time) = batch.time.value(row) {
        write_name("time", &mut out);
        write_time(time, &mut out);
    }
    out.extend_from_slice(b",\"data\":{");
    let start = out.len();
    for (field, column) in event.fields.iter().zip(&batch.columns) {
        if let Some(column) = column {
            write_field(&field.name, column, batch, event, row, &mut out);
        }
    }
    // Each field begins with a comma; the first has none before it.
    if out.len() > start {
        out.remove(start);
    }
    out.extend_from_slice(b"}}");
    out
}

fn write_field(name: &str, column: &Column, batch: &Batch, event: &EventType, row: usize, out: &mut Vec<u8>) {
    match column {
        Column::Texts(texts) => write_text(name, texts, row, out),
        Column::Labels(texts) => {
            // An empty text means no labels; as JSON it would be text where an object belongs, and could not be replayed.
            if let Some(text) = texts.text(row).filter(|text| !text.is_empty()) {
                write_name(name, out);
                let mut scanner = Scanner::new(text);
                scanner.skip_whitespace();
                if scanner.pairs(0, |_, _| {}).is_ok() && scanner.at_end() {
                    out.extend_from_slice(text);
                } else {
                    write_string(text, out);
                }
            }
        }
        Column::Whole(_) => {
            let Some(at) = event.keys.find(name.as_bytes()) else {
                return;
            };
            let mut scratch = Vec::new();
            let (sign, number) = match batch.row(row).value(at, &mut scratch) {
                Value::Whole(number) => ("", number),
                Value::Minus(number) => ("-", number),
                _ => return,
            };
            write_name(name, out);
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{sign}{number}");
        }
        Column::Times(times) => {
            if let Some(time) = times.value(row) {
                write_name(name, out);
                write_time(time, out);
            }
        }
    }
}

fn write_text(name: &str, texts: &Texts, row: usize, out: &mut Vec<u8>) {
    if let Some(text) = texts.text(row) {
        write_name(name, out);
        write_string(text, out);
    }
}

fn write_time(micros: i64, out: &mut Vec<u8>) {
    if sayable(micros).is_some() {
        out.push(b'"');
        format_rfc3339(micros, out);
        out.push(b'"');
    } else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{micros}");
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name.as_bytes(), out);
    out.push(b':');
}
