"""Pages lead where they say: links between them, headings in them, and files and folders that they name."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
)
_LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')
_ELSEWHERE = re.compile(r"[a-z]+:")
_NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
"""A path in backticks: `stream_jobs/fleetmeter_jobs/cli/`, `docs/dedup.md`."""


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, but for blocks of code."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


@cache
def anchors(page: Path) -> frozenset[str]:
    """What `#...` may name, as GitHub makes it of headings: lower case, without punctuation, dashes for blanks."""
    found: set[str] = set()
    for _, line in prose(page):
        if heading := re.match(r"#{1,6} +(.+)", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
        found.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
    return frozenset(found)


def broken_links(page: Path) -> list[str]:
    """Each link that leads nowhere, with its line."""
    broken = []
    for number, line in prose(page):
        for link in (one or other for one, other in _LINK.findall(line)):
            if _ELSEWHERE.match(link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                broken.append(f"{number}: {link} is not there")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                broken.append(f"{number}: {link}: no such heading")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three\n[a](#one-two-three) [b](#four) [c](gone.md) [d](https://example.org)\n")
    assert broken_links(page) == ["2: #four: no such heading", "2: gone.md is not there"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_begin_at_a_room_exist(page: Path) -> None:
    """Also in prose and tables, where nothing links: `billing/fleetmeter_billing/periods/`."""
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    missing = [
        f"{number}: {name}"
        for number, line in prose(page)
        for name in _NAMED.findall(line)
        if name.split("/")[0] in rooms and not (ROOT / name).exists() and not (page.parent / name).exists()
    ]
    assert missing == []
