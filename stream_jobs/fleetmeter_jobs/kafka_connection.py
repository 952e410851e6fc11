"""What librdkafka says of its connections, in words that name the setting.

It keeps trying when a broker refuses a login or has a certificate that is not trusted, and its calls end in a time-out
that says nothing. The reason comes by the error callback alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from fleetmeter_jobs.errors import KafkaAccessError, KafkaUnavailableError
from fleetmeter_jobs.kafka_access import ENV, KafkaAccess

REFUSAL_S: Final = 3.0
"""How long it goes on after a refusal: time enough to ask the other brokers, which may have other certificates."""
_LOOK_S: Final = 0.2
_HANDSHAKE: Final = re.compile(r"SSL handshake|in state SSL_HANDSHAKE")
T = TypeVar("T")


class ConnectionWatch:
    """What librdkafka reports of the connections of one client. Give the client `options`, and ask after a failure."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._refusal: str | None = None
        self._failure: str | None = None
        self._hung_up = False

    @property
    def options(self) -> dict[str, Any]:
        """For the client's configuration. librdkafka's own log lines would say the same, on standard error."""
        return {**self._access.librdkafka(), "error_cb": self._note, "log_level": 2}

    @contextmanager
    def explained(self, poll: Callable[[float], Any], doing: str) -> Iterator[None]:
        """Turn a KafkaException inside into a sentence: KafkaAccessError or KafkaUnavailableError.

        `poll` is the client's: librdkafka reports only from within it. `doing` is what did not work, such as "list its
        topics".
        """
        try:
            yield
        except KafkaException as error:
            cause = error.args[0]
            said = f"Kafka at {self._access.bootstrap} does not {doing}: {cause.str()}"
            if cause.code() > 0:  # a broker's answer: the connection worked
                raise KafkaUnavailableError(said) from error
            poll(0)
            raise self.refusal() or KafkaUnavailableError(f"{said}{self._hint()}") from error

    def answer(self, future: Future[T], poll: Callable[[float], Any]) -> T:
        """What a future of the AdminClient brings. Raises KafkaAccessError REFUSAL_S after a refusal, with which
        librdkafka would try again until its own time-out; else what the future raises."""
        give_up: float | None = None
        while True:
            try:
                return future.result(timeout=_LOOK_S)
            except TimeoutError:
                poll(0)
            if (refusal := self.refusal()) is not None:
                give_up = give_up or time.monotonic() + REFUSAL_S
                if time.monotonic() > give_up:
                    raise refusal

    def refusal(self) -> KafkaAccessError | None:
        """The error if a broker refused us or we refused it; None if nothing of that kind was reported."""
        if self._refusal is None:
            return None
        access = self._access
        if "verify failed" in self._refusal:
            advice = f"Give the authority that issued the brokers' certificates with {ENV}CA_FILE"
            if access.files.ca_file is not None:
                advice += f" (given: {access.files.ca_file})"
            advice += ", and use the host names that stand in the certificates."
        elif "alert" in self._refusal:
            advice = (
                f"The brokers want a client certificate that they trust: check {ENV}CERTIFICATE_FILE and _KEY_FILE."
            )
        elif access.logs_in:
            advice = (
                f"Check {ENV}USER, {ENV}PASSWORD and {ENV}SASL_MECHANISM ({access.sasl_mechanism}), and whether "
                f"the listener is one for {access.security_protocol}."
            )
        else:
            advice = f"Check {ENV}SECURITY_PROTOCOL ({access.security_protocol})."
        return KafkaAccessError(f"Kafka at {access.bootstrap} can't be used: {self._refusal}. {advice}")

    def _hint(self) -> str:
        if self._failure:
            told = f" ({self._failure})"
            if _HANDSHAKE.search(self._failure):
                # librdkafka asks "connecting to a PLAINTEXT broker listener?" only where it is first to notice.
                told += (
                    f". A listener without TLS hangs up like this: check {ENV}SECURITY_PROTOCOL "
                    f"({self._access.security_protocol} now)"
                )
            return told
        if self._hung_up and self._access.security_protocol == "PLAINTEXT":
            return (
                f". It takes connections and hangs up: if it wants TLS or a login, set {ENV}SECURITY_PROTOCOL "
                "(PLAINTEXT now)"
            )
        return ""

    def _note(self, error: KafkaError) -> None:
        words = str(error.str())
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  (the constant's name)
            self._hung_up = True
        elif error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL} or "SSL alert" in words:  # noqa: SLF001
            self._refusal = words
        else:
            self._failure = words
