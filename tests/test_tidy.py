"""House rules that a linter can't keep."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = {
    "fleetmeter_schemas": ROOT / "schemas",
    "fleetmeter_producers": ROOT / "producers",
    "fleetmeter_native": ROOT / "native",
    "fleetmeter_jobs": ROOT / "stream_jobs",
    "fleetmeter_billing": ROOT / "billing",
    "fleetmeter_sql": ROOT / "sql",
    "fleetmeter_local": ROOT / "deploy",
}
"""Import package -> the folder that holds it."""

MAY_IMPORT = {
    "fleetmeter_schemas": set(),
    "fleetmeter_producers": {"fleetmeter_schemas"},
    "fleetmeter_native": set(),
    "fleetmeter_jobs": {"fleetmeter_schemas", "fleetmeter_native", "fleetmeter_sql"},
    "fleetmeter_billing": {"fleetmeter_schemas", "fleetmeter_sql"},
    "fleetmeter_sql": {"fleetmeter_schemas"},
    "fleetmeter_local": set(),
}
"""The import table of docs/architecture.md. Only the commands, in fleetmeter_jobs/cli, may import every room."""

LINES_LIMIT = 400
NAMELESS = re.compile(r"(^|_)(utils?|helpers?|misc|manager|common|stuff)(_|$)")

# Put together here, so that this file does not break its own rules.
_SLASH = "/"
MACHINE_PATH = re.compile(
    "|".join((rf"{_SLASH}(work|farm|root|Users|home){_SLASH}[a-z]", rf"{_SLASH}tmp{_SLASH}fm", r"[.]py" + "env"))
)
REGISTRY = re.compile(
    "|".join(("py" + "pi[.]org", "files[.]python" + "hosted", "(extra-)?index-" + "url *=", "reposi" + "tory[.]apache"))
)
LEFT_OVER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository, and those about to be added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return tuple(path for name in sorted(set(listed.stdout.split("\0"))) if name and (path := ROOT / name).is_file())


def sources(*suffixes: str) -> list[Path]:
    return [path for path in tracked() if path.suffix in suffixes]


def package_files() -> Iterator[tuple[str, Path]]:
    for package, folder in ROOMS.items():
        for path in sources(".py"):
            if path.is_relative_to(folder / package):
                yield package, path


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_rooms_import_only_what_the_table_allows() -> None:
    wrong = []
    for package, path in package_files():
        if path.is_relative_to(ROOMS["fleetmeter_jobs"] / "fleetmeter_jobs" / "cli"):
            continue
        allowed = MAY_IMPORT[package] | {package}
        wrong += [
            f"{name_of(path)}:{line} imports {found}"
            for line, found in imports_of(path)
            if found in ROOMS and found not in allowed
        ]
    assert not wrong


def test_every_room_is_known_to_the_build_and_to_the_table() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    where = build["tool"]["setuptools"]["packages"]["find"]["where"]
    assert {folder.name for folder in ROOMS.values()} == set(where)
    assert set(MAY_IMPORT) == set(ROOMS)
    for folder in where:
        packages = [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")]
        assert len(packages) == 1, f"{folder} holds the packages {packages}; each room holds exactly one"


def test_the_page_about_rooms_has_the_same_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| `(\w+)` \| .* \| (.+) \|$", page, re.MULTILINE)
    told = {
        package: set() if allowed == "nothing of ours" else {f"fleetmeter_{name}" for name in allowed.split(", ")}
        for _, package, allowed in rows
    }
    assert told == MAY_IMPORT
    assert {folder for folder, _, _ in rows} == {folder.name for folder in ROOMS.values()}


def test_every_setting_has_an_effect() -> None:
    """What an operator may set is read by something, beside the place where it is declared."""
    words = Counter(word for _, path in package_files() for word in re.findall(r"\w+", path.read_text("utf-8")))
    idle = [
        f"{name_of(path)}: {node.target.id}"
        for _, path in package_files()
        if path.name in {"settings.py", "access_settings.py"}
        for model in ast.parse(path.read_text("utf-8")).body
        if isinstance(model, ast.ClassDef)
        for node in model.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and words[node.target.id] < 2
    ]
    assert idle == []


def test_producers_load_nothing_that_only_jobs_need() -> None:
    """Whoever imports the client gets by with the base install. A function may import more, and says which extra."""
    heavy = {"faust", "aiokafka", "pyarrow", "clickhouse_connect", "typer", "rich", "chdb", "pydantic_settings"}
    of_servers = {"aiohttp", "prometheus_client"}  # extra `ingest`
    wrong = []
    for package, path in package_files():
        if package != "fleetmeter_producers":
            continue
        unwanted = heavy if path.parent.name == "ingest" else heavy | of_servers
        module = ast.parse(path.read_text(encoding="utf-8"))
        statements = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
        loaded = [name for node in statements for name in _loaded_by(node)]
        wrong += [f"{name_of(path)} loads {name}" for name in loaded if name.partition(".")[0] in unwanted]
    assert not wrong


def _loaded_by(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def test_no_file_is_named_after_nothing() -> None:
    assert [name_of(path) for path in tracked() if NAMELESS.search(path.stem)] == []


def test_files_stay_short() -> None:
    """Unit tests of Rust stand in the file they test, by custom of the language; they don't count."""
    long = {}
    for path in sources(".py", ".rs", ".sql", ".sh"):
        text = path.read_text(encoding="utf-8")
        count = len((text.partition("#[cfg(test)]")[0] if path.suffix == ".rs" else text).splitlines())
        if count > LINES_LIMIT:
            long[name_of(path)] = count
    assert long == {}


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in sources(".py") if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


@pytest.mark.parametrize(
    "pattern", [MACHINE_PATH, REGISTRY, LEFT_OVER], ids=["machine paths", "registries", "left over"]
)
def test_no_file_holds(pattern: re.Pattern[str]) -> None:
    found = []
    for path in tracked():
        if path.suffix in {".lock", ".csv", ".png", ".svg", ".parquet"}:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [f"{name_of(path)}:{number}" for number, line in enumerate(lines, start=1) if pattern.search(line)]
    assert found == []


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in sources(".py") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition with a deadline. Only the poll inside such a wait may pause, and only briefly."""
    slow = []
    for path in sources(".py"):
        if not path.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"):
                continue
            pause = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if isinstance(pause, int | float) and pause > 0.2:
                slow.append(f"{name_of(path)}:{node.lineno}")
    assert slow == []


def test_errors_know_where_to_look_and_whether_to_try_again() -> None:
    for package, folder in ROOMS.items():
        path = folder / package / "errors.py"
        if not path.exists():
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert "domain" in (ast.get_docstring(tree) or ""), f"{name_of(path)} does not explain domain and retryable"
        bases = [
            node for node in tree.body if isinstance(node, ast.ClassDef) and "Exception" in map(ast.unparse, node.bases)
        ]
        assert len(bases) == 1, f"{name_of(path)} has {len(bases)} roots; a package has one"
        attributes = {
            node.target.id
            for node in bases[0].body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        assert {"domain", "retryable"} <= attributes, name_of(path)


def test_the_lock_is_complete_and_hashed() -> None:
    lock = (ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    pinned = {match[1]: block for block in blocks if (match := re.match(r"([a-z0-9][a-z0-9._-]*)==\S+", block))}
    assert pinned
    unhashed = [name for name, block in pinned.items() if "--hash=sha256:" not in block]
    assert unhashed == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower().replace("_", "-") for one in wanted} - {"fleetmeter"}
    assert names - set(pinned) == set()
