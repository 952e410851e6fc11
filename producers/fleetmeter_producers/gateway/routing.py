"""Local first, cloud if need be: one request, its attempts on the device, and the one generation that is billed.

    gateway = Gateway(client, region="eu-1")
    with gateway.request("acct-42", user="pseudonym") as request:
        with request.local("gemma-3n-e4b", convention="ollama") as attempt:
            attempt.answered(answer := run_on_device(prompt))
            if unsure(answer):
                attempt.fall_back("low_confidence")
        if request.needs_cloud:
            with request.cloud("gpt-x", convention="openai-chat") as call:
                call.answered(answer := ask_the_cloud(prompt))

A local attempt that answers is a generation with route `local_first`. One that falls back is a fallback event, in which
nothing is billable: its work stands there as wasted. The cloud's answer is a generation with route `fallback`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from fleetmeter_schemas.catalogue import load_catalogue
from fleetmeter_schemas.envelope import EventRejected
from fleetmeter_schemas.events import EventData, FallbackReason, FallbackV1, GenerationMode, GenerationV1, Placement

from fleetmeter_producers.emitter import Emitter
from fleetmeter_producers.errors import ProducerError
from fleetmeter_producers.gateway.attempt import Attempt
from fleetmeter_producers.gateway.call import Call, CountTokens
from fleetmeter_producers.gateway.compose import check_names, compose
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.usage import find_convention


class Gateway:
    """Meters what passes through a gateway. Safe for many threads; one for a process is enough.

    `client` is a `UsageClient`. `generation_mode` is that of models which the catalogue does not know. `count_tokens`
    counts the tokens of a text, for streams that end without usage; such counts are marked as estimated. `fields` are
    fields of every event, such as region or project_id; `TypeError` for a name that is none.
    """

    def __init__(
        self,
        client: Emitter,
        *,
        generation_mode: GenerationMode = "autoregressive",
        count_tokens: CountTokens | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        **fields: Any,
    ) -> None:
        check_names(GenerationV1, fields)
        self._client, self._mode, self._fields = client, generation_mode, fields
        self._count_tokens, self._clock_ns = count_tokens, clock_ns
        self._catalogue = load_catalogue()

    def request(self, account: str, **fields: Any) -> Request:
        """A request of the account that pays. `fields` are those of its events, such as user, conversation or
        query_class; `TypeError` for a name that is none."""
        check_names(GenerationV1, fields)
        return Request(self, account, {**self._fields, **fields})

    def call(
        self,
        account: str,
        model: str,
        *,
        convention: str | Convention = "openai-chat",
        timed: bool = True,
        **fields: Any,
    ) -> Call:
        """A call of a model, without any routing: route `direct`. Its block emits one generation. `timed=False` for one
        that was made before, and is only told of."""
        told = {"route": "direct", **self._fields, **fields}
        return self._call(account, model, find_convention(convention), told, timed=timed)

    def _call(
        self, account: str, model: str, convention: Convention, fields: Mapping[str, Any], *, timed: bool = True
    ) -> Call:
        check_names(GenerationV1, fields)

        mode = fields.get("generation_mode") or self._mode_of(model) or convention.generation_mode or self._mode
        told = {**fields, "model": model, "generation_mode": mode}

        def emit(found: Mapping[str, Any]) -> str | None:
            return self._emit(account, GenerationV1, found, convention.name)

        return Call(emit, convention, told, clock_ns=self._clock_ns, count_tokens=self._count_tokens, timed=timed)

    def _mode_of(self, model: str) -> GenerationMode | None:
        entry = self._catalogue.find(model) or self._catalogue.find(model.rpartition("/")[2])
        return None if entry is None else entry.generation_mode

    def _emit(self, account: str, model: type[EventData], fields: Mapping[str, Any], source: str) -> str | None:
        """Emit an event for which no request may fail: a refusal is noted, counted and logged."""
        notes: list[Note] = []
        try:
            return self._client.emit(account, compose(model, fields, notes))
        except (EventRejected, ProducerError) as refusal:
            notes.append(Note(NoteCode.NOT_EMITTED, model.SHORT, f"is lost: {type(refusal).__name__}: {refusal}"))
            return None
        finally:
            NOTES.add(source, notes)


class Request:
    """One request of a caller. Made by `Gateway.request`; its fallback events are emitted when its block ends, after
    the generation that they name."""

    def __init__(self, gateway: Gateway, account: str, fields: Mapping[str, Any]) -> None:
        self._gateway, self._account, self._fields = gateway, account, fields
        self._attempts: list[Attempt] = []
        self._cloud: list[tuple[str, Call]] = []

    @property
    def needs_cloud(self) -> bool:
        """Whether no attempt near the caller has answered, and the cloud was not asked yet."""
        return not self._cloud and all(attempt.reason is not None for attempt in self._attempts)

    def local(
        self,
        model: str,
        *,
        convention: str | Convention = "openai-chat",
        placement: Placement = "device",
        device_class: str | None = None,
        **fields: Any,
    ) -> Attempt:
        """An attempt near the caller. `convention` is how its server reports usage; `fields` are of `GenerationV1`."""
        told = {"route": "local_first", "placement": placement, **self._fields, **fields}
        call = self._gateway._call(self._account, model, find_convention(convention), told)  # noqa: SLF001
        attempt = Attempt(call, model, {**told, "device_class": device_class}, self._gateway._clock_ns)  # noqa: SLF001
        self._attempts.append(attempt)
        return attempt

    def skip_local(self, model: str, reason: FallbackReason, *, device_class: str | None = None, **fields: Any) -> None:
        """The device was not even asked, because of its battery, a policy, or a model that is missing."""
        attempt = self.local(model, device_class=device_class, **fields)
        attempt.worked = False
        attempt.fall_back(reason)

    def cloud(self, model: str, *, convention: str | Convention = "openai-chat", **fields: Any) -> Call:
        """A call of the cloud, which takes over. Its block emits the one generation that is billed. A further call is
        a further generation, such as another provider's after the first one failed."""
        route = "fallback" if self._attempts else "direct"
        told = {"route": route, "placement": "cloud", **self._fields, **fields}
        call = self._gateway._call(self._account, model, find_convention(convention), told)  # noqa: SLF001
        self._cloud.append((model, call))
        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _, call in self._cloud:
            if not call.finished and error is not None:
                call.failed(error)
            call.finish()
        failed = [attempt for attempt in self._attempts if attempt.reason is not None]
        took_over = self._cloud or [(one.model, one.call) for one in self._attempts if one.reason is None]
        if failed and not took_over:
            # Nobody took over from the last one: it is a generation that failed, and no fallback.
            failed[-1].give_up()
            last = failed.pop()
            took_over = [(last.model, last.call)]
            unanswered = last.error
        else:
            unanswered = None
        for attempt in failed:
            model, call = took_over[-1]
            linked = {"fallback_model": model, "generation_id": call.event_id}
            self._gateway._emit(self._account, FallbackV1, attempt.wasted() | linked, "fallback")  # noqa: SLF001
        if unanswered is not None and error is None:
            raise unanswered
