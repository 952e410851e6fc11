//! Events out of JSON text: framing (one object, an array, lines), then one event at a time.

use crate::ingest::{Call, Candidate};
use crate::judge::{Row, Value};
use crate::outcome::Payload;
use crate::reasons::{Reason, Rejection};
use crate::scan::{Members, NotJson, Scanner, Token, TokenKind};
use crate::spec::{FieldSet, Spec, attribute};
use crate::time::TimeReader;
use crate::unescape::unescape;

/// Working memory for one event at a time.
pub struct JsonReader {
    attributes: Members,
    /// The data's members, by event type (each remembers the order of keys that producers of the type use).
    data: Vec<Members>,
    texts: [Vec<u8>; 6],
    times: TimeReader,
    /// The type of the last event: the next one is likely to be of it too.
    last_type: usize,
}

impl JsonReader {
    pub fn new(spec: &Spec) -> Self {
        JsonReader {
            attributes: Members::new(spec.attributes.len()),
            data: spec.types.iter().map(|event| Members::new(event.fields.len())).collect(),
            texts: Default::default(),
            times: TimeReader::default(),
            last_type: 0,
        }
    }
}

/// What was scanned of one value.
struct Scanned {
    /// `start..end` of the value in the record.
    start: usize,
    end: usize,
    is_object: bool,
    too_deep: bool,
    /// The type by which `data` was scanned, if it was.
    data_type: Option<usize>,
}

/// Judges a record that starts like JSON, and stages its events.
pub fn read(call: &mut Call<'_>, reader: &mut JsonReader, record: u32, text: &[u8]) {
    let is_utf8 = simdutf8::basic::from_utf8(text).is_ok();
    let first = text.iter().find(|byte| !is_blank(byte)).copied().unwrap_or_default();
    match first {
        b'[' if is_utf8 => read_array(call, reader, record, text),
        b'{' if is_utf8 => read_object(call, reader, record, text),
        b'{' if starts_a_later_line(text) => read_lines(call, reader, record, text, is_utf8),
        b'[' | b'{' => call.reject_record(record, Rejection::whole(Reason::BadUtf8)),
        _ => call.reject_record(record, Rejection::whole(Reason::NotJson)),
    }
}

fn read_object(call: &mut Call<'_>, reader: &mut JsonReader, record: u32, text: &[u8]) {
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    match scan(call.spec, reader, &mut scanner) {
        Ok(scanned) if scanner.at_end() => judge(call, reader, record, 0, text, &scanned),
        _ if starts_a_later_line(text) => read_lines(call, reader, record, text, true),
        _ => call.reject_record(record, Rejection::whole(Reason::NotJson)),
    }
}

fn starts_a_later_line(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"\n{").is_some()
}

fn read_lines(call: &mut Call<'_>, reader: &mut JsonReader, record: u32, text: &[u8], is_utf8: bool) {
    let mut index = 0;
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        if let Some((first, last)) = trim(text, start, end) {
            read_line(call, reader, (record, index), text, (first, last), is_utf8);
            index += 1;
            call.apply_if_full();
        }
        start = end + 1;
    }
}

fn read_line(
    call: &mut Call<'_>,
    reader: &mut JsonReader,
    (record, index): (u32, u32),
    text: &[u8],
    (start, end): (usize, usize),
    is_utf8: bool,
) {
    let payload = Payload::Part { start: start as u32, end: end as u32 };
    let refusal = if end - start > call.event_limit {
        Some(Reason::TooLarge)
    } else if !is_utf8 && simdutf8::basic::from_utf8(&text[start..end]).is_err() {
        Some(Reason::BadUtf8)
    } else {
        let mut scanner = Scanner::at(&text[..end], start);
        match scan(call.spec, reader, &mut scanner) {
            Ok(scanned) if scanner.at_end() => return judge(call, reader, record, index, text, &scanned),
            _ => Some(Reason::NotJson),
        }
    };
    if let Some(reason) = refusal {
        call.reject(record, index, Rejection::whole(reason), payload);
    }
}

/// Reads an array: its syntax is judged as a whole, so that what was staged and refused of it is taken back if it breaks.
fn read_array(call: &mut Call<'_>, reader: &mut JsonReader, record: u32, text: &[u8]) {
    let mark = call.mark();
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    scanner.advance();
    if read_elements(call, reader, record, &mut scanner).is_err() || !scanner.at_end() {
        call.back_to(mark);
        call.reject_record(record, Rejection::whole(Reason::NotJson));
    }
}

