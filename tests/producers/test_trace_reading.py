"""Traces: what is read, and what is said about rows that can't be."""

import hashlib
from pathlib import Path

import pytest
from fleetmeter_producers import TraceError
from fleetmeter_producers.trace import TraceRequest, read_requests, scan_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GOOD_ROW = "2023-11-16 18:15:46.6805900,374,44\n"
# date -u -d '2023-11-16 18:15:46' +%s
GOOD_SECOND_US = 1_700_158_546_000_000


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def test_seven_digits_without_a_zone_are_utc_cut_to_microseconds(trace: Path) -> None:
    trace.write_text(HEADER + "2023-11-16 18:15:46.6805909,374,44\n")
    assert list(read_requests(trace)) == [TraceRequest(GOOD_SECOND_US + 680_590, 374, 44)]


@pytest.mark.parametrize(
    ("time", "after_us"),
    [
        ("2023-11-16 18:15:46", 0),
        ("2023-11-16T18:15:46Z", 0),
        ("2023-11-16 18:15:46.5+00:00", 500_000),
        ("2023-11-16 19:15:46.000001+01:00", 1),
        ("2023-11-16 13:15:46.123456789-05:00", 123_456),
    ],
)
def test_other_forms_of_time(trace: Path, time: str, after_us: int) -> None:
    trace.write_text(f"{HEADER}{time},1,2\n")
    assert [request.time_us for request in read_requests(trace)] == [GOOD_SECOND_US + after_us]


def test_columns_in_any_order_and_among_others(trace: Path) -> None:
    trace.write_bytes(
        b"\xef\xbb\xbfGeneratedTokens, Model ,TIMESTAMP,ContextTokens\r\n"
        b'44,"a ""quoted"", name",2023-11-16 18:15:46, 374\r\n'
        b"\r\n"
        b"0,,2023-11-16 18:15:47,0\r\n"
    )
    assert list(read_requests(trace)) == [
        TraceRequest(GOOD_SECOND_US, 374, 44),
        TraceRequest(GOOD_SECOND_US + 1_000_000, 0, 0),
    ]


def test_a_scan_sums_and_finds_the_first_and_the_last_wherever_they_stand(trace: Path) -> None:
    trace.write_text(
        HEADER
        + "2023-11-16 18:15:47,10,1\n2023-11-16 18:15:49,20,2\n2023-11-16 18:15:46,30,3\n2023-11-16 18:15:48,40,4"
    )
    scan = scan_trace(trace)
    assert (scan.requests, scan.input_tokens, scan.output_tokens) == (4, 100, 10)
    assert (scan.first_us, scan.last_us) == (GOOD_SECOND_US, GOOD_SECOND_US + 3_000_000)
    assert scan.digest == hashlib.sha256(trace.read_bytes()).digest()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2023-11-16 18:15:46,374", "line 3: has 2 columns, the header has 3"),
        ("2023-11-16 18:15:46,1,2,3", "line 3: has 4 columns, the header has 3"),
        ("2023-11-16 18:15:46,abc,44", "line 3, column ContextTokens: 'abc' is not a whole number"),
        ("2023-11-16 18:15:46,,44", "line 3, column ContextTokens: '' is not a whole number"),
        ("2023-11-16 18:15:46,374,4.5", "line 3, column GeneratedTokens: '4.5' is not a whole number"),
        ("2023-11-16 18:15:46,374,-4", "line 3, column GeneratedTokens: '-4' is not a whole number"),
        ("2023-11-16 18:15:46,374,٤٤", "line 3, column GeneratedTokens: '٤٤' is not a whole number"),
        ("2023-11-16 18:15:46,1099511627777,1", "line 3, column ContextTokens: 1099511627777 is above the cap"),
        (f"2023-11-16 18:15:46,{'9' * 5000},1", "line 3, column ContextTokens: 9999999999.* is above the cap"),
        ("yesterday,1,1", "line 3, column TIMESTAMP: 'yesterday' is not a time: it must look like"),
        ("2023-02-30 18:15:46,1,1", "line 3, column TIMESTAMP: '2023-02-30 18:15:46' is not a time: day"),
        ("2023-11-16 24:15:46,1,1", "line 3, column TIMESTAMP: .* the time of day does not exist"),
        ('2023-11-16 18:15:46,"1,1', "line 3: is not CSV"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(trace: Path, row: str, message: str) -> None:
    trace.write_text(f"{HEADER}{GOOD_ROW}{row}\n")
    with pytest.raises(TraceError, match=rf"trace\.csv, {message}"):
        scan_trace(trace)


def test_the_cap_itself_is_allowed(trace: Path) -> None:
    trace.write_text(f"{HEADER}2023-11-16 18:15:46,{2**40},0\n")
    assert scan_trace(trace).input_tokens == 2**40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1: column TIMESTAMP is not in the header \(empty\)"),
        (b"TIMESTAMP,ContextTokens\n", r"line 1: column GeneratedTokens is not in the header \(TIMESTAMP, Context"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens,TIMESTAMP\n", "line 1: column TIMESTAMP is twice in the header"),
        (HEADER.encode(), "has a header and no rows"),
        (HEADER.encode() + b"2023-11-16 18:15:46,\xff,1\n", "line 2: is not UTF-8 at byte 21 of the line"),
    ],
)
def test_a_bad_file_is_explained(trace: Path, content: bytes, message: str) -> None:
    trace.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        scan_trace(trace)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"absent\.csv can't be read: No such file"):
        scan_trace(tmp_path / "absent.csv")
