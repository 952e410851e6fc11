"""Request bodies out of their compression, never larger than a limit: a bomb is refused when it passes it."""

from __future__ import annotations

import sys
import zlib
from http import HTTPStatus
from typing import Final, Protocol

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from fleetmeter_producers.ingest.problem import Problem

ENCODINGS: Final = ("gzip", "zstd")
"""Values of Content-Encoding that are understood, besides `identity`."""
_MOST_MEMBERS: Final = 1_000
"""Compressed parts (gzip's members, zstd's frames) of one body. Each takes a copy of all that follow it, so that
millions of empty ones would cost hours."""
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_ZSTD_WINDOW_LOG: Final = 23  # 8 MiB: what RFC 8878 asks of every decoder, and what bounds a decoder's memory


class _Decompressor(Protocol):
    """One member (gzip) or frame (zstd): what both libraries have in common."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def encoding_of(header: str | None) -> str | None:
    """The compression that Content-Encoding names; None for none. Raises `Problem` 415 for an unknown one."""
    name = (header or "identity").strip().lower()
    if name in {"identity", ""}:
        return None
    name = "gzip" if name == "x-gzip" else name
    if name not in ENCODINGS:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding {header!r} is not understood; send gzip, zstd, or the body as it is",
            headers={"Accept-Encoding": ", ".join((*ENCODINGS, "identity"))},
        )
    return name


def decode(body: bytes, encoding: str | None, limit_bytes: int) -> bytes:
    """The body without its compression.

    Raises `Problem`: 413 if it has more than `limit_bytes`, 400 if it is damaged or breaks off.
    """
    if encoding is None:
        return body
    parts: list[bytes] = []
    left, rest = limit_bytes, body
    try:
        while rest or not parts:
            decompressor = _decompressor(encoding)
            part = decompressor.decompress(rest, left + 1)
            left -= len(part)
            if len(parts) == _MOST_MEMBERS:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has more than {_MOST_MEMBERS} {encoding} parts; compress it as one",
                )
            if left < 0:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has more than {limit_bytes} bytes after decompression; send fewer events a request",
                )
            if not decompressor.eof:
                raise Problem(HTTPStatus.BAD_REQUEST, f"the {encoding} body breaks off; send it again, whole")
            parts.append(part)
            rest = decompressor.unused_data
    except (zlib.error, ZstdError) as error:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"the body is not {encoding} as Content-Encoding says: {error}"
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompressor(encoding: str) -> _Decompressor:
    if encoding == "gzip":
        return zlib.decompressobj(_GZIP_WINDOW)
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
