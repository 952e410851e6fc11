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

from collections import Counter
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fleetmeter_billing.accounts.account import Account, Subscriber
from fleetmeter_billing.errors import AccountsError
from fleetmeter_billing.rates.yaml_tree import Path as TreePath
from fleetmeter_billing.rates.yaml_tree import YamlRefusedError, YamlTree, read_text, read_yaml


def read_accounts(path: Path) -> list[Subscriber]:
    """The accounts of a file. Raises AccountsError with a line for everything that is wrong, and OSError."""
    try:
        text = read_text(path)
    except YamlRefusedError as error:
        raise _unreadable(str(path), error) from error
    return parse_accounts(text, str(path))


def parse_accounts(text: str, where: str) -> list[Subscriber]:
    """The accounts in `text`; `where` names it in errors. Raises AccountsError."""
    try:
        tree = read_yaml(text)
    except YamlRefusedError as error:
        raise _unreadable(where, error) from error
    content = tree.data
    if not isinstance(content, dict) or set(content) != {"accounts"} or not isinstance(content["accounts"], list):
        raise AccountsError(f"{where}: the file has one list, `accounts:`, and nothing beside it")
    found: list[Subscriber] = []
    wrong: list[str] = []
    for index, entry in enumerate(content["accounts"]):
        try:
            found.append(_subscriber(entry))
        except ValidationError as error:
            wrong += [_sentence(where, tree, ("accounts", index), one) for one in error.errors()]
    names = Counter(one.account.account for one in found)
    wrong += [f"{where}: the account {name!r} stands there twice" for name in sorted(names) if names[name] > 1]
    if wrong:
        raise AccountsError("\n".join(wrong))
    return found


def _subscriber(entry: Any) -> Subscriber:
    if not isinstance(entry, dict):
        Account.model_validate(entry)
    account = Account.model_validate({name: value for name, value in entry.items() if name != "subscription"})
    rows = entry.get("subscription")
    return Subscriber.model_validate({"account": account, "subscriptions": () if rows is None else rows})


_OUTER: Final[dict[str | int, TreePath]] = {"account": (), "subscriptions": ("subscription",)}


def _sentence(where: str, tree: YamlTree, at: TreePath, error: Any) -> str:
    place: TreePath = error["loc"]
    place = (*at, *_OUTER.get(place[0], place[:1]), *place[1:]) if place else at
    name = ".".join(str(part) for part in place[2:])
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}, line {tree.place(place).line}{f', {name}' if name else ''}: {message}"


def _unreadable(where: str, error: YamlRefusedError) -> AccountsError:
    return AccountsError("\n".join(f"{where}, line {one.place.line}: {one.sentence}" for one in error.faults))
