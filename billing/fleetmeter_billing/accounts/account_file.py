"""Accounts as people write them: a YAML file, and errors that name its lines.

accounts:
  - account: acme
    name: Acme GmbH
    currency: EUR
    time_zone: Europe/Berlin
    subscription:
      - {from: 2026-10-01, status: trial, card: fleet, plan: team}
      - {from: 2026-11-01, status: active, card: fleet, plan: team, committed: {seats: 10}}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from fleetmeter_billing.accounts.account import Account, Subscriber
from fleetmeter_billing.errors import AccountsError

Place = tuple[str | int, ...]


class _ExactLoader(yaml.SafeLoader):
    """Numbers with a fraction stay text, so that no amount goes through binary fractions."""


_ExactLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:float"]
    for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_accounts(path: Path) -> list[Subscriber]:
    """The accounts of a file. Raises AccountsError with a line for everything that is wrong, and OSError."""
    return parse_accounts(path.read_text("utf-8"), str(path))


def parse_accounts(text: str, where: str) -> list[Subscriber]:
    """The accounts in `text`; `where` names it in errors. Raises AccountsError."""
    try:
        root = yaml.compose(text, Loader=_ExactLoader)
        content = yaml.load(text, Loader=_ExactLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise AccountsError(f"{where}: {error}") from error
    lines: dict[Place, int] = {}
    if root is not None:
        _note_lines(root, (), lines)
    if not isinstance(content, dict) or set(content) != {"accounts"} or not isinstance(content["accounts"], list):
        raise AccountsError(f"{where}: the file has one list, `accounts:`, and nothing beside it")
    found: list[Subscriber] = []
    wrong: list[str] = []
    for index, entry in enumerate(content["accounts"]):
        try:
            found.append(_subscriber(entry))
        except ValidationError as error:
            wrong += [_sentence(where, lines, ("accounts", index), one) for one in error.errors()]
    names = [one.account.account for one in found]
    wrong += [
        f"{where}: the account {name!r} stands there twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if wrong:
        raise AccountsError("\n".join(wrong))
    return found


def _subscriber(entry: Any) -> Subscriber:
    if not isinstance(entry, dict):
        Account.model_validate(entry)
    account = Account.model_validate({name: value for name, value in entry.items() if name != "subscription"})
    rows = entry.get("subscription")
    return Subscriber.model_validate({"account": account, "subscriptions": () if rows is None else rows})


_OUTER: Final = {"account": (), "subscriptions": ("subscription",)}


def _sentence(where: str, lines: dict[Place, int], at: Place, error: Any) -> str:
    place = tuple(error["loc"])
    place = (*at, *_OUTER.get(place[0], place[:1]), *place[1:]) if place else at
    known = place
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(part) for part in place[2:])
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}, line {lines.get(known, 1)}{f', {name}' if name else ''}: {message}"


def _note_lines(node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _note_lines(value, (*place, str(key.value)), lines)
            lines[(*place, str(key.value))] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*place, index), lines)
