//! Users, conversations, installations: distinct by account and day, with when they were first and last seen.

use crate::hash::TableHasher;
use hashbrown::HashTable;

/// One subject of one account on one day of event time.
#[derive(Clone)]
pub struct Subject {
    pub account: u32,
    /// Days since 1970-01-01.
    pub day: u32,
    pub kind: u8,
    pub first_seen_us: i64,
    pub last_seen_us: i64,
    start: usize,
    end: usize,
    hash: u64,
}

/// The subjects since the last flush.
#[derive(Clone)]
pub struct Subjects {
    hasher: TableHasher,
    table: HashTable<u32>,
    rows: Vec<Subject>,
    text: Vec<u8>,
}

impl Subjects {
    pub fn new(hasher: TableHasher) -> Self {
        Subjects { hasher, table: HashTable::new(), rows: Vec::new(), text: Vec::new() }
    }

    pub fn rows(&self) -> &[Subject] {
        &self.rows
    }

    pub fn name(&self, subject: &Subject) -> &[u8] {
        &self.text[subject.start..subject.end]
    }

    #[inline]
    pub fn see(&mut self, account: u32, day: u32, kind: u8, name: &[u8], time_us: i64) {
        let tag = u64::from(account) << 32 | u64::from(day) ^ u64::from(kind) << 24;
        let hash = self.hasher.bytes(tag, name);
        let (rows, text) = (&self.rows, &self.text);
        let found = self.table.find(hash, |row| {
            let row = &rows[*row as usize];
            row.hash == hash
                && (row.account, row.day, row.kind) == (account, day, kind)
                && &text[row.start..row.end] == name
        });
        if let Some(row) = found {
            let row = &mut self.rows[*row as usize];
            row.first_seen_us = row.first_seen_us.min(time_us);
            row.last_seen_us = row.last_seen_us.max(time_us);
            return;
        }
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let end = self.text.len();
        let number = self.rows.len() as u32;
        self.rows.push(Subject { account, day, kind, first_seen_us: time_us, last_seen_us: time_us, start, end, hash });
        let rows = &self.rows;
        self.table.insert_unique(hash, number, |row| rows[*row as usize].hash);
    }
}
