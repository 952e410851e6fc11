//! Valid events on their way from judgement to the counts, a few at a time, so that memory can be fetched ahead.

use crate::identity::Identity;
use crate::outcome::Payload;

/// Columns of a group key before the ledger's dimensions: type, account, minute.
pub const KEY_HEAD: usize = 3;

/// A valid event, not yet known to be new.
#[derive(Clone)]
pub struct StagedEvent {
    /// Its record's offset in Kafka.
    pub offset: u64,
    pub index: u32,
    /// Days since 1970-01-01 of its record's append time.
    pub append_day: u16,
    /// Number of its type in the spec.
    pub event_type: u16,
    pub identity: Identity,
    /// Interned account.
    pub account: u32,
    pub time_us: i64,
    pub unknown: u32,
    /// Ends of its parts of `sums` and `subjects`; they start where the event before it ends.
    pub sums_end: u32,
    pub subjects_end: u32,
    /// The event's own bytes (facts only).
    pub payload: Payload,
}

/// Someone or something to count distinct: `start..end` of `Stage::text`.
#[derive(Clone)]
pub struct StagedSubject {
    pub kind: u8,
    pub start: u32,
    pub end: u32,
}

/// A position to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    events: usize,
    sums: usize,
    subjects: usize,
    text: usize,
}

/// The staged events and, in step with them, their group keys.
#[derive(Clone)]
pub struct Stage {
    pub key_width: usize,
    /// Where the dimensions of the begun event start in `keys`.
    dimensions: usize,
    pub events: Vec<StagedEvent>,
    /// `key_width` numbers an event.
    pub keys: Vec<u32>,
    /// (ledger measure, value), only what is present.
    pub sums: Vec<(u16, u64)>,
    pub subjects: Vec<StagedSubject>,
    pub text: Vec<u8>,
}

impl Stage {
    pub fn new(dimensions: usize) -> Self {
        Stage {
            key_width: KEY_HEAD + dimensions,
            dimensions: 0,
            events: Vec::new(),
            keys: Vec::new(),
            sums: Vec::new(),
            subjects: Vec::new(),
            text: Vec::new(),
        }
    }

    pub fn mark(&self) -> Mark {
        Mark { events: self.events.len(), sums: self.sums.len(), subjects: self.subjects.len(), text: self.text.len() }
    }

    /// Drops everything since the mark.
    #[inline]
    pub fn back_to(&mut self, mark: Mark) {
        self.events.truncate(mark.events);
        self.keys.truncate(mark.events * self.key_width);
        self.sums.truncate(mark.sums);
        self.subjects.truncate(mark.subjects);
        self.text.truncate(mark.text);
    }

    pub fn clear(&mut self) {
        self.back_to(Mark { events: 0, sums: 0, subjects: 0, text: 0 });
    }

    /// Where the parts of `sums` and of `subjects` of an event start.
    #[inline]
    pub fn starts(&self, at: usize) -> (usize, usize) {
        match at.checked_sub(1) {
            Some(before) => (self.events[before].sums_end as usize, self.events[before].subjects_end as usize),
            None => (0, 0),
        }
    }

    /// Appends a copy of another stage's event (of the same key width), with another payload.
    pub fn copy_event(&mut self, from: &Stage, at: usize, payload: Payload) {
        let event = &from.events[at];
        let (sums_start, subjects_start) = from.starts(at);
        self.keys.extend_from_slice(&from.keys[at * self.key_width..(at + 1) * self.key_width]);
        self.sums.extend_from_slice(&from.sums[sums_start..event.sums_end as usize]);
        for subject in &from.subjects[subjects_start..event.subjects_end as usize] {
            self.add_subject(subject.kind, &from.text[subject.start as usize..subject.end as usize]);
        }
        let (sums_end, subjects_end) = (self.sums.len() as u32, self.subjects.len() as u32);
        self.events.push(StagedEvent { sums_end, subjects_end, payload, ..event.clone() });
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let made = |event: &StagedEvent| if let Payload::Made(made) = &event.payload { made.capacity() } else { 0 };
        self.events.capacity() * size_of::<StagedEvent>()
            + self.events.iter().map(made).sum::<usize>()
            + self.keys.capacity() * size_of::<u32>()
            + self.sums.capacity() * size_of::<(u16, u64)>()
            + self.subjects.capacity() * size_of::<StagedSubject>()
            + self.text.capacity()
    }

    /// Starts an event's key: all dimensions unknown.
    #[inline]
    pub fn begin(&mut self) {
        let start = self.events.len() * self.key_width;
        self.keys.resize(start + self.key_width, 0);
        self.dimensions = start + KEY_HEAD;
    }

    #[inline(always)]
    pub fn set_dimension(&mut self, dimension: u16, text: u32) {
        self.keys[self.dimensions + usize::from(dimension)] = text;
    }

    #[inline]
    pub fn add_subject(&mut self, kind: u8, name: &[u8]) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(name);
        self.subjects.push(StagedSubject { kind, start, end: self.text.len() as u32 });
    }

    /// Ends the event that `begin` started.
    #[inline]
    pub fn end(&mut self, short: u32, minute: u32, event: StagedEvent) {
        let at = self.events.len() * self.key_width;
        self.keys[at..at + KEY_HEAD].copy_from_slice(&[short, event.account, minute]);
        self.events.push(event);
    }
}
