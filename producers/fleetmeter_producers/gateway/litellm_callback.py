"""A callback for LiteLLM, the library and its proxy: each request that was answered is one event. Needs litellm.

    litellm.callbacks = [LiteLLMMeter(Gateway(usage_client), account="acct-42")]

LiteLLM tells of each attempt by itself, once from its threads or once from the event loop, and of a stream when it has
ended. An attempt that failed and was repeated is no generation; an answer out of LiteLLM's own cache is none either.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from litellm.integrations.custom_logger import CustomLogger

from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.routing import Gateway

_logger = logging.getLogger(__name__)

_CONVENTION: Final = "litellm"
_REMEMBERED: Final = 20_000
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})
_OPERATIONS: Final = MappingProxyType(
    {
        "completion": "chat",
        "text_completion": "completion",
        "embedding": "embedding",
        "rerank": "rerank",
        "transcription": "transcription",
        "image_generation": "image",
        "responses": "chat",
        "anthropic_messages": "chat",
    }
)
# Who tells usage in a stream without being asked. For others LiteLLM counts by itself where they don't, silently.
_TELL_UNASKED: Final = frozenset(
    {"anthropic", "bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta", "gemini", "ollama", "ollama_chat"}
)


class LiteLLMMeter(CustomLogger):  # type: ignore[misc]  # its types are not looked at: they cost seconds
    """Emits the usage of LiteLLM's requests. One for a process is enough.

    `account` pays; it, and `fields` of `GenerationV1`, may be functions of what LiteLLM gives its callbacks (`kwargs`):
    `kwargs["litellm_params"]["metadata"]` is that of the request, `kwargs["standard_logging_object"]` LiteLLM's view of
    it, which in the proxy has the key's team and organisation. With `failures`, attempts that failed are events too,
    with status `error`: one each, also those that a retry followed.
    """

    def __init__(
        self,
        gateway: Gateway,
        account: str | Callable[[Mapping[str, Any]], str],
        *,
        fields: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] = _NO_FIELDS,
        failures: bool = False,
    ) -> None:
        super().__init__()
        self._gateway, self._account, self._fields, self._failures = gateway, account, fields, failures
        self._lock = threading.RLock()  # garbage collection may end a stream in the middle of this
        self._seen: OrderedDict[tuple[str, bool, str, str], None] = OrderedDict()

    def log_success_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002  (LiteLLM calls by these names)
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """A request was answered, or a stream has ended."""
        self._meter(kwargs)

    async def async_log_success_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """The same, from an event loop. `emit` does not wait for the network."""
        self._meter(kwargs)

    def log_failure_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """An attempt failed."""
        if self._failures:
            self._meter(kwargs)

    async def async_log_failure_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """The same, from an event loop."""
        if self._failures:
            self._meter(kwargs)

    def _meter(self, kwargs: Mapping[str, Any]) -> None:
        payload = kwargs.get("standard_logging_object")
        try:
            if not isinstance(payload, Mapping):
                raise TypeError("LiteLLM gave no standard_logging_object")
            call_id = kwargs.get("litellm_call_id") or payload.get("id")
            # One without a name can't be known again; and an attempt that failed must not hide what was answered.
            if call_id is None or self._is_new(str(call_id), payload):
                self._emit(payload, kwargs)
        except Exception:
            # LiteLLM would log it too, but call it non-blocking; here money is lost.
            _logger.exception("a request of LiteLLM is not metered")
            NOTES.add(_CONVENTION, [Note(NoteCode.NOT_EMITTED, "generation", "is lost: see the log")])

    def _is_new(self, call_id: str, payload: Mapping[str, Any]) -> bool:
        """Whether it was not told yet.

        A call's id proves nothing by itself: who asks the proxy may name it, in the header x-litellm-call-id, as he
        likes. What is told twice has its beginning or its answer's id in common, too.
        """
        failed = payload.get("status") == "failure"
        known = [(name, str(payload[name])) for name in ("id", "startTime") if payload.get(name) is not None]
        # An answer without an id of its own bears the call's.
        own = [one for one in known if one[1] != call_id] or [("", "")]
        told = [(call_id, failed, name, value) for name, value in own]
        with self._lock:
            new = not any(mark in self._seen for mark in told)
            self._seen.update(dict.fromkeys(told))
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            return new

    def _emit(self, payload: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
        if payload.get("cache_hit"):
            NOTES.add(_CONVENTION, [Note(NoteCode.CACHED_BY_GATEWAY, "cache_hit", "no model ran: nothing is emitted")])
            return
        account = self._account(kwargs) if callable(self._account) else self._account
        fields = self._fields(kwargs) if callable(self._fields) else self._fields
        model, provider = str(payload.get("model") or "unknown"), payload.get("custom_llm_provider")
        kind = str(payload.get("call_type") or "")
        operation = _OPERATIONS.get(kind.removeprefix("a")) or _OPERATIONS.get(kind)
        call = self._gateway.call(
            account,
            model.removeprefix(f"{provider}/"),
            convention=_CONVENTION,
            timed=False,
            **{"operation": operation, "requested_model": payload.get("model_group") or None, **fields},
        )
        call.answered(payload)
        if _counted_by_litellm(payload):
            call.used(usage_fidelity="estimated")
        call.finish()


def _counted_by_litellm(payload: Mapping[str, Any]) -> bool:
    """Whether the counts may be LiteLLM's own: those of a stream that was not asked to tell them."""
    if not payload.get("stream") or payload.get("custom_llm_provider") in _TELL_UNASKED:
        return False
    parameters = payload.get("model_parameters")
    options = parameters.get("stream_options") if isinstance(parameters, Mapping) else None
    return not (isinstance(options, Mapping) and options.get("include_usage"))
