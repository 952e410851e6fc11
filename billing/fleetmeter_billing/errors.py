"""Errors of billing.

    BillingError                   domain, retryable; the message says what happened, where, and what to do
    ├── CardError                  input      a rate card says something that it may not
    ├── CurrencyError              input      a currency that ISO 4217 does not know
    └── RatingError                internal   usage, segment and card do not belong together

`domain` is one of `input`, `clickhouse`, `internal`: where to look. `retryable` means that trying again, with nothing
changed, may succeed.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Domain = Literal["input", "clickhouse", "internal"]


class BillingError(Exception):
    """Base of everything that this package raises on purpose."""

    domain: ClassVar[Domain] = "internal"
    retryable: ClassVar[bool] = False


class CardError(BillingError):
    """A rate card that may not be used; nothing was published or billed by it."""

    domain: ClassVar[Domain] = "input"


class CurrencyError(BillingError):
    """A currency code that ISO 4217 does not know."""

    domain: ClassVar[Domain] = "input"


class RatingError(BillingError):
    """Usage, segment and card that do not belong together: nothing was rated."""
