"""Request bodies in files, and compression both ways.

A body of any size takes a bounded amount of memory: it goes to a file in the spool folder, from which the engine reads
it. Nothing is inserted before it is there to its last byte.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import AsyncIterable, Iterator
from pathlib import Path
from types import ModuleType

import cramjam

from fleetmeter_local.clickhouse.answers import ClickHouseError

_CODECS: dict[str, ModuleType] = {
    "gzip": cramjam.gzip,
    "x-gzip": cramjam.gzip,
    "deflate": cramjam.zlib,  # HTTP's "deflate" is zlib's format (RFC 9110, 8.4.1.2)
    "lz4": cramjam.lz4,
    "zstd": cramjam.zstd,
    "br": cramjam.brotli,
}

WRITE_BYTES = 1 << 20
_OF_THE_SYSTEM = re.compile(r"\(os error (\d+)\)")
"""How the codecs, which have one error for everything, tell the system's."""


class Body:
    """A request's body in a file that is deleted on `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def head(self, limit: int) -> bytes:
        """Its first bytes, at most `limit`."""
        with self.path.open("rb") as file:
            return file.read(limit)

    def cut_front(self, count: int) -> None:
        """Drops the first `count` bytes (a statement in front of its data), copying the rest in bounded memory."""
        if count <= 0:
            return
        with self._replacement() as rest, rest.open("wb") as target, self.path.open("rb") as source:
            source.seek(count)
            while piece := source.read(WRITE_BYTES):
                target.write(piece)

    def put_front(self, data: bytes) -> None:
        """Adds bytes before the first (data that came with the statement in the URL)."""
        if not data:
            return
        with self._replacement() as whole, whole.open("wb") as target, self.path.open("rb") as source:
            target.write(data)
            while piece := source.read(WRITE_BYTES):
                target.write(piece)

    def decompress(self, encoding: str) -> None:
        """Replaces the content by its decompressed form.

        Raises ClickHouseError: 89 for an encoding that is not known, 271 for data that is damaged or cut short; OSError
        for a disk that is full.
        """
        if encoding in ("", "identity"):
            return
        codec = _CODECS.get(encoding)
        if codec is None:
            raise ClickHouseError(
                89,
                "UNKNOWN_COMPRESSION_METHOD",
                f"Unknown HTTP content encoding '{encoding}': use {', '.join(_CODECS)}.",
            )
        if self.size == 0:
            return
        with self._replacement() as plain:
            try:
                codec.decompress_into(cramjam.File(str(self.path)), cramjam.File(str(plain), write=True, truncate=True))
            except cramjam.DecompressionError as error:
                if disk := _OF_THE_SYSTEM.search(str(error)):
                    raise OSError(int(disk[1]), os.strerror(int(disk[1]))) from error
                raise ClickHouseError(
                    271,
                    "CANNOT_DECOMPRESS",
                    f"The body is not whole {encoding} data, as its Content-Encoding says: {error}.",
                ) from error

    @contextlib.contextmanager
    def _replacement(self) -> Iterator[Path]:
        """A new file that takes the body's place in the end; if that is not reached, nothing is left of it."""
        descriptor, name = tempfile.mkstemp(dir=self.path.parent)
        os.close(descriptor)
        new = Path(name)
        try:
            yield new
        except BaseException:
            new.unlink()
            raise
        new.replace(self.path)

    def close(self) -> None:
        """Deletes the file."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


async def receive(chunks: AsyncIterable[bytes], spool: Path) -> Body:
    """Writes a body to a new file in `spool` as it arrives; if it breaks off, nothing is left of it."""
    descriptor, name = tempfile.mkstemp(dir=spool)
    body = Body(Path(name))
    try:
        with os.fdopen(descriptor, "wb", buffering=WRITE_BYTES) as file:
            async for chunk in chunks:
                file.write(chunk)
    except BaseException:
        body.close()
        raise
    return body


def accepted_encoding(accept: str) -> str | None:
    """The encoding to answer with, from an Accept-Encoding header; None for none that is known."""
    for part in accept.split(","):
        name, _, parameters = part.strip().partition(";")
        if name.strip() in _CODECS and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip()
    return None


def compress(data: memoryview | bytes, encoding: str) -> bytes:
    """A response's body in an encoding that `accepted_encoding` gave."""
    return bytes(_CODECS[encoding].compress(data))
