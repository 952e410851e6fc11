"""Invoices in ClickHouse: written so that a kill anywhere leaves whole invoices or none, read back only if they are
what was written.

An invoice's lines go in first and its head last, all under natural keys: whoever repeats it writes the same rows, which
merge to one. Lines without a head are no invoice; the next run writes them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import orjson
import pyarrow as pa

from fleetmeter_billing.accounts.selection import BY_ACCOUNT, few, rows_of
from fleetmeter_billing.clickhouse import INSERT_SETTINGS, READ_SETTINGS, BillingClient
from fleetmeter_billing.errors import InvoiceError, UnknownInvoiceError
from fleetmeter_billing.invoices.document import (
    content_hash,
    encode,
    from_document,
    head_document,
    line_document,
    plain,
)
from fleetmeter_billing.invoices.invoice import Invoice, InvoiceLine
from fleetmeter_billing.rates.money import CONTEXT

BLOCK: Final = 1_000
"""Invoices that are written at a time."""

_MONEY: Final = pa.decimal128(38, 4)
_QUANTITY: Final = pa.decimal256(76, 12)
_TWELVE_DIGITS: Final = Decimal(1).scaleb(-12)

_HEADS: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("period", "account_id", "number", "close_id", "currency")),
        ("lines", pa.uint32()),
        *((name, _MONEY) for name in ("charges", "corrections", "total")),
        ("content_hash", pa.string()),
        ("document", pa.string()),
    ]
)
_LINES: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("period", "account_id", "number")),
        ("line", pa.uint32()),
        *((name, pa.string()) for name in ("kind", "usage_period")),
        ("correction", pa.bool_()),
        *((name, pa.string()) for name in ("price", "part", "meter", "card")),
        ("version", pa.uint32()),
        ("quantity", _QUANTITY),
        ("unit", pa.string()),
        ("amount", _MONEY),
        *((name, pa.string()) for name in ("currency", "document")),
    ]
)


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """Some invoices as ClickHouse takes them: how many there are, how many of them were not issued yet, and the bodies
    of two inserts, with what was not."""

    invoices: int
    new: int
    lines: bytes
    heads: bytes


def write_invoices(client: BillingClient, period: str, invoices: Iterable[Invoice]) -> int:
    """Writes what is not there yet, and returns how many that were.

    Raises InvoiceError if one was issued with another content: an invoice that went out never changes.
    """
    issued = issued_hashes(client, period)
    iterator, written = iter(invoices), 0
    while block := list(islice(iterator, BLOCK)):
        written += write_block(client, encode_block(block, issued))
    return written


def write_block(client: BillingClient, block: EncodedBlock) -> int:
    """Writes a block's lines, then its heads; returns how many invoices were new."""
    if block.lines:
        _insert(client, "billing_invoice_lines", _LINES, block.lines)
    if block.heads:
        _insert(client, "billing_invoices", _HEADS, block.heads)
    return block.new


def _insert(client: BillingClient, table: str, schema: Any, body: bytes) -> None:
    client.raw_insert(table, schema.names, insert_block=body, fmt="Arrow", settings=INSERT_SETTINGS)


def read_invoice(client: BillingClient, number: str) -> Invoice:
    """The invoice of that number, checked against its hash. Raises UnknownInvoiceError, InvoiceError."""
    found = list(_read(client, "number = {number:String}", {"number": number}))
    if not found:
        raise UnknownInvoiceError(f"there is no invoice {number}; `fleetmeter invoice list` shows those there are")
    return found[0]


def read_invoices(client: BillingClient, period: str, accounts: Sequence[str] = ()) -> Iterator[Invoice]:
    """All invoices of the period, or those of some accounts, by number. Raises InvoiceError."""
    return _read(client, f"period = {{period:String}} AND {BY_ACCOUNT}", {"period": period}, accounts)


def list_invoices(client: BillingClient, period: str | None = None, account: str | None = None) -> list[dict[str, Any]]:
    """The heads of all invoices, of one period or account if given, newest period first."""
    answer = client.query(
        "SELECT number, account_id, period, currency, lines, charges, corrections, total, close_id "
        "FROM billing_invoices FINAL WHERE ({period:String} = '' OR period = {period:String}) "
        "AND ({account:String} = '' OR account_id = {account:String}) ORDER BY period DESC, number",
        parameters={"period": period or "", "account": account or ""},
        settings=READ_SETTINGS,
    )
    return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def issued_hashes(client: BillingClient, period: str) -> dict[str, str]:
    """By account, the hash of the invoice that it got for the period."""
    rows = client.query(
        "SELECT account_id, toString(content_hash) FROM billing_invoices FINAL WHERE period = {period:String}",
        parameters={"period": period},
        settings=READ_SETTINGS,
    ).result_rows
    return {str(account): str(digest) for account, digest in rows}