fn read_elements(
    call: &mut Call<'_>,
    reader: &mut JsonReader,
    record: u32,
    scanner: &mut Scanner<'_>,
) -> Result<(), NotJson> {
    scanner.skip_whitespace();
    if scanner.peek() == Some(b']') {
        scanner.advance();
        return Ok(());
    }
    for index in 0.. {
        let scanned = scan(call.spec, reader, scanner)?;
        judge(call, reader, record, index, scanner.text(), &scanned);
        scanner.skip_whitespace();
        match scanner.peek() {
            Some(b',') => scanner.advance(),
            Some(b']') => {
                scanner.advance();
                return Ok(());
            }
            _ => return Err(NotJson),
        }
        scanner.skip_whitespace();
    }
    Err(NotJson)
}

/// Whitespace of JSON.
pub fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where the text of the line `start..end` starts and ends without the blanks around it; None if there is none.
fn trim(text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let line = text.get(start..end)?;
    let first = line.iter().position(|byte| !is_blank(byte))?;
    let last = line.iter().rposition(|byte| !is_blank(byte))?;
    Some((start + first, start + last + 1))
}

/// Scans one value; of an object, the attributes and (if its type stands before it) the data.
#[inline]
fn scan(spec: &Spec, reader: &mut JsonReader, scanner: &mut Scanner<'_>) -> Result<Scanned, NotJson> {
    scanner.take_too_deep();
    let start = scanner.pos();
    let is_object = scanner.peek() == Some(b'{');
    let mut data_type = None;
    if is_object {
        let JsonReader { data, last_type, .. } = reader;
        reader.attributes.clear();
        scanner.object(0, &spec.attributes, &mut reader.attributes, attribute::DATA, |scanner, attributes| {
            if scanner.peek() != Some(b'{') {
                return Ok(None);
            }
            let Some(event_type) = type_of(spec, attributes, scanner.text(), last_type) else {
                return Ok(None);
            };
            let start = scanner.pos();
            let members = &mut data[event_type];
            members.clear();
            scanner.object(1, &spec.types[event_type].keys, members, usize::MAX, |_, _| Ok(None))?;
            data_type = Some(event_type);
            Ok(Some(Token::span(TokenKind::Object, start, scanner.pos())))
        })?;
    } else {
        scanner.value(0)?;
    }
    Ok(Scanned { start, end: scanner.pos(), is_object, too_deep: scanner.take_too_deep(), data_type })
}

#[inline]
fn type_of(spec: &Spec, attributes: &Members, text: &[u8], last: &mut usize) -> Option<usize> {
    let token = attributes.get(attribute::TYPE);
    if token.kind != TokenKind::Text {
        return None;
    }
    let name = token.of(text);
    if spec.types.get(*last).is_none_or(|event| event.name.as_bytes() != name) {
        *last = spec.type_named(name)?;
    }
    Some(*last)
}

#[inline]
fn judge(call: &mut Call<'_>, reader: &mut JsonReader, record: u32, index: u32, text: &[u8], scanned: &Scanned) {
    let payload = Payload::Part { start: scanned.start as u32, end: scanned.end as u32 };
    let mark = call.stage.mark();
    if let Err(rejection) = judge_event(call, reader, record, index, text, scanned, &payload) {
        call.stage.back_to(mark);
        call.reject(record, index, rejection, payload);
    }
}

