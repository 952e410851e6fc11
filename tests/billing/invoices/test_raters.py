"""Rating in processes of their own: the same blocks as in one process, in order; a rater that dies is reported."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fleetmeter_billing.errors import InvoiceError
from fleetmeter_billing.invoices import raters
from fleetmeter_billing.invoices.making import Material, make_invoices
from fleetmeter_billing.invoices.raters import encoded_blocks
from fleetmeter_billing.invoices.store import EncodedBlock, encode_block
from fleetmeter_billing.periods.close_log import Close
from fleetmeter_doubles.invoice_samples import NOVEMBER, OCTOBER, card, cards, segment, used

CARDS = cards(card())
CLOSE = Close(
    *(2, "2026-11/x", "2026-11", NOVEMBER.start, NOVEMBER.end, ("2026-10",), 9, 0, datetime(2026, 12, 1, tzinfo=UTC)),
    *((), (), (0,) * 6, (0,) * 6, "", datetime(2026, 12, 2, tzinfo=UTC)),
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Blocks of two, and every rater that was started."""
    monkeypatch.setattr(raters, "BLOCK", 2)
    found: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            found.append(self)

    monkeypatch.setattr(raters.subprocess, "Popen", Noted)
    return found


def material() -> Material:
    """Seven accounts. One has no subscription and nothing to correct, one none but a correction: six invoices."""
    own = {f"a{n}": used(1_000_000 * n + 1, n, of=segment(account=f"a{n}")) for n in range(5)}
    own |= {name: used(of=replace(segment(account=name), segment=None)) for name in ("a1-idle", "a3-gone")}
    october = segment("2026-10", OCTOBER, account="a3-gone")
    before, after = {"a3-gone": used(1_000_000, of=october)}, {"a3-gone": used(2_000_000, of=october)}
    return Material(CLOSE, own, {"2026-10": (before, after)}, {})


def straight() -> list[EncodedBlock]:
    invoices = list(make_invoices(material(), CARDS))
    assert [one.account for one in invoices] == ["a0", "a1", "a2", "a3", "a3-gone", "a4"]
    return [encode_block(invoices[first : first + 2], {}) for first in range(0, 6, 2)]


def test_processes_make_the_same_blocks_in_the_same_order(started: list[subprocess.Popen[bytes]]) -> None:
    assert list(encoded_blocks(material(), CARDS, {}, processes=2)) == straight()
    assert len(started) == 2
    assert all(one.returncode is not None for one in started), "none is left behind"


def test_one_process_makes_them_by_itself(started: list[subprocess.Popen[bytes]]) -> None:
    assert list(encoded_blocks(material(), CARDS, {}, processes=1)) == straight()
    assert not started


def test_a_rater_raises_here_what_it_refuses_and_ends_with_its_parent() -> None:
    """A parent that is killed leaves a pipe that is at its end."""
    block = raters._Block(["a3"], 4, material(), {"a3": "0" * 64})
    with raters._rater({("standard", 1): CARDS("standard", 1)}) as rater:
        rater.give(block)
        with pytest.raises(InvoiceError, match="invoice 2026-11-000004 of a3 was issued with another content"):
            rater.take()
        rater.give(replace(block, issued={}))
        assert rater.take().new == 1
        rater.stdin.close()
        assert rater._process.wait(timeout=30) == 0


def test_a_rater_that_is_killed_is_reported(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rated = raters._Rater.give

    def killing(self: raters._Rater, what: object) -> bool:
        if isinstance(what, raters._Block) and what.rank == 3:
            self._process.send_signal(signal.SIGKILL)
        return rated(self, what)

    monkeypatch.setattr(raters._Rater, "give", killing)
    with pytest.raises(InvoiceError, match=r"was killed by SIGKILL.*run it again.*--processes 1"):
        list(encoded_blocks(material(), CARDS, {}, processes=2))
    assert [one.returncode for one in started] == [-signal.SIGKILL] * 2, "the other one is ended, too"
