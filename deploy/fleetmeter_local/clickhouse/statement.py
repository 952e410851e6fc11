"""Reads a statement as far as an HTTP server in front of the engine has to.

It finds out: what kind of statement it is, whether it is only one, where an INSERT's data begins and in what format,
which format the answer has, and which functions are called. It does not validate: that is the engine's business, which
gets the statement as it came. Everything is in bytes, since a statement may hold any.

Grammar: https://clickhouse.com/docs/sql-reference/syntax and ClickHouse's own Lexer.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleetmeter_local.clickhouse.answers import ClickHouseError

# What is not closed runs to the end, as in ClickHouse's lexer, which then refuses it.
_TOKEN = re.compile(
    rb"""
      (?P<space>   \s++ | (?: -- | // | \#[ !] )[^\n]*+ )
    | (?P<comment> /\* )
    | (?P<string>  '(?:[^'\\]++|\\.|'')*+(?:'|\Z) )
    | (?P<quoted>  "(?:[^"\\]++|\\.|"")*+(?:"|\Z) | `(?:[^`\\]++|\\.|``)*+(?:`|\Z) )
    | (?P<word>    [A-Za-z_]\w*+ )
    | (?P<number>  \d[\w.]*+ )
    | (?P<open>    [(\[{] )
    | (?P<close>   [)\]}] )
    | (?P<odd>     \$(?P<tag>\w*+)\$.*?\$(?P=tag)\$ | [\$\\\x80-\xff]++ )
    | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")

# Words that can follow a column or alias that is called `format`.
_NOT_FORMATS = frozenset(
    b"FROM AS WHERE PREWHERE GROUP ORDER LIMIT OFFSET UNION EXCEPT INTERSECT SETTINGS AND OR IN IS NOT LIKE ILIKE "
    b"BETWEEN HAVING QUALIFY WINDOW JOIN ASC DESC VALUES".split()
)
# After these a word is a name, whatever it spells.
_NAME_FOLLOWS = frozenset((b"INTO", b"TABLE", b"FUNCTION", b"AS"))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def upper(self) -> bytes:
        return self.text.upper() if self.kind == "word" else b""


@dataclass(slots=True)
class Statement:
    """One statement.

    Attributes:
        text: the statement without a closing semicolon; of an INSERT with data, what stands before FORMAT or VALUES.
        kind: its first word in capitals (SELECT, INSERT, ...); empty for an empty statement.
        format: what its FORMAT clause (or VALUES) names; None without one.
        data_at: for an INSERT with data, the offset in the given bytes where the data begins; else None.
        source_at: for an INSERT of plain data, the offset in `text` where its source may be named (FROM INFILE).
        input_call: for an INSERT ... SELECT ... FROM input('structure'): where the call begins and ends in `text`, and
            where its argument does.
        calls: every name that is followed by an opening bracket, in small letters.
        names: every word and quoted name, in small letters.
        odd: it has, outside strings and quoted names, what only ClickHouse's own lexer reads for certain: heredocs,
            dollar signs, backslashes, characters beyond ASCII.
        inserts: it is an INSERT, with or without a WITH in front.
        local_file: the word INFILE or OUTFILE if it reads or writes a file of the client; else None.
    """

    text: bytes
    kind: str = ""
    format: str | None = None
    data_at: int | None = None
    source_at: int | None = None
    input_call: tuple[int, int, int, int] | None = None
    calls: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    odd: bool = False
    inserts: bool = False
    local_file: str | None = None


def parse_statement(head: bytes) -> Statement:
    """Reads the first statement of `head`, and refuses a second.

    Args:
        head: a statement, perhaps followed by data; a long INSERT may be cut anywhere in its data.

    Raises ClickHouseError 62 (SYNTAX_ERROR) for several statements, as a server's HTTP side does.
    """
    return _Reader(head).read()


class _Reader:
    """One pass over the tokens."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._statement = Statement(head)
        self._calls: set[str] = set()
        self._names: set[str] = set()
        self._previous = _Token("start", b"", 0, 0, 0)
        self._selects = False
        self._in_settings = False
        self._input_call: tuple[_Token, _Token] | None = None

    def read(self) -> Statement:
        statement = self._statement
        tokens = _tokens(self._head)
        for token in tokens:
            if token.text == b";" and token.depth == 0:
                statement.text = self._head[: token.start]
                _refuse_more(tokens)
                break
            if self._take(token):
                break
            self._previous = replace(token, kind="name") if self._is_name(token) else token
        statement.calls, statement.names = frozenset(self._calls), frozenset(self._names)
        return statement

    def _take(self, token: _Token) -> bool:
        """Notes what a token says; True if data begins here."""
        statement, previous = self._statement, self._previous
        if not statement.kind and token.kind == "word":
            statement.kind = token.upper.decode("ascii", errors="replace")
        if token.upper == b"INSERT" and token.depth == 0 and statement.kind in ("INSERT", "WITH"):
            statement.inserts = True
        if token.text == b"(" and previous.kind in ("word", "name", "quoted"):
            self._calls.add(_unquoted(previous).lower())
        if token.kind == "string" and previous.text.upper() in (b"INFILE", b"OUTFILE"):
            statement.local_file = previous.text.upper().decode("ascii")
        if token.kind in ("word", "quoted"):
            self._names.add(_unquoted(token).lower())
        statement.odd |= token.kind == "odd"
        self._note_input(token)
        if token.depth > 0 or self._is_name(token):
            return False
        if self._note_format(token):
            return statement.inserts and self._begin_data(token)
        if not statement.inserts:
            return False
        if token.upper in (b"SELECT", b"WITH"):
            self._selects = True
        elif not self._selects and token.upper == b"SETTINGS" and statement.source_at is None:
            statement.source_at = token.start
        elif not self._selects and token.upper == b"VALUES":
            statement.format = "Values"
            return self._begin_data(token)
        return False

    def _is_name(self, token: _Token) -> bool:
        """A word that stands for a table, column or alias, whatever it spells."""
        follows = self._previous.upper in _NAME_FOLLOWS or self._previous.text == b"."
        return follows and token.kind == "word" and token.upper not in (b"TABLE", b"FUNCTION")

    def _note_format(self, token: _Token) -> bool:
        """Sees `FORMAT name`, which ends a statement but for SETTINGS."""
        previous = self._previous
        if previous.upper == b"FORMAT" and token.kind == "word" and token.upper not in _NOT_FORMATS:
            self._statement.format = token.text.decode("ascii", errors="replace")
            return True
        if self._statement.format is not None and token.upper != b"SETTINGS" and not self._in_settings:
            self._statement.format = None  # it was a column called `format`
        elif token.upper == b"SETTINGS":
            self._in_settings = True
        return False

    def _begin_data(self, token: _Token) -> bool:
        statement = self._statement
        at = token.end
        if statement.format != "Values":
            # The data begins after the blanks and one line break, as in ClickHouse's ParserInsertQuery.
            gap = re.compile(rb"[ \t\f]*\r?\n?").match(self._head, at)
            at = gap.end() if gap else at
        clause = self._previous if self._previous.upper == b"FORMAT" else token  # VALUES stands alone
        statement.data_at = at
        statement.text = self._head[: clause.start]
        if not self._selects and statement.source_at is None:
            statement.source_at = clause.start
        return True

    def _note_input(self, token: _Token) -> None:
        """Sees `input(...)` of an INSERT ... SELECT."""
        if self._statement.input_call is not None:
            return
        if self._input_call is None:
            if token.text == b"(" and self._previous.upper == b"INPUT" and self._selects:
                self._input_call = (self._previous, token)
            return
        name, bracket = self._input_call
        if token.kind == "close" and token.depth == bracket.depth:
            self._statement.input_call = (name.start, token.end, bracket.end, token.start)


def _tokens(head: bytes) -> Iterator[_Token]:
    """Every token but blanks and comments. An opening bracket and its closing one have the depth of what is outside."""
    depth, at = 0, 0
    while match := _TOKEN.match(head, at):
        at = match.end()
        kind = match.lastgroup or "other"
        if kind == "comment":
            at = _end_of_comment(head, at)
        elif kind != "space":
            if kind == "close":
                depth = max(0, depth - 1)
            yield _Token("odd" if kind == "tag" else kind, match[0], match.start(), at, depth)
            if kind == "open":
                depth += 1


def _end_of_comment(head: bytes, at: int) -> int:
    """Where a comment ends whose opening ends at `at`: comments nest, as in the SQL standard."""
    level = 1
    while level:
        edge = _COMMENT_EDGE.search(head, at)
        if edge is None:
            return len(head)
        at = edge.end()
        level += 1 if edge[0] == b"/*" else -1
    return at


def _unquoted(token: _Token) -> str:
    text = token.text
    if token.kind == "quoted":
        quote = text[:1]
        text = re.sub(rb"\\(.)", rb"\1", text[1:-1].replace(quote * 2, quote), flags=re.DOTALL)
    return text.decode(errors="replace")


def _refuse_more(tokens: Iterator[_Token]) -> None:
    for token in tokens:
        if token.text != b";":
            raise ClickHouseError(
                62,
                "SYNTAX_ERROR",
                f"Syntax error (Multi-statements are not allowed): failed at position {token.start + 1}: send one "
                "statement a request.",
            )
