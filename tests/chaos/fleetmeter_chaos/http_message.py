"""As much of HTTP/1.1 as a worker and the embedded ClickHouse speak: messages with a Content-Length."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

_HEAD_LIMIT: Final = 1 << 20
Kind = Literal["commit", "side_rows", "read", "other"]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer as it went over the wire."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """Both, as sent."""
        return self.head + self.body

    @property
    def token(self) -> str:
        """Of a request that inserts into the ledger; else empty."""
        target = self.head.split(b" ", 2)[1].decode()
        return parse_qs(urlsplit(target).query).get("insert_deduplication_token", [""])[0]

    @property
    def kind(self) -> Kind:
        """What a request wants."""
        if self.token:
            return "commit"
        verb = self.body[:6].upper()
        return "side_rows" if verb == b"INSERT" else "read" if verb == b"SELECT" else "other"


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when the other side has closed. Raises OSError or IncompleteReadError when it closes in
    the middle of one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    return Message(head, await reader.readexactly(length))


def exception_answer(code: int, name: str) -> bytes:
    """ClickHouse's answer when a statement failed."""
    text = f"Code: {code}. DB::Exception: injected. ({name})\n".encode()
    head = (
        "HTTP/1.1 500 Internal Server Error\r\n"
        f"X-ClickHouse-Exception-Code: {code}\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


async def ask(host: str, port: int, request: bytes) -> bytes:
    """Send a request on a connection of its own; the whole answer. Raises OSError, IncompleteReadError."""
    reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_LIMIT)
    try:
        writer.write(request)
        await writer.drain()
        answer = await read_message(reader)
    finally:
        writer.close()
    if answer is None:
        raise ConnectionResetError("the other side closed without an answer")
    return answer.raw
