"""Errors of billing.

    BillingError                   domain, retryable; the message says what happened, where, and what to do
    ├── CardError                  input      a rate card says something that it may not
    ├── CardUnknownError           input      no such rate card, or no such version
    ├── PublishRefusedError        input      a rate card that may not follow the newest version
    ├── CreditsError               input      a grant of credits that may not be
    ├── CurrencyError              input      a currency that ISO 4217 does not know
    ├── RatingError                internal   usage, segment and card do not belong together
    ├── AccountsError              input      accounts or subscriptions that don't fit together
    ├── PeriodError                input      no such billing period
    ├── IncompleteError            input      retryable: usage of the period may still be on its way
    ├── LedgerShrankError          clickhouse the ledger holds less than was frozen of it
    ├── FreezeFailedError          clickhouse retryable: what was frozen is not what was found; nothing was closed
    ├── OutcomeUnknownError        clickhouse retryable: no answer, so whether it took effect is not known
    ├── LogDamagedError            internal   a log of closes, or publications, is not as fleetmeter writes it
    ├── InvoiceError               internal   an invoice does not add up, or is not the one that was issued
    ├── UnknownInvoiceError        input      no such invoice, or no such line of it
    ├── ComparisonError            input      things that can't be compared: plans, currencies, periods
    └── CostsError                 input      a file of costs that says something that it may not

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


class CardUnknownError(BillingError):
    """No such rate card, or no such version of it."""

    domain: ClassVar[Domain] = "input"


class PublishRefusedError(BillingError):
    """A rate card that may not follow the newest version; nothing was published."""

    domain: ClassVar[Domain] = "input"


class CreditsError(BillingError):
    """A grant of prepaid credits that may not be, or entries that could not be added; nothing was changed."""

    domain: ClassVar[Domain] = "input"


class CurrencyError(BillingError):
    """A currency code that ISO 4217 does not know."""

    domain: ClassVar[Domain] = "input"


class RatingError(BillingError):
    """Usage, segment and card that do not belong together: nothing was rated."""


class AccountsError(BillingError):
    """Accounts or subscriptions that don't fit together, or name cards that are not there; nothing was applied."""

    domain: ClassVar[Domain] = "input"


class PeriodError(BillingError):
    """A name that no billing period has, or a period that no account has."""

    domain: ClassVar[Domain] = "input"


class IncompleteError(BillingError):
    """Usage of the period may still be on its way; the message names each partition that lacks some, and how much."""

    domain: ClassVar[Domain] = "input"
    retryable: ClassVar[bool] = True


class LedgerShrankError(BillingError):
    """The ledger holds less of a closed period than was frozen: rows were deleted, and a correction would be false."""

    domain: ClassVar[Domain] = "clickhouse"


class FreezeFailedError(BillingError):
    """What was frozen is not what ClickHouse found a moment before; nothing was closed."""

    domain: ClassVar[Domain] = "clickhouse"
    retryable: ClassVar[bool] = True


class OutcomeUnknownError(BillingError):
    """ClickHouse did not answer: whether the last step took effect is not known. Running it again finds out."""

    domain: ClassVar[Domain] = "clickhouse"
    retryable: ClassVar[bool] = True


class LogDamagedError(BillingError):
    """A log has gaps, or two rows under one number: nothing in fleetmeter writes that."""


class InvoiceError(BillingError):
    """An invoice does not add up, or is not the one that was issued under its number; nothing was written."""


class UnknownInvoiceError(BillingError):
    """An invoice, or a line of one, that does not exist."""

    domain: ClassVar[Domain] = "input"


class ComparisonError(BillingError):
    """Bills or margins that can't be compared: a plan that the other card lacks, another currency, no such traffic."""

    domain: ClassVar[Domain] = "input"


class CostsError(BillingError):
    """A file of costs that says something that it may not; nothing was calculated from it."""

    domain: ClassVar[Domain] = "input"
