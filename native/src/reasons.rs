//! Why a record or event is refused: a closed list with stable numbers, shared with `fleetmeter_schemas.reasons`.

/// A reason code. The numbers are part of the contract: they are stored in quarantine rows and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    Tombstone = 1,
    TooLarge = 2,
    NotJson = 3,
    BadUtf8 = 4,
    TooDeep = 5,
    BadArrow = 6,
    NotAnObject = 7,
    DuplicateKey = 8,
    MissingField = 9,
    WrongType = 10,
    BadValue = 11,
    UnknownType = 12,
    BadTime = 13,
    Fraction = 14,
    Negative = 15,
    Overflow = 16,
    PartExceedsWhole = 17,
    NotAllowed = 18,
    TooOld = 19,
    InFuture = 20,
}

impl Reason {
    /// Every reason, by ascending code.
    pub const ALL: [Reason; 20] = [
        Reason::Tombstone,
        Reason::TooLarge,
        Reason::NotJson,
        Reason::BadUtf8,
        Reason::TooDeep,
        Reason::BadArrow,
        Reason::NotAnObject,
        Reason::DuplicateKey,
        Reason::MissingField,
        Reason::WrongType,
        Reason::BadValue,
        Reason::UnknownType,
        Reason::BadTime,
        Reason::Fraction,
        Reason::Negative,
        Reason::Overflow,
        Reason::PartExceedsWhole,
        Reason::NotAllowed,
        Reason::TooOld,
        Reason::InFuture,
    ];

    /// The stable number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with a number, if any version has used it.
    pub fn from_code(code: i64) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| i64::from(reason.code()) == code)
    }

    /// The stable name, as people query it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Tombstone => "tombstone",
            Reason::TooLarge => "too_large",
            Reason::NotJson => "not_json",
            Reason::BadUtf8 => "bad_utf8",
            Reason::TooDeep => "too_deep",
            Reason::BadArrow => "bad_arrow",
            Reason::NotAnObject => "not_an_object",
            Reason::DuplicateKey => "duplicate_key",
            Reason::MissingField => "missing_field",
            Reason::WrongType => "wrong_type",
            Reason::BadValue => "bad_value",
            Reason::UnknownType => "unknown_type",
            Reason::BadTime => "bad_time",
            Reason::Fraction => "fraction",
            Reason::Negative => "negative",
            Reason::Overflow => "overflow",
            Reason::PartExceedsWhole => "part_exceeds_whole",
            Reason::NotAllowed => "not_allowed",
            Reason::TooOld => "too_old",
            Reason::InFuture => "in_future",
        }
    }

    /// What was wrong, for a person; the longer advice stands in `fleetmeter_schemas.explain`.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::Tombstone => "the record has no value",
            Reason::TooLarge => "the record or event is larger than the limit",
            Reason::NotJson => "the text is not valid JSON",
            Reason::BadUtf8 => "the bytes are not valid UTF-8",
            Reason::TooDeep => "the JSON is nested deeper than 64 levels",
            Reason::BadArrow => "the Arrow stream cannot be read as events of one type",
            Reason::NotAnObject => "an event must be a JSON object",
            Reason::DuplicateKey => "a field stands more than once",
            Reason::MissingField => "a required field is missing, null or empty",
            Reason::WrongType => "a field has the wrong type",
            Reason::BadValue => "a text is empty, too long, not one of the choices, or has control characters",
            Reason::UnknownType => "the event type is not known",
            Reason::BadTime => "the time is not RFC 3339 with an offset",
            Reason::Fraction => "a quantity has a fraction or an exponent",
            Reason::Negative => "a quantity is below zero",
            Reason::Overflow => "a quantity is above the field's cap",
            Reason::PartExceedsWhole => "a part is larger than the whole it belongs to",
            Reason::NotAllowed => "a field is present that this kind of event cannot have",
            Reason::TooOld => "the event is older than the deduplication horizon",
            Reason::InFuture => "the event is in the future of the broker's clock",
        }
    }
}

/// Why one event is refused, and the field that is to blame (empty for the event as a whole).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    pub field: String,
}

impl Rejection {
    /// A rejection of the event as a whole.
    pub fn whole(reason: Reason) -> Self {
        Rejection { reason, field: String::new() }
    }

    /// A rejection because of one field.
    pub fn of(reason: Reason, field: &str) -> Self {
        Rejection { reason, field: field.to_owned() }
    }
}
