//! What a scan finds: tokens, and the known members of an object.

/// The text is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct NotJson;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Null,
    Bool,
    /// Without escapes: the bytes between the quotes are the value, and none of them is a control character (DEL included).
    Text,
    /// With valid escapes, or with DEL; see `unescape`.
    EscapedText,
    /// Digits only; the value is in `number`.
    Whole,
    /// Digits only, above 2^64 - 1.
    WholeTooBig,
    /// A minus and digits; the magnitude is in `number`.
    Minus,
    MinusTooBig,
    /// A number with a point or an exponent.
    Fraction,
    Object,
    Array,
}

/// A value in the text, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    /// Of `Whole` and `Minus` the magnitude; of texts (without the quotes), objects and arrays where they start (low half)
    /// and end (high half).
    pub(super) payload: u64,
}

impl Token {
    pub const NULL: Token = Token { kind: TokenKind::Null, payload: 0 };

    #[inline(always)]
    pub fn span(kind: TokenKind, start: usize, end: usize) -> Token {
        Token { kind, payload: start as u64 | (end as u64) << 32 }
    }

    /// The value of a `Whole`, the magnitude of a `Minus`.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        self.payload
    }

    #[inline(always)]
    pub fn start(&self) -> usize {
        self.payload as u32 as usize
    }

    #[inline(always)]
    pub fn end(&self) -> usize {
        (self.payload >> 32) as usize
    }

    /// The bytes of a text, object or array.
    #[inline(always)]
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// The known members of one object.
#[derive(Clone)]
pub struct Members {
    tokens: Vec<Token>,
    /// One bit a member, in two words: those that are there, and those that are there more than once.
    pub(super) present: [u64; 2],
    pub(super) repeated: [u64; 2],
    pub unknown: u32,
    /// Which member followed each one last time (the last entry: which was first).
    pub(super) follows: Vec<u16>,
}

impl Members {
    pub fn new(size: usize) -> Self {
        Members {
            tokens: vec![Token::NULL; size],
            present: [0; 2],
            repeated: [0; 2],
            unknown: 0,
            follows: (1..=size as u16).chain([0]).collect(),
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        (self.present, self.repeated, self.unknown) = ([0; 2], [0; 2], 0);
    }

    #[inline]
    pub fn has(&self, member: usize) -> bool {
        self.present[(member / 64) & 1] >> (member % 64) & 1 == 1
    }

    /// The members that are there, one bit each.
    #[inline]
    pub fn present(&self) -> u128 {
        u128::from(self.present[0]) | u128::from(self.present[1]) << 64
    }

    /// The first member, in the order of the table, that is there more than once.
    #[inline]
    pub fn first_repeated(&self) -> Option<usize> {
        match self.repeated {
            [0, 0] => None,
            [0, high] => Some(64 + high.trailing_zeros() as usize),
            [low, _] => Some(low.trailing_zeros() as usize),
        }
    }

    /// The token of a member that is there.
    #[inline(always)]
    pub fn present_token(&self, member: usize) -> Token {
        self.tokens[member]
    }

    /// The token of a member; null when it is absent.
    #[inline]
    pub fn get(&self, member: usize) -> Token {
        if self.has(member) { self.tokens[member] } else { Token::NULL }
    }

    #[inline(always)]
    pub(super) fn put(&mut self, member: usize, token: Token) {
        let (word, bit) = ((member / 64) & 1, 1 << (member % 64));
        self.repeated[word] |= self.present[word] & bit;
        self.present[word] |= bit;
        self.tokens[member] = token;
    }
}
