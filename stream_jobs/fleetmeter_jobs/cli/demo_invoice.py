"""The demo's end: the fleet's billing period is closed, every account gets its invoice, and one line is explained.

A period can only be closed once every partition has come past its end. So the demo's fleet lives around a midnight, the
last one that is past: its accounts' periods end then, and usage goes on for some minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fleetmeter_billing.accounts.account import Account, Subscriber, Subscription
from fleetmeter_billing.accounts.account_store import apply_accounts, load_accounts, plan_apply
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.errors import IncompleteError
from fleetmeter_billing.examples import example_text
from fleetmeter_billing.invoices.explain import Explanation, explain_line
from fleetmeter_billing.invoices.focus import focus_csv
from fleetmeter_billing.invoices.store import list_invoices, read_invoice, read_invoices
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_billing.periods.period import PeriodRule
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.store import Publisher, publish, published_cards

from fleetmeter_jobs.cli.invoice import ISSUER, make_and_store, published
from fleetmeter_jobs.cli.invoice_view import explanation_document

EXAMPLE: Final = "hybrid"
"""The example card: tokens plus denoising iterations."""
AFTER_MIDNIGHT: Final = timedelta(minutes=15)
"""How long usage goes on after the period's end."""
_LATENESS: Final = timedelta(minutes=2)
_WHO: Final = "fleetmeter demo"


@dataclass(frozen=True, slots=True)
class Bill:
    """What billing the fleet came to: one invoice of many, and its largest line with all that is behind it."""

    invoices: int
    explanation: Explanation

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        invoice = self.explanation.invoice
        return {
            "invoices": self.invoices,
            "number": invoice.number,
            "account": invoice.account,
            "total": str(invoice.total),
            "currency": invoice.currency,
            "explanation": explanation_document(self.explanation),
        }


def fleet_end(now: datetime) -> datetime:
    """When the demo's fleet stops: some minutes after the last midnight (UTC) that leaves room for it."""
    settled = now.astimezone(UTC) - AFTER_MIDNIGHT
    return settled.replace(hour=0, minute=0, second=0, microsecond=0) + AFTER_MIDNIGHT


def bill_fleet(client: Any, ended: datetime, focus: Path | None = None) -> Bill | None:
    """Publish the example card, subscribe every account to it, close the period and make its invoices; write them to
    the file `focus` as FOCUS rows, if there is one.

    None if not every partition has come past midnight, as in a run of very few events.
    """
    midnight = (ended - AFTER_MIDNIGHT).date()
    rule = PeriodRule("anniversary", midnight.day)
    period = rule.containing(midnight - timedelta(days=1))
    publication = publish(client, parse_card(example_text(EXAMPLE), source=f"{EXAMPLE}.yaml"), Publisher(_WHO))
    card = publication.published.card
    names = client.query("SELECT DISTINCT account_id FROM usage_days WHERE account_id != '' ORDER BY account_id")
    subscription = Subscription.model_validate({"from": period.first, "card": card.card})
    subscribers = [
        Subscriber(
            account=Account(account=name, currency=card.currency, period="anniversary", anchor_day=midnight.day),
            subscriptions=(subscription,),
        )
        for (name,) in names.result_rows
    ]
    changes = plan_apply(subscribers, load_accounts(client))
    apply_accounts(client, subscribers, changes, by=_WHO, at_ms=time.time_ns() // 1_000_000)
    try:
        close_period(
            client,
            period.name,
            lambda: cards_of(published_cards(client)),
            CloseRules(lateness_s=int(_LATENESS.total_seconds()), by=_WHO),
        )
    except IncompleteError:
        return None
    _, count = make_and_store(client, period.name, quiet=True)
    heads = list_invoices(client, period.name)
    if not heads:
        return None
    if focus is not None:
        focus.write_text(focus_csv(read_invoices(client, period.name), ISSUER), encoding="utf-8")
    largest = max(heads, key=lambda head: (head["total"], head["number"]))
    invoice = read_invoice(client, largest["number"])
    line = max(invoice.lines, key=lambda one: (one.kind == "usage", one.amount, -one.number))
    return Bill(count, explain_line(client, invoice, line.number, published(client)))
