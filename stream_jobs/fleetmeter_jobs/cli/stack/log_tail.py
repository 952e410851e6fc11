"""The last words of a process that we started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 16_384


def log_tail(path: Path, lines: int) -> str:
    """The last lines of a log; empty if there is none yet."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _READ_BYTES))
            written = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(written.splitlines()[-lines:])