def encode_block(block: Sequence[Invoice], issued: Mapping[str, str]) -> EncodedBlock:
    """Those of some invoices that are not `issued`. Pure.

    Raises InvoiceError if one was issued with another content: an invoice that went out never changes.
    """
    heads: list[tuple[Any, ...]] = []
    lines: list[tuple[Any, ...]] = []
    for invoice in block:
        head = encode(head_document(invoice))
        documents = [encode(line_document(line)) for line in invoice.lines]
        digest = content_hash(head, documents)
        known = issued.get(invoice.account)
        if known is not None and known != digest:
            raise InvoiceError(
                f"invoice {invoice.number} of {invoice.account} was issued with another content. An invoice that went "
                "out never changes; what it lacks becomes a correction line of the next one. Was it made by another "
                "version of fleetmeter?"
            )
        if known is None:
            heads.append(_head_row(invoice, head, digest))
            lines += (_line_row(invoice, line, doc) for line, doc in zip(invoice.lines, documents, strict=True))
    return EncodedBlock(len(block), len(heads), _encode(_LINES, lines), _encode(_HEADS, heads))


def _head_row(invoice: Invoice, document: bytes, digest: str) -> tuple[Any, ...]:
    return (
        invoice.period,
        invoice.account,
        invoice.number,
        invoice.close_id,
        invoice.currency,
        len(invoice.lines),
        str(invoice.charges),
        str(invoice.corrections),
        str(invoice.total),
        digest,
        document.decode(),
    )


def _line_row(invoice: Invoice, line: InvoiceLine, document: bytes) -> tuple[Any, ...]:
    quantity = line.quantity
    return (
        invoice.period,
        invoice.account,
        invoice.number,
        line.number,
        line.kind,
        line.usage_period,
        line.correction,
        line.price,
        line.part,
        line.meter or "",
        line.card,
        line.version,
        plain(
            quantity if quantity == quantity.to_integral_value() else quantity.quantize(_TWELVE_DIGITS, context=CONTEXT)
        ),
        line.unit,
        str(line.amount),
        invoice.currency,
        document.decode(),
    )


def _encode(schema: Any, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows as an Arrow file; nothing for no rows."""
    if not rows:
        return b""
    columns = [_column(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _column(values: Sequence[Any], kind: Any) -> Any:
    """Decimals come as text, which pyarrow reads fifty times as fast as Decimals."""
    return pa.array(values, pa.string()).cast(kind) if pa.types.is_decimal(kind) else pa.array(values, kind)


def _read(
    client: BillingClient, condition: str, parameters: dict[str, Any], accounts: Sequence[str] = ()
) -> Iterator[Invoice]:
    answer = client.query(
        "SELECT account_id, number, period, lines, toString(content_hash), document "  # noqa: S608  (a condition above)
        f"FROM billing_invoices FINAL WHERE {condition} ORDER BY number",
        parameters={**parameters, "accounts": few(accounts)},
        settings=READ_SETTINGS,
    )
    heads = rows_of(accounts, answer.result_rows)
    for start in range(0, len(heads), BLOCK):
        block = heads[start : start + BLOCK]
        rows = client.query(
            "SELECT number, document FROM billing_invoice_lines FINAL WHERE has({periods:Array(String)}, period) "
            "AND has({numbers:Array(String)}, number) ORDER BY number, line",
            parameters={"periods": sorted({row[2] for row in block}), "numbers": [row[1] for row in block]},
            settings=READ_SETTINGS,
        ).result_rows
        lines: dict[str, list[bytes]] = {}
        for number, document in rows:
            lines.setdefault(number, []).append(document.encode())
        for account, number, _, count, digest, document in block:
            # Lines beyond the head's count are what a run that never finished had written.
            yield _checked(account, number, digest, document.encode(), lines.get(number, [])[:count])


def _checked(account: str, number: str, digest: str, head: bytes, lines: list[bytes]) -> Invoice:
    if content_hash(head, lines) != digest:
        raise InvoiceError(
            f"invoice {number} of {account} is not as it was issued: its rows in billing_invoices and "
            "billing_invoice_lines do not have the hash that was written with them"
        )
    return from_document({**orjson.loads(head), "lines": [orjson.loads(line) for line in lines]})
