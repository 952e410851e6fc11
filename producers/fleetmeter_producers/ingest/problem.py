"""What a request as a whole is refused with: a status, and a JSON body as RFC 9457 describes it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson

CONTENT_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """The answer to a request that is not taken.

    `detail` says what was wrong with this request and what to do; `more` are further members of the body.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def body(self) -> bytes:
        """The JSON of it."""
        return orjson.dumps(
            {
                "type": "about:blank",
                "title": self.status.phrase,
                "status": int(self.status),
                "detail": self.detail,
                **self.more,
            }
        )
