"""Errors as a ClickHouse server words them, and the HTTP status that goes with each.

The statuses are those of a server:
https://github.com/ClickHouse/ClickHouse/blob/master/src/Server/HTTP/exceptionCodeToHTTPStatus.cpp
"""

from __future__ import annotations

import re

_STATUS_BY_NAME = {
    "REQUIRED_PASSWORD": 401,
    "QUERY_IS_TOO_LARGE": 413,
    "HTTP_LENGTH_REQUIRED": 411,
    "NOT_IMPLEMENTED": 501,
    "SOCKET_TIMEOUT": 503,
    "CANNOT_OPEN_FILE": 503,
    "CANNOT_SCHEDULE_TASK": 503,
    "TIMEOUT_EXCEEDED": 408,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    **dict.fromkeys(
        ("UNKNOWN_USER", "WRONG_PASSWORD", "AUTHENTICATION_FAILED", "SET_NON_GRANTED_ROLE", "ACCESS_DENIED"), 403
    ),
    **dict.fromkeys(
        (
            "UNKNOWN_TABLE",
            "UNKNOWN_FUNCTION",
            "UNKNOWN_IDENTIFIER",
            "UNKNOWN_TYPE",
            "UNKNOWN_STORAGE",
            "UNKNOWN_DATABASE",
            "UNKNOWN_SETTING",
            "UNKNOWN_DIRECTION_OF_SORTING",
            "UNKNOWN_AGGREGATE_FUNCTION",
            "UNKNOWN_FORMAT",
            "UNKNOWN_DATABASE_ENGINE",
            "UNKNOWN_TYPE_OF_QUERY",
            "UNKNOWN_ROLE",
        ),
        404,
    ),
    **dict.fromkeys(
        (
            "BAD_ARGUMENTS",
            "CANNOT_COMPILE_REGEXP",
            "CANNOT_PARSE_TEXT",
            "CANNOT_PARSE_ESCAPE_SEQUENCE",
            "CANNOT_PARSE_QUOTED_STRING",
            "CANNOT_PARSE_DATE",
            "CANNOT_PARSE_DATETIME",
            "CANNOT_PARSE_NUMBER",
            "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
            "CANNOT_PARSE_IPV4",
            "CANNOT_PARSE_IPV6",
            "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
            "CANNOT_PARSE_UUID",
            "DUPLICATE_COLUMN",
            "ILLEGAL_COLUMN",
            "UNKNOWN_ELEMENT_IN_AST",
            "UNKNOWN_TYPE_OF_AST_NODE",
            "THERE_IS_NO_COLUMN",
            "TOO_DEEP_AST",
            "TOO_BIG_AST",
            "UNEXPECTED_AST_STRUCTURE",
            "SYNTAX_ERROR",
            "INCORRECT_DATA",
            "TYPE_MISMATCH",
            "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
            # A server gives these 500 or does not have them; here they are always the request's fault.
            "CANNOT_DECOMPRESS",
            "UNKNOWN_COMPRESSION_METHOD",
        ),
        400,
    ),
}

# The engine repeats its head and tail when an error crosses one of its own layers.
_REPEATED = re.compile(
    r"\ACode: (?P<code>\d+)\. DB::Exception: (?P<inner>Code: (?P=code)\. DB::\w*Exception: .*?)"
    r"(?: \(version [^()]*(?:\([^()]*\))?\))?\.? \(\w+\)\s*\Z",
    re.DOTALL,
)
_CODE = re.compile(r"Code: (\d+)\. DB::")
_NAME = re.compile(r"\((\w+)\)\s*(?:\(version [^()]*(?:\([^()]*\))?\))?\s*\Z")


class ClickHouseError(Exception):
    """An error on its way to the client.

    Attributes:
        code: ClickHouse's number, e.g. 60.
        name: its name, e.g. UNKNOWN_TABLE.
        text: what the client reads, without the version: `Code: 60. DB::Exception: ... (UNKNOWN_TABLE)`.
    """

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.text = f"Code: {code}. DB::Exception: {message} ({name})"

    @property
    def status(self) -> int:
        """The HTTP status that a server answers this error with."""
        return _STATUS_BY_NAME.get(self.name, 500)


def engine_error(text: str) -> ClickHouseError:
    """The error behind the text of an exception of the engine; code 1002 (UNKNOWN_EXCEPTION) if it has no code."""
    text = text[text.index("Code: ") :].strip() if "Code: " in text else text.strip()
    if match := _REPEATED.match(text):
        text = match["inner"]
    code, name = _CODE.search(text), _NAME.search(text)
    if code is None or name is None:
        return ClickHouseError(1002, "UNKNOWN_EXCEPTION", text)
    error = ClickHouseError(int(code[1]), name[1], text)
    error.text = re.sub(r"\s*\(version [^()]*(?:\([^()]*\))?\)\s*\Z", "", text)
    return error
