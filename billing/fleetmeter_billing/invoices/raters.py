"""Rating in processes beside this one: Python computes on one core at a time, and a period has many invoices.

A process is given what was frozen of a block of accounts, and answers with their invoices as ClickHouse takes them. It
reads and writes nothing else. Blocks come back in the order of the invoices' numbers, and whoever asked for them is the
only one who writes: so whatever is killed, what is stored is what one process alone would have left. A rater that is
killed ends the run with an error; one whose parent is killed finds its input at the end, and ends, too.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Final, cast

from fleetmeter_billing.errors import BillingError, InvoiceError
from fleetmeter_billing.invoices.making import Material, invoice_of, invoiced_accounts
from fleetmeter_billing.invoices.period_lines import CardOf
from fleetmeter_billing.invoices.store import BLOCK, EncodedBlock, encode_block
from fleetmeter_billing.rates.card import PublishedCard

_COMMAND: Final = "from fleetmeter_billing.invoices.raters import answer; answer()"
_CardVersions = Mapping[tuple[str, int], PublishedCard]


@dataclass(frozen=True, slots=True)
class _Block:
    """Accounts in the order of their invoices, the rank of the first one, and all that their invoices are made of."""

    accounts: Sequence[str]
    rank: int
    material: Material
    issued: Mapping[str, str]


def encoded_blocks(
    material: Material, card_of: CardOf, issued: Mapping[str, str], processes: int
) -> Iterator[EncodedBlock]:
    """The period's invoices that are not `issued`, in blocks, by so many processes; by this one if a block holds all.

    Raises RatingError and InvoiceError, also if a process was killed: what was written before is whole.
    """
    accounts = invoiced_accounts(material, card_of)
    cards = {(name, version): card_of(name, version) for name, version in material.cards}
    blocks = (
        _Block(part, first + 1, material.of(part), {one: issued[one] for one in part if one in issued})
        for first in range(0, len(accounts), BLOCK)
        if (part := accounts[first : first + BLOCK])
    )
    raters = min(processes, -(-len(accounts) // BLOCK))
    if raters < 2:
        return (_rate(block, cards) for block in blocks)
    return _in_turn(blocks, cards, raters)


def _rate(block: _Block, cards: _CardVersions) -> EncodedBlock:
    def card_of(name: str, version: int) -> PublishedCard:
        return cards[name, version]

    invoices = [
        invoice_of(block.material, account, rank, card_of) for rank, account in enumerate(block.accounts, block.rank)
    ]
    return encode_block(invoices, block.issued)


def _in_turn(blocks: Iterator[_Block], cards: _CardVersions, count: int) -> Iterator[EncodedBlock]:
    """Block n is rated by process n modulo their count, which has the next one before this one is written."""
    with ExitStack() as stack:
        raters = [stack.enter_context(_rater(cards)) for _ in range(count)]
        busy = [rater for rater, block in zip(raters, blocks, strict=False) if rater.give(block)]
        while busy:
            rater = busy.pop(0)
            encoded = rater.take()
            following = next(blocks, None)
            if following is not None and rater.give(following):
                busy.append(rater)
            yield encoded


class _Rater:
    """The parent's end. A rater is only given something when it has nothing to say, so that neither waits for the
    other to read."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        # Popen has them, because it was asked for pipes.
        self.stdin, self.stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)

    def give(self, what: object) -> bool:
        """Hand it over; True. Raises InvoiceError if the process is gone."""
        try:
            pickle.dump(what, self.stdin, pickle.HIGHEST_PROTOCOL)
            self.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error
        return True

    def take(self) -> EncodedBlock:
        """Wait for the answer. Raises what rating raised, or InvoiceError if the process is gone."""
        try:
            found: EncodedBlock | BillingError = pickle.load(self.stdout)  # noqa: S301  (from our own process)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._gone() from error
        if isinstance(found, BillingError):
            raise found
        return found

    def _gone(self) -> InvoiceError:
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return InvoiceError(
            f"a process that rates invoices {how}; what it printed stands above. All invoices that were written are "
            "whole: run it again, and it goes on with the others. Where memory is short, let one process do it all: "
            "--processes 1"
        )


@contextmanager
def _rater(cards: _CardVersions) -> Iterator[_Rater]:
    """A process that rates, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        process_group=0,  # Ctrl-C is for the parent, which ends it
    )
    rater = _Rater(process)
    try:
        rater.give(cards)
        yield rater
    finally:
        process.kill()  # it has nothing to lose
        process.wait()
        for pipe in (rater.stdin, rater.stdout):
            # What was not flushed was for a process that is gone, and whoever waited for its answer was told so.
            with suppress(BrokenPipeError):
                pipe.close()


def answer() -> None:
    """What a rater does: takes cards, then blocks from its input until that ends, and answers each on its output."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into an answer
    cards: _CardVersions = pickle.load(source)  # noqa: S301  (from our own parent)
    while True:
        try:
            block: _Block = pickle.load(source)  # noqa: S301
        except EOFError:
            return
        try:
            found: EncodedBlock | BillingError = _rate(block, cards)
        except BillingError as error:
            found = error
        pickle.dump(found, sink, pickle.HIGHEST_PROTOCOL)
        sink.flush()
