"""No prompt, text or raw identifier can get into what a device keeps or reports, whatever the app hands over."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.device import DeviceReporter, DeviceTraits, LocalModel
from hypothesis import given, settings
from hypothesis import strategies as st

MODEL = "small-3b"
ACCOUNT = "account-of-the-test"
# Everything that a report may say in words.
SAYABLE = re.compile(
    r"estimate|seat|download|deploy|upgrade|remove|measured|estimated|user|device"  # choices of the contract
    rf"|{MODEL}|q4_k_m|laptop-16gb"  # what was declared
    r"|v?\d{1,6}([.-]\d{1,6}){0,4}([.-]?(a|b|rc|alpha|beta|dev|post)\d{0,4})?"  # versions
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    r"|[iu]-[0-9a-f]{32}|[0-9a-f]{32}"  # random, or hashed
)
CALLS: list[Callable[[DeviceReporter, Any, int], object]] = [
    lambda reporter, text, n: reporter.count(text, queries=n),
    lambda reporter, text, n: reporter.count(MODEL, queries=n, output_tokens=text),
    lambda reporter, text, n: reporter.count(MODEL, queries=n, active_ms=len(text)),
    lambda reporter, text, n: reporter.seat_seen(text if n % 3 else None),
    lambda reporter, text, n: reporter.downloaded(MODEL if n % 2 else text, text),
    lambda reporter, text, n: reporter.deployed(MODEL, text if n % 3 else f"1.{n}"),
    lambda reporter, text, n: reporter.removed(text if n % 4 else MODEL),
]
# Text as people write it, and numbers and names that would pass for something else.
texts = st.one_of(
    st.text(min_size=5),
    st.emails(),
    st.from_regex(r"\+49 ?1[567]\d \d{7,8}", fullmatch=True),
    st.uuids().map(str),
    st.sampled_from(["What is my balance?", "alice.smith", "serial-C02XG2JHJGH5", "192.168.178.33/phone"]),
)


def written(folder: Path) -> bytes:
    """All bytes of all files, while they are open: what a write-ahead log holds is there too."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@settings(deadline=None)  # each opens a file
@given(st.lists(st.tuples(st.sampled_from(CALLS), texts, st.integers(0, 9)), min_size=1, max_size=12))
def test_no_text_gets_in(calls: list[tuple[Callable[[DeviceReporter, Any, int], object], str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reporter = DeviceReporter(
            folder,
            ACCOUNT,
            traits=DeviceTraits("laptop-16gb", 100_000),
            models=[LocalModel(MODEL, "q4_k_m", 2_000_000_000)],
            user_key=b"secret of the account",
        )
        reporter.allow()
        refused = []
        for call, text, number in calls:
            try:
                call(reporter, text, number)
            except ValueError as error:
                refused.append(str(error))
        kept = KeepingEmitter()
        before = written(Path(folder))
        reporter.report(kept)
        after = written(Path(folder))
        reporter.close()
        for event in kept.events:
            for name, value in event.data.to_wire().items():
                assert type(value) is int or SAYABLE.fullmatch(value), f"{name} says {value!r}"
        for _, text, _ in calls:
            secret = text.encode(errors="surrogatepass")
            if SAYABLE.fullmatch(text) or len(secret) < 5:
                continue
            for place in (before, after, *map(str.encode, refused)):
                assert secret not in place, f"{text!r} was kept"
        assert ACCOUNT.encode() not in after


def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path) -> None:
    reporter = DeviceReporter(
        tmp_path, ACCOUNT, traits=DeviceTraits("x"), models=[LocalModel(MODEL)], user_key=b"secret of the account"
    )
    reporter.allow()
    reporter.seat_seen("alice")
    pseudonym = reporter.preview()[0]["user"].encode()
    assert pseudonym in written(tmp_path)
    reporter.withdraw()
    assert pseudonym not in written(tmp_path)
