"""What LiteLLM does with two requests: by the real package where it is installed, else by what it told its callbacks
when it was (1.106.2, the same two requests to the same server, less what nobody reads)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from fleetmeter_doubles.openai_server import USAGE, OpenAIServer
from fleetmeter_producers.gateway import Gateway

ACCOUNT = "acct-litellm"
_MESSAGES = [{"role": "user", "content": "Count to four."}]
_WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@contextmanager
def litellm_requests(gateway: Gateway, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two requests of ACCOUNT: one that the server refuses at first, so that it is tried again, and one that streams.

    In the block LiteLLM's threads may still be telling the meter of them.
    """
    if find_spec("litellm") is None:
        _play(gateway, monkeypatch)
        yield
        return
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network when it is imported
    import litellm  # noqa: PLC0415  (it takes seconds)
    from fleetmeter_producers.gateway.litellm_callback import LiteLLMMeter  # noqa: PLC0415

    # It keeps what was ever in `callbacks` in these, and takes no second callback of the same class.
    for name in ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback"):
        monkeypatch.setattr(litellm, name, [])
    monkeypatch.setattr(litellm, "callbacks", [LiteLLMMeter(gateway, account=_account)])
    ask: dict[str, Any] = {
        "model": "openai/gpt-x",
        "messages": _MESSAGES,
        "api_base": server.url,
        "api_key": "k",
        "metadata": {"account": ACCOUNT},
    }
    before = len(server.requests)
    server.failures = [500]
    litellm.completion(**ask, num_retries=2)
    list(litellm.completion(**ask, **_WITH_USAGE, max_retries=0))
    assert len(server.requests) - before == 3
    yield


def _play(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    package, integrations, logger = (
        ModuleType(name) for name in ("litellm", "litellm.integrations", "litellm.integrations.custom_logger")
    )
    logger.CustomLogger = type("CustomLogger", (), {})  # type: ignore[attr-defined]
    for module in (package, integrations, logger):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "fleetmeter_producers.gateway.litellm_callback", raising=False)
    from fleetmeter_producers.gateway.litellm_callback import LiteLLMMeter  # noqa: PLC0415

    meter = LiteLLMMeter(gateway, account=_account)
    for call_id, began, stream in (("0352d093", 1795390113.671207, None), ("1fa0b7c2", 1795390116.02, True)):
        payload = {
            "id": "chatcmpl-1",
            "litellm_call_id": call_id,
            "trace_id": "86672083-9c9b-47da-aeaa-317306346493",
            "call_type": "completion",
            "cache_hit": None,
            "stream": stream,
            "status": "success",
            "custom_llm_provider": "openai",
            "startTime": began,
            "endTime": began + 2.194658,
            "completionStartTime": began + 2.194658,
            "model": "gpt-x",
            "metadata": {"usage_object": USAGE},
            "response_cost": 0.0,
            "total_tokens": 26,
            "prompt_tokens": 20,
            "completion_tokens": 6,
            "model_group": "",
            "messages": _MESSAGES,
            "response": {
                "id": "chatcmpl-1",
                "model": "gpt-x-2026-05-01",
                "object": "chat.completion",
                "choices": [{"finish_reason": "stop", "index": 0, "message": {"content": "one two three four"}}],
                "usage": USAGE,
            },
            "model_parameters": {name: value for name, value in _WITH_USAGE.items() if stream},
            "response_cost_failure_debug_info": {"error_str": "This model isn't mapped yet."},
        }
        told = {
            "litellm_call_id": call_id,
            "litellm_params": {"metadata": {"account": ACCOUNT}},
            "standard_logging_object": payload,
        }
        meter.log_success_event(told, None, None, None)
    # The next who imports it gets it with the package, or not at all.
    monkeypatch.delitem(sys.modules, "fleetmeter_producers.gateway.litellm_callback")


def _account(kwargs: Any) -> str:
    return str(kwargs["litellm_params"]["metadata"]["account"])
