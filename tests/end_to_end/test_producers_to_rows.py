"""Every way to emit, to rows: gateway clients, spans, a diffusion server and a device, through a real Kafka and a
worker into ClickHouse. Each has an account of its own, whose figures are worked out here by hand.

`make test-litellm` runs it with the real litellm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fleetmeter_doubles.openai_server import OpenAIServer, openai_server
from fleetmeter_doubles.worker_processes import DEADLINE_S, Pipeline, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_producers import ClientSettings, UsageClient, matrix
from fleetmeter_producers.device import DeviceReporter, DeviceTraits, LocalModel
from fleetmeter_producers.diffusion import DiffusionMeter
from fleetmeter_producers.gateway import Gateway
from fleetmeter_producers.gateway.openai_client import meter_openai
from fleetmeter_producers.gateway.span_processor import meter_spans
from litellm_requests import litellm_requests
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(240)]

MakeClient = Callable[..., UsageClient]
ASK: dict[str, Any] = {"model": "gpt-x", "messages": [{"role": "user", "content": "Count to four."}]}
# One answer of the provider: 20 tokens in, 16 of them out of a cache; 6 out, 2 of them reasoning.


@pytest.fixture
def pipeline(kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Pipeline]:
    made = new_pipeline(kafka, clickhouse, tmp_path, partitions=2)
    yield made
    made.end()


@pytest.fixture
def make_client(pipeline: Pipeline) -> Iterator[MakeClient]:
    """`make_client(name, **settings)`: one client a server of the fleet; closed when all is handed over."""
    clients: list[UsageClient] = []

    def make(name: str, **settings: Any) -> UsageClient:
        given = ClientSettings(spool_dir=pipeline.folder / "spool", **settings)
        clients.append(UsageClient(pipeline.kafka.bootstrap, f"urn:test:{name}", pipeline.topic, settings=given))
        return clients[-1]

    yield make
    for client in clients:
        client.close(0)


@pytest.fixture
def provider() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


def ask_openai(gateway: Gateway, server: OpenAIServer) -> None:
    """An answer at the second try, a stream, and a stream in the cloud after the device was not sure."""
    with meter_openai(openai.OpenAI(base_url=server.url, api_key="k"), gateway, account="acct-openai") as client:
        server.failures = [500]
        client.chat.completions.create(**ASK)
        assert len(server.requests) == 2
        assert len(list(client.chat.completions.create(**ASK, stream=True))) == 5  # four words, and the end
        with gateway.request("acct-local-first", user="pseudonym") as request:
            with request.local("gemma-3n-e4b", convention="ollama") as attempt:
                attempt.answered({"done": True, "prompt_eval_count": 11, "eval_count": 9})
                attempt.fall_back("low_confidence")
            with request.cloud("gpt-x"):
                list(client.chat.completions.create(**ASK, stream=True))


def end_spans(gateway: Gateway) -> None:
    """Two calls of a model in one workflow; one of them failed after it was billed."""
    spans = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    meter_spans(spans, gateway, account=lambda span: str((span.attributes or {})["tenant"]))
    tracer = spans.get_tracer("test")
    call: dict[str, Any] = {
        "tenant": "acct-spans",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-x",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.cache_read.input_tokens": 900,
        "gen_ai.usage.output_tokens": 50,
    }
    with tracer.start_as_current_span("workflow"):
        with tracer.start_as_current_span("chat claude-x", attributes=call):
            pass
        with tracer.start_as_current_span("chat claude-x", attributes={**call, "error.type": "timeout"}):
            pass


def denoise(client: UsageClient) -> None:
    """Two generations: one that ends, and one whose second block raises."""
    meter = DiffusionMeter(client, model="llada-8b-instruct", schedule=matrix.DUAL_CACHE, region="eu-1")
    with meter.generation("acct-diffusion", input_tokens=100, canvas_tokens=28, max_denoising_steps=16) as run:
        run.begin_block(20)
        run.step(tokens=5)
        run.step(tokens=15)
        run.begin_block(8)
        run.step(tokens=8)
        run.step()
        run.finish(finish_reason="stop", gpu_ms=40)
    with (
        contextlib.suppress(MemoryError),
        meter.generation("acct-diffusion", input_tokens=100, canvas_tokens=28, max_denoising_steps=16) as run,
    ):
        run.begin_block(20)
        run.step(tokens=20)
        raise MemoryError


def report_device(client: UsageClient, folder: Path) -> None:
    """A week in the life of an app: two queries, of which one did not tell its tokens."""
    reporter = DeviceReporter(
        folder,
        "acct-device",
        traits=DeviceTraits("laptop-16gb", memory_bandwidth_mbps=120_000),
        models=[LocalModel("pocket", "q4", pass_bytes=2_000_000_000)],
        user_key=b"a key of the account",
    )
    reporter.allow()
    reporter.seat_seen("alice@example.com")
    reporter.deployed("pocket", "1.0")
    reporter.deployed("pocket", "1.1")
    reporter.count("pocket", input_tokens=210, output_tokens=85, active_ms=3_000)
    reporter.count("pocket", input_tokens=40, active_ms=1_000)
    # Two versions came, one was deployed and then upgraded; a seat; an estimate.
    assert reporter.report(client) == 6
    reporter.close()


def test_what_each_producer_emits_becomes_the_rows_that_it_must(
    pipeline: Pipeline, make_client: MakeClient, provider: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway_client = make_client("gateway")
    litellm_client = make_client("litellm", outbox="memory")
    server_client = make_client("server", batch="ndjson")
    relay_client = make_client("relay", batch="arrow")

    gateway = Gateway(gateway_client, region="eu-1")
    ask_openai(gateway, provider)
    end_spans(gateway)
    denoise(server_client)
    report_device(relay_client, pipeline.folder / "device")
    with litellm_requests(Gateway(litellm_client), provider, monkeypatch):
        eventually(lambda: litellm_client.stats().emitted >= 2, "LiteLLM has told of its requests")

    clients = {"gateway": gateway_client, "litellm": litellm_client, "server": server_client, "relay": relay_client}
    for client in clients.values():
        assert client.close(60).events == 0, client.stats()
    delivered = {name: client.stats().delivered for name, client in clients.items()}
    # Two direct ones, a cloud one with its fallback, and two spans; the others as above.
    assert delivered == {"gateway": 6, "litellm": 2, "server": 2, "relay": 6}

    worker = pipeline.start_worker(drain=True)
    assert worker.process.wait(DEADLINE_S) == 0, worker.log.read_text()
    check_gateways(pipeline)
    check_diffusion(pipeline)
    check_device(pipeline)
    assert rows(pipeline, "SELECT count() FROM quarantine") == [(0,)]
    assert rows(pipeline, "SELECT sum(events_in), sum(duplicates) FROM ledger WHERE row_kind = 'marker'") == [(16, 0)]


def check_gateways(pipeline: Pipeline) -> None:
    found = rows(
        pipeline,
        "SELECT account_id, model, provider, route, status, usage_fidelity, sum(requests), sum(input_tokens), "
        "sum(cache_read_input_tokens), sum(output_tokens), sum(reasoning_tokens) FROM usage_minutes "
        "WHERE event_type = 'generation' AND account_id != 'acct-diffusion' GROUP BY ALL ORDER BY ALL",
    )
    told = "provider_reported"
    assert found == [
        # Two answers, 20 + 20 in, 16 + 16 of them cached, 6 + 6 out, 2 + 2 of them reasoning. Retries are no more.
        ("acct-litellm", "gpt-x", "openai", "direct", "ok", told, 2, 40, 32, 12, 4),
        ("acct-local-first", "gpt-x", "", "fallback", "ok", told, 1, 20, 16, 6, 2),
        ("acct-openai", "gpt-x", "", "direct", "ok", told, 2, 40, 32, 12, 4),
        ("acct-spans", "claude-x", "anthropic", "direct", "error", told, 1, 1_000, 900, 50, 0),
        ("acct-spans", "claude-x", "anthropic", "direct", "ok", told, 1, 1_000, 900, 50, 0),
    ]
    # What the device did in vain is beside it, and none of it in what is billed.
    assert rows(
        pipeline,
        "SELECT model, fallback_reason, fallback_model, sum(fallbacks), sum(wasted_input_tokens), "
        "sum(wasted_output_tokens), sum(output_tokens) FROM usage_minutes WHERE event_type = 'fallback' GROUP BY ALL",
    ) == [("gemma-3n-e4b", "low_confidence", "gpt-x", 1, 11, 9, 0)]
    # LiteLLM had no price for the model: that is no price of 0.
    assert rows(
        pipeline, "SELECT sum(upstream_cost_nanousd_samples) FROM usage_minutes WHERE account_id = 'acct-litellm'"
    ) == [(0,)]


def check_diffusion(pipeline: Pipeline) -> None:
    found = rows(
        pipeline,
        "SELECT status, matrix_formula, sum(requests), sum(input_tokens), sum(output_tokens), sum(denoising_steps), "
        "sum(max_denoising_steps), sum(blocks), sum(function_evaluations), sum(matrix_gflop), sum(gpu_ms_samples) "
        "FROM usage_minutes WHERE account_id = 'acct-diffusion' GROUP BY ALL ORDER BY status",
    )
    # 8,015,581,184 parameters; 32 layers of 32 heads of 128. The first step on a block computes all 128 positions over
    # 128, a further one the block alone.
    #   (2 * 8,015,581,184 + 4 * 32 * 32 * 128 * 128) * 128 positions = 2,060,578,717,696, that is 2,061 * 10^9
    #   the same * (128 + 20 + 128 + 8)                              = 4,571,909,029,888, that is 4,572 * 10^9
    assert found == [
        ("error", "diffusion-dual-cache@1", 1, 100, 20, 1, 16, 1, 1, 2_061, 0),
        ("ok", "diffusion-dual-cache@1", 1, 100, 28, 4, 16, 2, 4, 4_572, 1),
    ]


def check_device(pipeline: Pipeline) -> None:
    facts = rows(
        pipeline,
        "SELECT kind, model_version, previous_model_version, seat_kind, count(), uniqExact(installation) "
        "FROM usage_facts FINAL WHERE account_id = 'acct-device' GROUP BY ALL ORDER BY kind, model_version",
    )
    assert facts == [
        ("deploy", "1.0", "", "", 1, 1),
        ("download", "1.0", "", "", 1, 1),
        ("download", "1.1", "", "", 1, 1),
        ("seat", "", "", "user", 1, 1),
        ("upgrade", "1.1", "1.0", "", 1, 1),
    ]
    estimates = rows(
        pipeline,
        "SELECT model, usage_fidelity, queries, input_tokens, output_tokens, output_tokens_lower, output_tokens_upper, "
        "active_ms FROM usage_estimates FINAL WHERE account_id = 'acct-device'",
    )
    # 4 s at 120 * 10^9 bytes/s over 2 * 10^9 bytes a token: 240 tokens at most.
    assert estimates == [("pocket", "estimated", 2, 250, None, 85, 240, 4_000)]
    private = "SELECT count() FROM usage_facts FINAL WHERE user LIKE '%alice%'"
    assert rows(pipeline, private) == [(0,)]


def rows(pipeline: Pipeline, query: str) -> list[tuple[Any, ...]]:
    """A query's rows, from the pipeline's database."""
    with pipeline.client() as client:
        return [tuple(row) for row in client.query(query).result_rows]
