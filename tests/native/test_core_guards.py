"""What the core refuses from its caller, and that a refused call leaves no trace."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fleetmeter_native
import pyarrow as pa
import pytest
from fleetmeter_schemas import native_spec
from fleetmeter_schemas.reasons import Reason

APPEND_US = 1_772_366_400_000_000
MakeCore = Callable[..., fleetmeter_native.Core]
MakeEvent = Callable[..., dict[str, Any]]


def dumps(event: object) -> bytes:
    return json.dumps(event).encode()


def test_an_overflowing_sum_is_an_error_that_counts_nothing(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    first: list[bytes | None] = [dumps(make_event("a", huge=2**63 - 1)), dumps(make_event("b", huge=2**63 - 1))]
    core.ingest(first, 0, APPEND_US)
    before = (core.snapshot(), core.stats()["foreign_ids"], core.pending_events, core.pending_groups)
    call: list[bytes | None] = [
        dumps(make_event("c", huge=1, model="other", labels={"team": "x"}, user="u")),
        dumps(make_event("d", huge=2)),
        b"nonsense",
    ]
    with pytest.raises(OverflowError, match="huge"):
        core.ingest(call, 2, APPEND_US)
    assert (core.snapshot(), core.stats()["foreign_ids"], core.pending_events, core.pending_groups) == before
    flush = core.flush()
    assert [row["huge"] for row in pa.record_batch(flush.usage).to_pylist()] == [2**64 - 2]
    assert pa.record_batch(flush.subjects).num_rows == 0
    answer = core.ingest(call, 2, APPEND_US)
    assert (answer.accepted, answer.rejected) == (2, 1)
    assert flush.blob
    restored = make_core()
    restored.restore(flush.blob)
    assert restored.snapshot() == before[0]


def test_a_second_thread_is_turned_away_and_the_gil_is_free(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    records: list[bytes | None] = [dumps(make_event(f"e{i}")) for i in range(60_000)]
    done = threading.Event()

    def work() -> None:
        core.ingest(records, 0, APPEND_US)
        done.set()

    thread = threading.Thread(target=work)
    refusals: list[str] = []
    thread.start()
    while not done.is_set():
        try:
            core.stats()
        except RuntimeError as error:
            refusals.append(str(error))
        assert core.pending_events in {0, len(records)}, "readable all the time, and never half-way"
    thread.join()
    assert refusals
    assert all("another thread" in refusal for refusal in refusals)
    assert core.pending_events == len(records)


@pytest.mark.parametrize(
    ("values", "said"), [([b"{}", "text"], r"values\[1\].*str"), ([bytearray(b"{}")], r"values\[0\].*bytearray")]
)
def test_values_are_bytes_or_none(core: fleetmeter_native.Core, values: list[Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        core.ingest(values, 0, APPEND_US)
    assert core.pending_events == 0


def test_offsets_stay_below_kafkas_largest(core: fleetmeter_native.Core) -> None:
    with pytest.raises(ValueError, match="base_offset"):
        core.ingest([None, None], 2**63 - 2, APPEND_US)
    with pytest.raises(OverflowError):
        core.ingest([None], -1, APPEND_US)


def _set(spec: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    target: Any = spec
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value


_WORK = ("types", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("version",), 2, "version 2"),
        (("surprise",), 1, "surprise"),
        ((*_WORK, "fields", 0, "surprise"), 1, "surprise"),
        ((*_WORK, "fields", 0, "kind"), "float", "float"),
        ((*_WORK, "fields", 0, "role"), "measure", "test.work.v1/model"),
        ((*_WORK, "fields", 3, "cap"), None, "test.work.v1/tokens.*cap"),
        ((*_WORK, "fields", 3, "cap"), 2**63, "test.work.v1/tokens.*cap"),
        ((*_WORK, "fields", 3, "name"), "model", "field twice"),
        ((*_WORK, "fields", 1, "name"), "mood", "mood is not a dimension"),
        ((*_WORK, "count_measure"), "jobs", "jobs is not a measure"),
        ((*_WORK, "rules", 0, "rule"), "guess", "guess"),
        ((*_WORK, "rules", 0, "whole"), "sum", "sum is not a field"),
        ((*_WORK, "rules", 0, "whole"), "mode", "rule does not fit"),
        ((*_WORK, "rules", 4, "field"), "note", "rule does not fit"),
        ((*_WORK, "rules", 4, "max_age_us"), -1, "rule does not fit"),
        ((*_WORK, "bands", 0, "labels"), ["a", "b"], "work.v1/size.*label"),
        ((*_WORK, "bands", 0, "thresholds"), [100, 10], "work.v1/size.*ascend"),
        ((*_WORK, "bands", 0, "of"), "model", "work.v1/size"),
        (("types", 1, "name"), "test.work.v1", "type twice"),
        (("types", 1, "short"), "work", "short name"),
        (("ledger", "dimensions"), ["model", "mode", "labels"], "size is not a dimension"),
        (("ledger", "measures"), ["works"] * 2, "measure twice"),
        ("known_attributes", ["specversion"], "known_attributes.*type"),
        (("reasons", 0, "name"), "gravestone", "gravestone"),
        (("reasons", 0, "code"), 99, "99"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(
    make_core: MakeCore, spec: dict[str, Any], path: tuple[Any, ...] | str, value: Any, said: str
) -> None:
    make_core(spec)
    _set(spec, (path,) if isinstance(path, str) else path, value)
    with pytest.raises(ValueError, match=said):
        make_core(spec)


def test_a_spec_that_lacks_a_reason_is_refused(make_core: MakeCore, spec: dict[str, Any]) -> None:
    spec["reasons"].pop()
    with pytest.raises(ValueError, match="in_future"):
        make_core(spec)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hash_key": b"short"}, "16 bytes, not 5"),
        ({"horizon_us": -1}, "horizon_us"),
        ({"future_us": -1}, "future_us"),
        ({"record_limit_bytes": 0}, "record_limit_bytes"),
        ({"event_limit_bytes": 2**40}, "event_limit_bytes"),
        ({"label_keys": ["a", "a"]}, "label_keys"),
        ({"label_keys": [""]}, "label_keys"),
    ],
)
def test_wrong_options_are_refused(make_core: MakeCore, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_core(**options)


def test_the_contract_of_the_schemas_is_accepted(make_core: MakeCore) -> None:
    make_core(native_spec())


def test_reasons_are_those_of_the_schemas() -> None:
    assert {reason.number: reason.code for reason in Reason} == fleetmeter_native.REASONS
    for code in fleetmeter_native.REASONS:
        assert fleetmeter_native.explain_reason(code)
    with pytest.raises(ValueError, match="99"):
        fleetmeter_native.explain_reason(99)


def test_the_stub_describes_the_extension() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "fleetmeter_native._core", "--ignore-disjoint-bases"]
    root = Path(__file__).parents[2]
    here = str(root / "native")
    environment = {"MYPYPATH": here, "PYTHONPATH": here, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_extension_the_import_says_how_to_get_it(tmp_path: Path) -> None:
    package = tmp_path / "fleetmeter_native"
    package.mkdir()
    (package / "__init__.py").write_text(Path(fleetmeter_native.__file__).read_text("utf-8"), "utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fleetmeter_native"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Rust toolchain" in done.stderr
    assert "pip install" in done.stderr
