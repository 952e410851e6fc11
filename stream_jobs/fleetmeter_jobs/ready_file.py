"""The file by which a process tells whoever started it that it listens, and where."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_ready_file(path: Path, **told: object) -> None:
    """Write a JSON object, in one step: whoever sees the file can read it. Makes its folder; replaces an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(told), encoding="utf-8")
    unfinished.replace(path)
