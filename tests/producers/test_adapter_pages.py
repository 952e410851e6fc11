"""The examples of the producers' pages run as they stand, and what they emit arrives. (`no-run` marks what needs a
model of the reader's own.)"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_doubles.openai_server import OpenAIServer, openai_server
from fleetmeter_producers import UsageClient
from fleetmeter_schemas import parse_event

PAGES = Path(__file__).parents[2] / "docs" / "producers"
TESTED_ELSEWHERE = {"http.md"}
"""Pages with a test of their own, since their examples need a service."""


@pytest.fixture
def run_page(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    """`run_page(name)`: runs the examples of a page in turn, and gives (events that arrived, what was printed)."""
    defaults = UsageClient.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "connect", broker.connect)
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> tuple[list[dict[str, Any]], str]:
        text = (PAGES / name).read_text(encoding="utf-8")
        names: dict[str, Any] = {"__name__": "__main__"}
        for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(example, name, "exec"), names)  # noqa: S102  (the page is ours)
        events = [parse_event(orjson.loads(value or b"")) for value in broker.values()]
        return [event.data.to_wire() for event in events], capsys.readouterr().out

    return run


def test_client(run_page: Any) -> None:
    (event,), printed = run_page("client.md")
    assert (event["model"], event["output_tokens"], event["denoising_steps"]) == ("llada-8b-instruct", 256, 23)
    assert re.fullmatch(r"accepted as [0-7][0-9A-Z]{25}-0\n", printed)


def test_each_page_is_in_the_index_and_has_a_test() -> None:
    pages = {path.name for path in PAGES.glob("*.md")} - {"README.md"}
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([a-z_]+\.md)\)", index)) == pages
    tested = set(re.findall(r'run_page\("([a-z_]+\.md)"\)', Path(__file__).read_text(encoding="utf-8")))
    assert pages - tested <= TESTED_ELSEWHERE


def test_diffusion(run_page: Any) -> None:
    events, printed = run_page("diffusion.md")
    (event,) = events
    assert (event["blocks"], event["output_tokens"], event["matrix_formula"]) == (3, 96, "diffusion-dual-cache@1")
    assert 12 <= event["denoising_steps"] == event["function_evaluations"] <= 96
    assert "emitted " in printed
    assert "'reasoning_tokens': 120" in printed


def test_providers(run_page: Any) -> None:
    events, printed = run_page("providers.md")
    assert events == []
    assert printed.split() == ["2003", "2000", "12"]


def test_gateway(run_page: Any) -> None:
    events, printed = run_page("gateway.md")
    generation, fallback = events
    assert (generation["route"], generation["input_tokens"], generation["output_tokens"]) == ("fallback", 60, 30)
    assert (fallback["fallback_reason"], fallback["wasted_output_tokens"]) == ("low_confidence", 20)
    assert printed == f"the generation that is billed is {fallback['generation_id']}\n"


def test_devices(run_page: Any) -> None:
    events, printed = run_page("devices.md")
    assert [event["kind"] for event in events] == ["download", "deploy", "seat", "estimate"]
    estimate = events[-1]
    assert (estimate["queries"], estimate["output_tokens"]) == (1, 85)
    assert estimate["output_tokens"] <= estimate["output_tokens_upper"]
    assert "alice" not in printed
    assert "4 reports handed over" in printed


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """What the clients of the pages take for OpenAI."""
    with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        yield server


def test_openai(run_page: Any, provider: OpenAIServer) -> None:
    pytest.importorskip("openai", reason="the official openai client is not installed: pip install openai")
    events, printed = run_page("openai.md")
    assert printed == "one two three four\none two three four"
    assert [(event["input_tokens"], event["output_tokens"], event["status"]) for event in events] == [(20, 6, "ok")] * 2


def test_opentelemetry(run_page: Any) -> None:
    (event,), _ = run_page("opentelemetry.md")
    assert (event["input_tokens"], event["cache_read_input_tokens"], event["output_tokens"]) == (52, 20, 97)
    assert (event["model"], event["usage_fidelity"]) == ("gpt-x", "provider_reported")


def test_litellm(run_page: Any, provider: OpenAIServer, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm", reason="litellm is not in the development environment: make test-litellm")
    try:
        _, printed = run_page("litellm.md")
        deadline = time.monotonic() + 20
        while not broker.values() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        for name in ("callbacks", "success_callback", "failure_callback", "_async_success_callback"):
            setattr(litellm, name, [])
    (value,) = broker.values()
    event = parse_event(orjson.loads(value or b""))
    assert (event.subject, event.data.to_wire()["output_tokens"]) == ("acct-42", 6)
    assert printed == "one two three four\n"
