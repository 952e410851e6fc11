"""Command lines as people write them down - in pages, in messages - and whether the command line understands them."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
from fleetmeter_jobs.cli.app import root
from typer.exceptions import TyperException

_INLINE: Final = re.compile(r"(?<!`)`(fleetmeter [a-z][^`]*)`(?!`)")
_VARIABLES: Final = re.compile(r"^(?:[A-Z][A-Z0-9_]*=\S+ +)+")
_PLACEHOLDER: Final = re.compile(r"^(?:[A-Z][A-Z_]+|<[^>]+>)$")
_SHELL: Final = re.compile(r"(?:\d?>>?|<|\|\|?|&&?|;)")
_STAND_IN: Final = "2"
"""In the place of what only the moment knows. A number, and a large one: some options want two at least."""


@dataclass(frozen=True)
class Written:
    """A command line somewhere in a file. `whole` if it stands there to be copied; otherwise it may only name one."""

    file: str
    line: int
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def in_page(path: Path, name: str) -> Iterator[Written]:
    """The lines of a Markdown page's code blocks that run a command, and the commands in its sentences."""
    kept, begun, fenced = "", 0, False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        in_block = fenced or line.startswith("    ")
        for found in () if in_block else _INLINE.finditer(line):
            yield Written(name, number, found[1], whole=False)
        if not (in_block or kept):
            continue
        begun = begun if kept else number
        kept += line.strip().removeprefix("$ ")
        if kept.endswith("\\"):
            kept = f"{kept[:-1]} "
            continue
        command = _VARIABLES.sub("", kept)
        if command.startswith("fleetmeter "):
            yield Written(name, begun, command, whole=True)
        kept = ""


def in_source(path: Path, name: str) -> Iterator[Written]:
    """The commands that a Python file's texts name, in backticks: what messages advise."""
    source = path.read_text("utf-8")
    texts: dict[int, tuple[int, str]] = {}
    for node in ast.walk(ast.parse(source)) if "`fleetmeter " in source else ():
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else _STAND_IN for part in node.values]
            texts[id(node)] = (node.lineno, "".join(map(str, parts)))
            for part in node.values:
                texts.setdefault(id(part), (0, ""))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.setdefault(id(node), (node.lineno, node.value))
    for line, text in texts.values():
        for found in _INLINE.finditer(text):
            yield Written(name, line, " ".join(found[1].split()), whole=False)


def misunderstood(written: Written) -> str | None:
    """What the command line says against it; None if it would run. A line that is not whole may leave out what the
    command demands; and a command whose name only the moment knows is taken for granted."""
    arguments = _arguments(written.text)
    command: Any = typer.main.get_command(root)
    context: Any = None
    while arguments or written.whole:
        for parameter in command.params:
            parameter.required = parameter.required and written.whole
        try:
            context = command.make_context(command.name, arguments, parent=context)
            rest = [*context._protected_args, *context.args] if hasattr(command, "resolve_command") else []
            if not rest or rest[0] == _STAND_IN:
                return None
            _, command, arguments = command.resolve_command(context, rest)
        except TyperException as error:
            return error.format_message()
    return None


def _arguments(text: str) -> list[str]:
    """What a shell would pass on, up to a pipe or redirection."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    arguments: list[str] = []
    for word in lexer:
        if _SHELL.fullmatch(word):
            break
        arguments.append(_STAND_IN if _PLACEHOLDER.match(word) else word)
    return arguments[1:]
