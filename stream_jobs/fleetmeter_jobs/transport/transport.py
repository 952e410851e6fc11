"""What makes Faust use this package: the transport with the batch consumer, and a schema that hands values on
untouched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import EventT, Message

from fleetmeter_jobs.transport.consumer import Consumer


class BatchTransport(driver.Transport):  # type: ignore[misc]  # Faust's types are not complete
    """Faust's aiokafka transport, with a consumer that delivers a `Fetch` per message."""

    Consumer = Consumer


class PassThroughSchema(Schema):  # type: ignore[misc]
    """The value of an event is the message's value: there is nothing to decode, and nothing that could fail."""

    def compile(self, app: Any, **_handlers: Any) -> Callable[..., Awaitable[EventT]]:
        async def decode(message: Message, *, propagate: bool = False) -> EventT:  # noqa: ARG001
            return app.create_event(None, message.value, None, message)

        return decode
