"""An invoice as a JSON document, `fleetmeter.invoice.v1`: what is stored, hashed and exported, and the way back.

Decimals are strings, because JSON numbers are read as floating point; times are RFC 3339 in UTC. Fields are only ever
added. `invoice.schema.json` beside this file describes it for other languages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import orjson
from fleetmeter_schemas.timestamps import to_rfc3339

from fleetmeter_billing.invoices.invoice import Invoice, InvoiceLine, Prepaid, Span, ValueStatement
from fleetmeter_billing.rates.lines import TierCharge

SCHEMA: Final = "fleetmeter.invoice.v1"


def as_document(invoice: Invoice) -> dict[str, Any]:
    """The whole invoice, and what prepaid credits settled of it."""
    prepaid = None if invoice.prepaid is None else _prepaid_document(invoice, invoice.prepaid)
    return {**head_document(invoice), "prepaid": prepaid, "lines": [line_document(line) for line in invoice.lines]}


def head_document(invoice: Invoice) -> dict[str, Any]:
    """All but the lines, and but what happens to the invoice later: this is what is stored and hashed."""
    return {
        "schema": SCHEMA,
        "number": invoice.number,
        "account": invoice.account,
        "account_name": invoice.account_name,
        "period": invoice.period,
        "start": _time(invoice.span.start),
        "end": _time(invoice.span.end),
        "time_zone": invoice.time_zone,
        "currency": invoice.currency,
        "issued_at": _time(invoice.issued_at),
        "close_id": invoice.close_id,
        "charges": str(invoice.charges),
        "corrections": str(invoice.corrections),
        "total": str(invoice.total),
        "value": None if invoice.value is None else _value_document(invoice.value),
    }


def line_document(line: InvoiceLine) -> dict[str, Any]:
    """One line."""
    return {
        "number": line.number,
        "kind": line.kind,
        "price": line.price,
        "part": line.part,
        "label": line.label,
        "meter": line.meter,
        "group": dict(line.group),
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "per": line.per,
        "tiers": [
            {
                "up_to": None if tier.up_to is None else plain(tier.up_to),
                "quantity": plain(tier.quantity),
                "unit_amount": plain(tier.unit_amount),
                "flat": plain(tier.flat),
                "amount": plain(tier.amount),
            }
            for tier in line.tiers
        ],
        "tier_unit": line.tier_unit,
        "exact": plain(line.exact),
        "amount": str(line.amount),
        "card": line.card,
        "version": line.version,
        "plan": line.plan,
        "segment": line.segment,
        "start": _time(line.span.start),
        "end": _time(line.span.end),
        "usage_period": line.usage_period,
        "correction": line.correction,
        "explanation": list(line.explanation),
    }


def from_document(document: dict[str, Any]) -> Invoice:
    """The invoice that a document describes. Raises InvoiceError if its lines do not fit together."""
    value = document["value"]
    return Invoice(
        number=document["number"],
        account=document["account"],
        account_name=document["account_name"],
        period=document["period"],
        span=Span(_moment(document["start"]), _moment(document["end"])),
        time_zone=document["time_zone"],
        currency=document["currency"],
        issued_at=_moment(document["issued_at"]),
        close_id=document["close_id"],
        lines=tuple(_line(each) for each in document["lines"]),
        value=None if value is None else _value(value),
        prepaid=_prepaid(document.get("prepaid")),
    )


def content_hash(head: bytes, lines: Sequence[bytes]) -> str:
    """SHA-256 of the documents, each with its length before it: two invoices that differ in anything have two."""
    digest = hashlib.sha256()
    for document in (head, *lines):
        digest.update(len(document).to_bytes(8, "big"))
        digest.update(document)
    return digest.hexdigest()


def encode(document: dict[str, Any]) -> bytes:
    """The document's bytes, the same for the same content."""
    return orjson.dumps(document)


def plain(value: Decimal) -> str:
    """A decimal without exponent and without zeros at its end: 1500000, 0.25."""
    text = str(value)
    if "E" in text:
        text = f"{value:f}"  # the same without an exponent, and three times as slow
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _line(document: dict[str, Any]) -> InvoiceLine:
    return InvoiceLine(
        number=document["number"],
        kind=document["kind"],
        price=document["price"],
        part=document["part"],
        label=document["label"],
        meter=document["meter"],
        group=tuple(document["group"].items()),
        quantity=Decimal(document["quantity"]),
        unit=document["unit"],
        per=document["per"],
        tiers=tuple(
            TierCharge(
                up_to=None if tier["up_to"] is None else Decimal(tier["up_to"]),
                quantity=Decimal(tier["quantity"]),
                unit_amount=Decimal(tier["unit_amount"]),
                flat=Decimal(tier["flat"]),
                amount=Decimal(tier["amount"]),
            )
            for tier in document["tiers"]
        ),
        tier_unit=document["tier_unit"],
        exact=Decimal(document["exact"]),
        amount=Decimal(document["amount"]),
        card=document["card"],
        version=document["version"],
        plan=document["plan"],
        segment=document["segment"],
        span=Span(_moment(document["start"]), _moment(document["end"])),
        usage_period=document["usage_period"],
        correction=document["correction"],
        explanation=tuple(document["explanation"]),
    )


def _value_document(value: ValueStatement) -> dict[str, Any]:
    return {
        "paid": str(value.paid),
        "cloud_queries": value.cloud_queries,
        "local_queries": value.local_queries,
        "cloud_charges": str(value.cloud_charges),
        "all_cloud": str(value.all_cloud),
        "saved": str(value.saved),
    }


def _value(document: dict[str, Any]) -> ValueStatement:
    return ValueStatement(
        paid=Decimal(document["paid"]),
        cloud_queries=document["cloud_queries"],
        local_queries=document["local_queries"],
        cloud_charges=Decimal(document["cloud_charges"]),
        all_cloud=Decimal(document["all_cloud"]),
    )


def _prepaid_document(invoice: Invoice, prepaid: Prepaid) -> dict[str, Any]:
    return {
        "credits_before": plain(prepaid.before),
        "credits_drawn": plain(prepaid.drawn),
        "credits_after": plain(prepaid.after),
        "covered": str(prepaid.covered),
        "due": str(invoice.due),
    }


def _prepaid(document: dict[str, Any] | None) -> Prepaid | None:
    """A stored head has none: it was written before anything was settled."""
    if document is None:
        return None
    return Prepaid(*(Decimal(document[name]) for name in ("credits_before", "credits_drawn", "covered")))


@lru_cache(maxsize=4096)
def _time(moment: datetime) -> str:
    return to_rfc3339(moment)


@lru_cache(maxsize=4096)
def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
