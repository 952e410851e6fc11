"""What the native core has accepted can be read again, whatever numbers stand in it."""

from __future__ import annotations

import json
import sys

import orjson
import pytest
from fleetmeter_schemas.decoding import decode_json
from hypothesis import given
from hypothesis import strategies as st

LARGEST = sys.float_info.max
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@pytest.mark.parametrize("number", ["1e400", "1E+999", "9" * 5_000, "12.5e308"])
def test_no_number_is_too_large(number: str) -> None:
    text = f'{{"known": "1e400 \\" 1e999", "large": {number}, "least": [-{number}, -0]}}'
    assert decode_json(text.encode()) == {"known": '1e400 " 1e999', "large": LARGEST, "least": [-LARGEST, 0]}


@pytest.mark.parametrize(
    "text", ["", "01e400", "1e400.5", "1e400e5", "[1e400", '"1e400', "[1e400,NaN]", '[1e400,"\\ud800"]', "[1e400] 1"]
)
def test_what_is_not_json_stays_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        decode_json(text.encode())


@given(st.lists(NUMBERS | st.text().map(json.dumps), max_size=5))
def test_any_numbers_and_texts(parts: list[str]) -> None:
    text = f"[{', '.join(parts)}]"
    wanted = [min(max(float(part), -LARGEST), LARGEST) if part[0] != '"' else json.loads(part) for part in parts]
    found = [float(one) if isinstance(one, int) else one for one in decode_json(text.encode())]
    assert found == wanted
