"""Random event texts: mostly valid, with every kind of oddity and error mixed in.

Driven by a seeded generator rather than by hypothesis strategies, because a batch needs thousands of choices; the seed
makes a run reproducible.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, Final

from contract_vectors.vector import APPEND_TIME_US
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.fields import FieldSpec, Kind, Role, field_table

ULIDS: Final = ("01JD8Z5W8Q3K6V9XKQ2N4T7RYB", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000")
TEXTS: Final = ("a", "B", "llada-8b", "é", "🦙", "e\u0301", "\u2028", "\u200d", '"', "\\", "/", " ", "\x80", "\ufeff")
BAD_TEXTS: Final = ("", "\x00", "a\nb", "\x7f", "m" * 129, "🦙" * 129, "x" * 600)
BAD_TIMES: Final = ("", "now", "2026-02-30T00:00:00Z", "2026-03-01T12:00:60Z", "2026-03-01 12:00:00Z")
EDGES: Final = (0, 1, 2, 5, 6, 31_999, 32_000, 32_001, 2**32, 2**40 - 1, 2**40)
WEIRD: Final = (
    *("null", "true", "false", "0", "-0", "-1", "1.0", "-1.5", "1e3", "1E+2", "0e-5", "1" + "0" * 400, "-" + "9" * 60),
    *("1099511627777", "18446744073709551615", "18446744073709551616", "-9223372036854775809"),
    *('""', '"5"', '"\\u0000"', '"\\ud83e\\udd99"', '"2026-03-01T12:00:00Z"'),
    *("[]", "{}", "[1, [2, {}]]", '{"a": {"a": 1}}', '{"team": "x", "team": "y"}', '{"team": 1}'),
)
BROKEN: Final = (
    *("NaN", "-Infinity", "01", "1.", ".5", "+1", "tru", "", "[1,]", '{"a" 1}', "[", '"'),
    *("'a'", '"\\x"', '"\\ud800"', '"\t"'),
)
UNKNOWN: Final = ("x", "Model", "", "team", "é", "trace_state", "datum")
LABEL_KEYS: Final = ("team", "app", "zone", "feature", "é", "k" * 64)
LIMITS_US: Final = (0, -35 * 86_400_000_000, 300_000_000)


def identity(random: Random) -> str:
    """An id, drawn so that duplicates, near-duplicates and odd forms are common."""
    kind = random.random()
    ulid = random.choice(ULIDS)
    if kind < 0.5:
        return f"{ulid}-{random.randrange(60)}"
    if kind < 0.6:
        return f"{ulid}-{random.choice([10**18 - 1, 10**18 - 2, 10**17, 2**59])}"
    if kind < 0.7:
        odd = ("-01", "-", f"-{10**18}", "--1", "-+1", "-1 ", "-\u0661", "_1", "")
        return random.choice([*(ulid + tail for tail in odd), f"{ulid.lower()}-1", f"8{ulid[1:]}-1", f"{ulid[:-1]}-1"])
    return f"{random.choice(TEXTS)}{random.randrange(40)}"


def time_text(random: Random) -> str:
    """A time near the append time or a limit, in any of its spellings; sometimes not a time at all."""
    if random.random() < 0.02:
        return random.choice(BAD_TIMES)
    near = random.choice([0, 1, -1, random.randrange(-59_000_000, 59_000_000), random.randrange(-5 * 3_600_000_000, 0)])
    limit = random.choice(LIMITS_US) if random.random() < 0.05 else 0
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=APPEND_TIME_US + limit + near)
    zone = timezone(timedelta(minutes=random.choice([0, 0, 90, -720, 1439, -1439])))
    text = moment.astimezone(zone).isoformat(sep=random.choice("TTt"))
    if text.endswith("+00:00") and random.random() < 0.8:
        text = text.removesuffix("+00:00") + random.choice("ZZz")
    if "." in text and random.random() < 0.3:
        head, _, tail = text.partition(".")
        text = f"{head}.{tail[:6]}{random.randrange(1000):03}{tail[6:]}"
    return text


def value_text(random: Random, spec: FieldSpec) -> str:
    """The JSON text of a field's value."""
    roll = random.random()
    if roll < 0.005:
        return random.choice(WEIRD)
    match spec.kind:
        case Kind.UINT:
            return str(random.choice([0, 1, random.randrange(4)]) if roll < 0.98 else random.choice(EDGES))
        case Kind.INT:
            return str(random.choice([1, -1]) * random.choice(EDGES))
        case Kind.TIME:
            return json.dumps(time_text(random))
        case Kind.LABELS:
            return labels_text(random)
        case Kind.STRING if spec.choices is not None:
            return spelled(random, random.choice(spec.choices) if roll < 0.99 else random.choice(TEXTS))
        case Kind.STRING:
            text = random.choice(TEXTS) * random.choice([1, 1, 2, 3])
            return spelled(random, text if roll < 0.99 else random.choice(BAD_TEXTS))


