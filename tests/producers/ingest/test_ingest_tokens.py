"""Tokens: what is kept of them, whom they let in, and what they let through."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import LINES, ONE, IngestServer, ingest_server, until
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.errors import TokenFileError
from fleetmeter_producers.ingest.token_book import TokenBook
from fleetmeter_producers.ingest.tokens import Scope, Token, TokenFile
from fleetmeter_schemas.timestamps import to_rfc3339
from hypothesis import given
from hypothesis import strategies as st


def book_of(file: TokenFile, **options: float) -> TokenBook:
    return TokenBook(file, **{"events_per_s": None, "burst_s": 10.0, **options})  # type: ignore[arg-type]


@contextmanager
def guarded(file: TokenFile, broker: FakeBroker) -> Iterator[IngestServer]:
    with ingest_server(broker, book=book_of(file), token_check_interval_s=0.01) as server:
        yield server


def token_of(**changes: object) -> Token:
    return Token.model_validate(
        {
            "id": "abcd",
            "name": "n",
            "sha256": "0" * 64,
            "accounts": ["*"],
            "sources": ["*"],
            "created": datetime.now(UTC),
            **changes,
        }
    )


def test_the_file_keeps_no_secret_and_is_its_user_s_alone(token_file: TokenFile) -> None:
    token, text = token_file.add("Acme's gateway", accounts=["acme"], sources=["urn:acme:*"], events_per_s=5)
    kept = token_file.path.read_text()
    assert text.startswith(f"fm_{token.id}_")
    assert text.split("_", 2)[2] not in kept
    assert stat.S_IMODE(token_file.path.stat().st_mode) == 0o600
    assert token_file.tokens() == [token]
    other, _ = token_file.add("b", accounts=["*"], sources=["*"])
    assert token_file.tokens() == [token, other]
    assert list(token_file.path.parent.iterdir()) == [token_file.path], "nothing is left beside it"


def test_who_shows_no_token_in_force_is_a_stranger(token_file: TokenFile) -> None:
    token, text = token_file.add("a", accounts=["*"], sources=["*"])
    _, late = token_file.add("b", accounts=["*"], sources=["*"], expires=datetime.now(UTC) - timedelta(seconds=1))
    broker = FakeBroker()
    with guarded(token_file, broker) as server:
        body = text_of(make_event())
        for headers in (
            {},
            {"Authorization": "Basic YTpi"},
            {"Authorization": f"Bearer {text}x"},
            {"Authorization": f"Bearer fm_ffff_{text.split('_', 2)[2]}"},
            {"Authorization": f"Bearer {late}"},
            {"Authorization": "Bearer "},
            {"Authorization": text},
        ):
            answer = server.ask("POST", "/v1/events", body, {"Content-Type": ONE, **headers})
            assert answer.status == 401, headers
            assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
            assert "secret" not in answer.json
        assert broker.log == []
        assert (
            server.ask("POST", "/v1/events", body, {"Content-Type": ONE, "Authorization": f"bearer {text}"}).status
            == 202
        )
        assert server.get("/openapi.json").status == 200, "the description is open to all"
        token_file.revoke(token.id)
        until(lambda: server.post(body, token=text).status == 401)


def test_events_of_others_are_forbidden_one_by_one(token_file: TokenFile) -> None:
    _, text = token_file.add("a", accounts=["acme", "acme-*"], sources=["urn:acme:*"])
    broker = FakeBroker()
    with guarded(token_file, broker) as server:
        events = [
            make_event(0, source="urn:acme:1", subject="acme"),
            make_event(1, source="urn:other:1", subject="acme"),
            make_event(2, source="urn:acme:1", subject="acmes"),
            make_event(3, source="urn:acme:2", subject="acme-dev"),
            make_event(4, source="urn:other:1", subject="acme", type="x"),
        ]
        answer = server.post(text_of(*events), LINES, token=text)
        assert (answer.status, answer.json["accepted"]) == (202, 2)
        assert [(error["index"], error["reason"], error["field"]) for error in answer.json["errors"]] == [
            (1, "forbidden", "source"),
            (2, "forbidden", "subject"),
            (4, "unknown_type", "type"),
        ]
        assert arrived(broker) == {"urn:acme:1": ["event-0"], "urn:acme:2": ["event-3"]}
        nothing = server.post(text_of(events[1], events[2]), LINES, token=text)
        assert (nothing.status, nothing.json["rejected"]) == (403, 2)
        mixed = server.post(text_of(events[1], events[4]), LINES, token=text)
        assert mixed.status == 400


@given(st.text("ab*.\n[", max_size=8), st.text("ab.\n[", max_size=8))
def test_a_star_stands_for_any_text_and_nothing_else_is_special(pattern: str, name: str) -> None:
    def fits(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return any(fits(pattern[1:], name[at:]) for at in range(len(name) + 1))
        return name[:1] == pattern[0] and fits(pattern[1:], name[1:])

    token = token_of().model_copy(update={"sources": (pattern,), "accounts": ("never", pattern)})
    assert Scope(token).forbidden(name, name) == (None if fits(pattern, name) else "source")


def test_a_file_that_breaks_changes_nothing_until_it_is_mended(token_file: TokenFile) -> None:
    token, text = token_file.add("a", accounts=["*"], sources=["*"])
    book = book_of(token_file)
    good = token_file.path.read_bytes()
    token_file.path.write_bytes(good[:-5])
    book.refresh()
    assert str(token_file.path) in (book.error or "")
    assert book.caller(f"Bearer {text}").token == token
    token_file.path.unlink()
    book.refresh()
    assert book.caller(f"Bearer {text}").token == token
    token_file.path.write_bytes(good)
    book.refresh()
    assert not book.error
    assert book.in_force() == 1


def test_a_change_keeps_the_allowance_of_the_others(token_file: TokenFile) -> None:
    _, text = token_file.add("a", accounts=["*"], sources=["*"])
    book = book_of(token_file, events_per_s=1.0)
    before = book.caller(f"Bearer {text}")
    token_file.add("b", accounts=["*"], sources=["*"])
    book.refresh()
    assert book.in_force() == 2
    assert book.caller(f"Bearer {text}") is before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "{", "not a file of tokens"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version"),
        (lambda text: text.replace('"name"', '"nmae"'), "nmae"),
        (lambda text: json.dumps({"tokens": json.loads(text)["tokens"] * 2}), "twice"),
        (lambda text: text.replace('"*"', '""'), "pattern"),
    ],
)
def test_a_bad_file_names_itself_and_the_fault(token_file: TokenFile, change: Callable[[str], str], words: str) -> None:
    token_file.add("a", accounts=["*"], sources=["*"])
    token_file.path.write_text(change(token_file.path.read_text()))
    with pytest.raises(TokenFileError, match=words) as caught:
        book_of(token_file)
    assert str(token_file.path) in str(caught.value)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="ingest token new"):
        book_of(TokenFile(tmp_path / "nothing.json"))
    with pytest.raises(TokenFileError, match="pattern"):
        TokenFile(tmp_path / "t.json").add("a", accounts=[""], sources=["*"])
    with pytest.raises(TokenFileError, match="token list"):
        TokenFile(tmp_path / "t.json").revoke(
            TokenFile(tmp_path / "t.json").add("a", accounts=["a"], sources=["s"])[0].id[:-1]
        )


def test_times_are_kept_as_they_are_written_elsewhere(token_file: TokenFile) -> None:
    token, _ = token_file.add("a", accounts=["*"], sources=["*"])
    assert json.loads(token_file.path.read_text())["tokens"][0]["created"] == to_rfc3339(token.created)
