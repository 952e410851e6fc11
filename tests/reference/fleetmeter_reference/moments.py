"""RFC 3339 times by hand: the calendar is counted here, not taken from `datetime` or from the schemas package."""

from __future__ import annotations

_SHAPE = "dddd-dd-ddTdd:dd:dd"
_DIGITS = frozenset("0123456789")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class BadTime(ValueError):
    """The text is not an RFC 3339 time that the contract accepts."""


def microseconds(text: str) -> int:
    """Microseconds since 1970-01-01T00:00:00Z; digits beyond the sixth are cut off."""
    head, rest = text[: len(_SHAPE)], text[len(_SHAPE) :]
    if len(head) != len(_SHAPE) or not all(_fits(ch, want) for ch, want in zip(head, _SHAPE, strict=True)):
        raise BadTime(text)
    year, month, day = int(head[0:4]), int(head[5:7]), int(head[8:10])
    hour, minute, second = int(head[11:13]), int(head[14:16]), int(head[17:19])
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month):
        raise BadTime(text)
    if hour > 23 or minute > 59 or second > 59:
        raise BadTime(text)
    micros = 0
    if rest.startswith("."):
        digits = "".join(_leading_digits(rest[1:]))
        if not 1 <= len(digits) <= 9:
            raise BadTime(text)
        micros = int((digits + "000000")[:6])
        rest = rest[1 + len(digits) :]
    offset_minutes = _offset(rest, text)
    minutes = _days_since_epoch(year, month, day) * 1440 + hour * 60 + minute - offset_minutes
    return (minutes * 60 + second) * 1_000_000 + micros


def _fits(ch: str, want: str) -> bool:
    if want == "d":
        return ch in _DIGITS
    return ch in ("T", "t") if want == "T" else ch == want


def _leading_digits(text: str) -> list[str]:
    digits: list[str] = []
    for ch in text:
        if ch not in _DIGITS:
            break
        digits.append(ch)
    return digits


def _offset(zone: str, text: str) -> int:
    """Minutes that the zone is ahead of UTC."""
    if zone in ("Z", "z"):
        return 0
    if len(zone) != 6 or zone[0] not in "+-" or not all(_fits(ch, w) for ch, w in zip(zone[1:], "dd:dd", strict=True)):
        raise BadTime(text)
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise BadTime(text)
    return (hours * 60 + minutes) * (1 if zone[0] == "+" else -1)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_of(year: int, month: int) -> int:
    return 29 if month == 2 and _is_leap(year) else _MONTH_DAYS[month - 1]


def _days_since_epoch(year: int, month: int, day: int) -> int:
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400  # days of the whole years before this one
    days += sum(_days_of(year, m) for m in range(1, month)) + day - 1
    return days - 719_162  # the same count for 1970-01-01