#[inline]
fn judge_event(
    call: &mut Call<'_>,
    reader: &mut JsonReader,
    record: u32,
    index: u32,
    text: &[u8],
    scanned: &Scanned,
    payload: &Payload,
) -> Result<(), Rejection> {
    let spec = call.spec;
    if scanned.end - scanned.start > call.event_limit {
        return Err(Rejection::whole(Reason::TooLarge));
    }
    if scanned.too_deep {
        return Err(Rejection::whole(Reason::TooDeep));
    }
    if !scanned.is_object {
        return Err(Rejection::whole(Reason::NotAnObject));
    }
    let attributes = &reader.attributes;
    if let Some(first) = attributes.first_repeated() {
        return Err(Rejection::of(Reason::DuplicateKey, spec.attributes.name(first)));
    }
    let texts = &mut reader.texts;
    let [specversion, type_name, id, source, subject, time] = texts;
    let attribute_text = |number: usize, scratch| text_of(attributes, number, text, scratch);
    if attribute_text(attribute::SPECVERSION, specversion)? != b"1.0" {
        return Err(Rejection::of(Reason::BadValue, "specversion"));
    }
    let type_name = attribute_text(attribute::TYPE, type_name)?;
    let event_type = match scanned.data_type {
        Some(known) => known,
        None => spec.type_named(type_name).ok_or_else(|| Rejection::of(Reason::UnknownType, "type"))?,
    };
    let event = &spec.types[event_type];
    let id = name_of(attributes, attribute::ID, text, id, spec.id_length)?;
    let source = name_of(attributes, attribute::SOURCE, text, source, spec.source_length)?;
    let subject = name_of(attributes, attribute::SUBJECT, text, subject, spec.subject_length)?;
    let time_us = reader
        .times
        .parse(attribute_text(attribute::TIME, time)?)
        .ok_or_else(|| Rejection::of(Reason::BadTime, "time"))?;
    let data = attributes.get(attribute::DATA);
    match data.kind {
        TokenKind::Object => {}
        TokenKind::Null => return Err(Rejection::of(Reason::MissingField, "data")),
        _ => return Err(Rejection::of(Reason::WrongType, "data")),
    }
    let members = &mut reader.data[event_type];
    if scanned.data_type.is_none() {
        members.clear();
        let mut scanner = Scanner::at(text, data.start());
        let scanned = scanner.object(1, &event.keys, members, usize::MAX, |_, _| Ok(None));
        scanned.map_err(|NotJson| Rejection::whole(Reason::NotJson))?;
    }
    if let Some(first) = members.first_repeated() {
        return Err(Rejection::of(Reason::DuplicateKey, &event.fields[first].path));
    }
    let unknown = attributes.unknown + members.unknown;
    let candidate = Candidate { record, index, event_type, id, source, subject, account: None, time_us, unknown };
    call.stage_event(event, &candidate, &JsonRow { members, text }, || payload.clone())
}

#[inline]
fn text_of<'r>(
    attributes: &Members,
    number: usize,
    text: &'r [u8],
    scratch: &'r mut Vec<u8>,
) -> Result<&'r [u8], Rejection> {
    let token = attributes.get(number);
    match token.kind {
        TokenKind::Text => Ok(token.of(text)),
        TokenKind::EscapedText => {
            scratch.clear();
            unescape(token.of(text), scratch);
            Ok(scratch)
        }
        TokenKind::Null => Err(Rejection::of(Reason::MissingField, attribute::NAMES[number])),
        _ => Err(Rejection::of(Reason::WrongType, attribute::NAMES[number])),
    }
}

/// Id, source or subject.
#[inline(always)]
fn name_of<'r>(
    attributes: &Members,
    number: usize,
    text: &'r [u8],
    scratch: &'r mut Vec<u8>,
    most: u32,
) -> Result<&'r [u8], Rejection> {
    let token = attributes.get(number);
    // The scanner has seen that a plain text has no control character; nothing is longer in code points than in bytes.
    if token.kind == TokenKind::Text && (1..=most as usize).contains(&(token.end() - token.start())) {
        return Ok(token.of(text));
    }
    crate::ingest::named(attribute::NAMES[number], text_of(attributes, number, text, scratch)?, most)
}

struct JsonRow<'m> {
    members: &'m Members,
    text: &'m [u8],
}

impl Row for JsonRow<'_> {
    #[inline]
    fn present(&self) -> FieldSet {
        self.members.present()
    }

    #[inline(always)]
    fn value<'r>(&'r self, field: usize, scratch: &'r mut Vec<u8>) -> Value<'r> {
        let token = self.members.present_token(field);
        match token.kind {
            TokenKind::Whole => Value::Whole(token.number()),
            TokenKind::Text => {
                let place = self.text.get(token.start()..).unwrap_or_default();
                Value::TextIn(token.of(self.text), place)
            }
            TokenKind::EscapedText => {
                scratch.clear();
                unescape(token.of(self.text), scratch);
                Value::Text(scratch)
            }
            TokenKind::Null => Value::Null,
            TokenKind::WholeTooBig => Value::WholeTooBig,
            TokenKind::Minus => Value::Minus(token.number()),
            TokenKind::MinusTooBig => Value::MinusTooBig,
            TokenKind::Fraction => Value::Fraction,
            TokenKind::Object => Value::Object(token.of(self.text)),
            TokenKind::Bool | TokenKind::Array => Value::Other,
        }
    }
}