def labels_text(random: Random) -> str:
    """A labels object, now and then with too much in it."""
    size = random.choice([0, 1, 1, 2, 2, 3, 4])
    keys = random.sample(LABEL_KEYS, size) if random.random() < 0.98 else [f"k{i}" for i in range(9)]
    if random.random() < 0.02:
        keys = [*keys, *keys[:1]]
    values = [spelled(random, random.choice(TEXTS)) for _ in keys]
    if random.random() < 0.03 and values:
        values[0] = random.choice(['""', "1", "null", '"\\n"', "[]"])
    return "{" + ",".join(f"{spelled(random, key)}:{value}" for key, value in zip(keys, values, strict=True)) + "}"


def spelled(random: Random, text: str) -> str:
    """A JSON string in one of its spellings: raw, escaped beyond ASCII, or every character escaped."""
    roll = random.random()
    if roll < 0.6:
        return json.dumps(text, ensure_ascii=False)
    if roll < 0.9:
        return json.dumps(text)
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)) + '"'


def object_text(random: Random, members: list[tuple[str, str]]) -> str:
    """An object's text: sometimes shuffled, with a member repeated, unknown members, blanks, or broken."""
    roll = random.random()
    if roll < 0.3:
        random.shuffle(members)
    if roll < 0.02 and members:
        name, value = random.choice(members)
        members.insert(random.randrange(len(members) + 1), (name, random.choice([value, "null"])))
    while random.random() < 0.08:
        members.insert(random.randrange(len(members) + 1), (random.choice(UNKNOWN), random.choice(WEIRD)))
    if random.random() < 0.004 and members:
        at = random.randrange(len(members))
        members[at] = (members[at][0], random.choice(BROKEN))
    comma, colon = random.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,\t", "\r : ")])
    return "{" + comma.join(f"{key_text(random, name)}{colon}{value}" for name, value in members) + "}"


def key_text(random: Random, name: str) -> str:
    """A key, now and then escaped."""
    return spelled(random, name) if random.random() < 0.02 else json.dumps(name, ensure_ascii=False)


def event_text(random: Random) -> str:
    """One event as JSON text."""
    model = random.choices(list(EVENT_TYPES.values()), [12, 3, 2, 1, 1, 2])[0]
    attributes = {
        "specversion": '"1.0"',
        "type": json.dumps(model.TYPE),
        "id": spelled(random, identity(random)),
        "source": json.dumps(random.choice(["/gpu-1", "/gpu-2", "ä"])),
        "subject": spelled(random, random.choice(["acme", "globex", "🦙", "zoe"])),
        "time": json.dumps(time_text(random)),
        "data": data_text(random, model),
    }
    if random.random() < 0.03:
        name = random.choice(list(attributes))
        attributes[name] = random.choice([*WEIRD, *map(json.dumps, BAD_TEXTS)])
    if random.random() < 0.01:
        del attributes[random.choice(list(attributes))]
    return object_text(random, list(attributes.items()))


def data_text(random: Random, model: type[EventData]) -> str:
    """The data of an event: what is required, some of what is not, and mostly what the rules ask for."""
    share = random.choice([0.0, 0.1, 0.4])
    table = {spec.name: spec for spec in field_table(model)}
    values = {
        name: value_text(random, spec)
        for name, spec in table.items()
        if spec.required or random.random() < _likelihood(spec, share)
    }
    for row in (rule.as_spec() for rule in model.RULES):
        if random.random() < 0.98:
            _obey(random, row, values, table)
    if random.random() < 0.01 and values:
        del values[random.choice(list(values))]
    return object_text(random, list(values.items()))


def _likelihood(spec: FieldSpec, share: float) -> float:
    return max(share, 0.3) if spec.role is Role.SUBJECT or spec.kind is Kind.LABELS else share


def _obey(random: Random, row: dict[str, Any], values: dict[str, str], table: dict[str, FieldSpec]) -> None:
    """Add or drop what a rule asks for."""
    on = values.get(row.get("on", ""), "").strip('"') in row.get("values", ())
    match row["rule"]:
        case "parts_within" if any(part in values for part in row["parts"]):
            values[row["whole"]] = str(random.choice(EDGES[4:]))
        case "not_above" if row["field"] in values and row["limit"] in values:
            values[row["limit"]] = values[row["field"]]
        case "required_when" if on and row["field"] not in values:
            values[row["field"]] = value_text(random, table[row["field"]])
        case "absent_when" if on:
            values.pop(row["field"], None)
