"""Request bodies in files: arrival, breaking off, compression."""

from __future__ import annotations

import errno
import gzip
import resource
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import cramjam
import lz4.frame  # type: ignore[import-untyped]
import pytest
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.bodies import Body, accepted_encoding, compress, receive

DATA = bytes(range(256)) * 10_000


async def _arrive(*chunks: bytes, breaks: BaseException | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if breaks is not None:
        raise breaks


async def test_a_body_arrives_whole_and_goes_when_closed(tmp_path: Path) -> None:
    body = await receive(_arrive(b"ab", b"", b"c"), tmp_path)
    assert (body.head(9), body.size, body.head(2)) == (b"abc", 3, b"ab")
    body.close()
    body.close()
    assert _left_in(tmp_path) == []


async def test_nothing_stays_of_a_body_that_broke_off(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await receive(_arrive(b"ab", breaks=ConnectionResetError()), tmp_path)
    assert _left_in(tmp_path) == []


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _body(folder: Path, content: bytes) -> Body:
    path = folder / "body"
    path.write_bytes(content)
    return Body(path)


def test_bytes_are_cut_from_and_put_to_the_front(tmp_path: Path) -> None:
    body = _body(tmp_path, b"INSERT\n" + DATA)
    body.cut_front(7)
    assert body.path.read_bytes() == DATA
    body.put_front(b"first\n")
    assert body.path.read_bytes() == b"first\n" + DATA
    body.cut_front(0)
    body.put_front(b"")
    assert body.size == len(DATA) + 6
    assert list(tmp_path.iterdir()) == [body.path]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1 MiB: as a full disk, the system refuses to write on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("content", "change"),
    [
        (b"INSERT\n", lambda body: body.cut_front(7)),
        (b"", lambda body: body.put_front(b"first\n")),
        (None, lambda body: body.decompress("lz4")),
        (None, lambda body: body.decompress("zstd")),
    ],
    ids=["cut", "put", "lz4", "zstd"],
)
def test_a_full_disk_is_told_as_such_and_gets_nothing_left_on_it(
    tmp_path: Path, request: pytest.FixtureRequest, content: bytes | None, change: Callable[[Body], None]
) -> None:
    """What stayed of each try would keep the disk full."""
    encoding = request.node.callspec.id
    body = _body(tmp_path, content + DATA if content is not None else ENCODERS[encoding](DATA))
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError) as refused:  # noqa: PT011  (its number is what counts)
        change(body)
    assert refused.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [body.path]


# Each encoded by another library than the one that decodes, where there is one.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "br": lambda data: bytes(cramjam.brotli.compress(data)),
    "identity": lambda data: data,
    "": lambda data: data,
}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_bodies_are_decompressed(tmp_path: Path, encoding: str) -> None:
    body = _body(tmp_path, ENCODERS[encoding](DATA))
    body.decompress(encoding)
    assert body.path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [body.path]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
def test_a_body_cut_short_is_refused_and_not_inserted_in_part(tmp_path: Path, encoding: str) -> None:
    whole = ENCODERS[encoding](DATA)
    body = _body(tmp_path, whole[: len(whole) // 2])
    with pytest.raises(ClickHouseError, match="not whole") as caught:
        body.decompress(encoding)
    assert (caught.value.code, caught.value.status) == (271, 400)
    assert list(tmp_path.iterdir()) == [body.path]


def test_an_empty_body_is_empty_in_any_encoding(tmp_path: Path) -> None:
    body = _body(tmp_path, b"")
    body.decompress("gzip")
    assert body.size == 0


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClickHouseError, match="'rot13'") as caught:
        _body(tmp_path, b"x").decompress("rot13")
    assert (caught.value.code, caught.value.status) == (89, 400)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", None),
        ("identity", None),
        ("rot13", None),
        ("gzip, deflate", "gzip"),
        ("zstd;q=1.0, gzip", "zstd"),
        ("gzip; q=0, lz4", "lz4"),
        ("*", None),
    ],
)
def test_the_first_known_encoding_answers(accept: str, encoding: str | None) -> None:
    assert accepted_encoding(accept) == encoding


def test_answers_are_compressed_so_that_others_can_read_them() -> None:
    assert gzip.decompress(compress(memoryview(DATA), "gzip")) == DATA
    assert zlib.decompress(compress(DATA, "deflate")) == DATA
    assert lz4.frame.decompress(compress(DATA, "lz4")) == DATA
