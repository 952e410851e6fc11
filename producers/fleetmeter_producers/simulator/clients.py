"""The part of the fleet whose events go the way of a user's: through a `UsageClient`, with a spool on disk.

All of it would be slow: the simulator's own events are ready-made records, as many as a core can write. So it is one
diffusion server, one gateway and one relay of devices, and of each only the first events. What they send is the same,
byte for byte, as what a `RecordSender` would.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fleetmeter_schemas.envelope import parse_data
from fleetmeter_schemas.events import EVENT_TYPES

from fleetmeter_producers.client import UsageClient
from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.kafka import ONE_AT_A_TIME, Connect
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.simulator.planned import Items, Planned, Record

EVENTS_EACH: Final = 500
"""So many events of each of these sources go through its client; what follows is sent as by the others."""
_KINDS: Final = (":denoising-", ":gateway-", ":device-relay")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clients:
    """Clients of some sources. Ids and times are the simulator's own, so that its seed decides about every byte."""

    def __init__(self, bootstrap: str, topic: str, settings: ClientSettings, spool_dir: Path, connect: Connect) -> None:
        # Whoever waits loses nothing, and one record batch at a time arrives just once: a simulation has time.
        given = {"outbox": "spool", "spool_dir": spool_dir, "when_full": "block", "when_full_wait_s": 600.0}
        given["kafka"] = {**settings.kafka, **ONE_AT_A_TIME}
        self._settings = settings.model_copy(update={**given, "batch": "none"})
        self._bootstrap, self._topic, self._connect = bootstrap, topic, connect
        self._by_kind: dict[str, tuple[str, UsageClient]] = {}
        self._sent: list[Items] = []
        self._room = dict.fromkeys(_KINDS, EVENTS_EACH)

    def take(self, record: Record) -> bool:
        """Emit the record's event, if its source is one of these; False leaves it to others."""
        item = record.items[0]
        if len(record.items) > 1 or not isinstance(item, Planned) or (record.value or b"")[:1] != b"{":
            return False
        client = self._client_of(item.source)
        if client is None:
            return False
        data: dict[str, Any] = {**item.body.data, **item.subjects.fields, **item.details}
        event = parse_data(EVENT_TYPES[item.body.type_name], data)
        client.emit(item.account, event, time=_EPOCH + timedelta(microseconds=item.time_us), id=item.event_id)
        self._sent.append(record.items)
        return True

    def finish(self, timeout_s: float) -> list[Items]:
        """Close the clients; returns what they have delivered, a record each.

        Raises `UndeliveredError` if the broker has not acknowledged all of it, or a delivery was repeated: then nobody
        knows how many copies there are.
        """
        for _, client in self._by_kind.values():
            left, stats = client.close(timeout_s), client.stats()
            if left.events or stats.failed_deliveries or stats.delivered != stats.emitted:
                raise UndeliveredError(
                    f"{self._bootstrap} acknowledged {stats.delivered} of {stats.emitted} events of {client.source} "
                    f"for {self._topic}, and refused {stats.failed_deliveries} at first: {stats.last_error}. How often "
                    "they are there is not known; the same events sent again are not counted twice."
                )
        return self._sent

    def abandon(self) -> None:
        """Close what is open, waiting for nobody."""
        for _, client in self._by_kind.values():
            client.close(0)

    def _client_of(self, source: str) -> UsageClient | None:
        """The client of a source: of each kind the first one that comes, for its first events."""
        kind = next((kind for kind in _KINDS if kind in source), None)
        if kind is None:
            return None
        if kind not in self._by_kind:
            client = UsageClient(self._bootstrap, source, self._topic, settings=self._settings, connect=self._connect)
            self._by_kind[kind] = source, client
        chosen, client = self._by_kind[kind]
        if chosen != source or not self._room[kind]:
            return None
        self._room[kind] -= 1
        return client
