"""The OpenAPI document: committed as it is served, and kept by the server for whatever schemathesis makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fleetmeter_doubles.ingest_events import make_event, text_of
from fleetmeter_doubles.ingest_server import BATCH, IngestServer, ingest_server
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.ingest.openapi import openapi
from fleetmeter_producers.ingest.token_book import TokenBook
from fleetmeter_producers.ingest.tokens import TokenFile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from schemathesis import GenerationMode, checks

COMMITTED = Path(__file__).parents[3] / "docs" / "producers" / "ingest.openapi.json"
EXAMPLES = 30
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[IngestServer, str]]:
    """A server that wants a token, and one that it takes."""
    file = TokenFile(tmp_path_factory.mktemp("openapi") / "tokens.json")
    _, token = file.add("schemathesis", accounts=["*"], sources=["*"])
    book = TokenBook(file, events_per_s=None, burst_s=1.0)
    with ingest_server(FakeBroker(), book=book) as server:
        yield server, token


def operations() -> list[Any]:
    """Each operation with what is made for it; what is invalid can only be made where something is sent."""
    results: Any = schemathesis.openapi.from_dict(openapi()).get_all_operations()
    found = [each.ok() for each in results]
    made = [(each, GenerationMode.POSITIVE) for each in found]
    return made + [(each, GenerationMode.NEGATIVE) for each in found if each.method == "post"]


def all_checks() -> list[Any]:
    checks.load_all_checks()
    return [checks.CHECKS.get_one(name) for name in NAMES]


def test_the_committed_document_is_the_one_that_is_served(guarded: tuple[IngestServer, str]) -> None:
    answer = guarded[0].get("/openapi.json")
    assert answer.status == 200
    assert answer.json == json.loads(COMMITTED.read_text()), (
        "make it again: fleetmeter ingest openapi > docs/producers/ingest.openapi.json"
    )


@pytest.mark.parametrize(
    ("operation", "mode"), operations(), ids=lambda part: getattr(part, "label", None) or part.value
)
def test_schemathesis_finds_no_answer_that_the_document_does_not_describe(
    guarded: tuple[IngestServer, str], operation: Any, mode: GenerationMode
) -> None:
    server, token = guarded
    seen: set[int] = set()
    every_check = all_checks()
    tokens = st.sampled_from([token, token, token, None, "fm_0_x"])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode), shown=tokens)
    def run(case: Any, shown: str | None) -> None:
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        response = case.call(base_url=server.url, headers=headers)
        case.validate_response(response, checks=every_check)
        if operation.path == "/v1/events" and shown != token:
            assert response.status_code in {401, 405}
        seen.add(response.status_code)

    run()
    if operation.path == "/v1/events":
        assert 401 in seen
        assert seen & {202, 400, 415}


def test_the_schemas_take_what_the_server_takes(server: IngestServer) -> None:
    """And refuse what it refuses, as far as JSON Schema can say it."""
    document = openapi()
    event = Draft202012Validator({**document["components"]["schemas"]["Event"], "components": document["components"]})
    good, bad = make_event(), make_event(data={"model": "m", "generation_mode": "telepathy"})
    assert event.is_valid(good)
    assert not event.is_valid(bad)
    answer = server.post(b"[" + text_of(good) + b"," + text_of(bad) + b"]", BATCH)
    assert answer.json["accepted"] == 1
    accepted = Draft202012Validator(
        {**document["components"]["schemas"]["Accepted"], "components": document["components"]}
    )
    accepted.validate(answer.json)
