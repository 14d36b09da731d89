"""How ``--help`` words its columns: what to write for a value, and every command's line in full."""

from __future__ import annotations

import inspect
import re
from typing import Any

import typer
from typer.core import TyperCommand

_TYPE = re.compile(r" ?<([^<>]*)>$")
_WORDS = {
    "str": "TEXT",
    "path": "PATH",
    "int": "N",
    "int range": "N",
    "float": "NUMBER",
    "float range": "NUMBER",
    "list[str]": "TEXT",
    "list[Path]": "PATH",
}


class _Command(TyperCommand):
    """A command whose help shows placeholders rather than Python's types."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            parameters = (each for each in self.get_params(ctx) if each.param_type_name == kind)
            records = [each.get_help_record(ctx) for each in parameters]
            rows = [(_placeholder(row[0], kind), row[1]) for row in records if row is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _placeholder(column: str, kind: str) -> str:
    """``--count <int range>`` as ``--count N``; an argument is its own placeholder."""
    found = _TYPE.search(column)
    if found is None:
        return column
    word = "" if kind == "argument" else f" {_WORDS.get(found[1], found[1])}"
    return column[: found.start()] + word


def word_help(app: typer.Typer) -> None:
    """Give all commands of an application this help, once they are registered."""
    for command in app.registered_commands:
        command.cls = _Command
        text = inspect.getdoc(command.callback) or ""
        command.short_help = " ".join(text.partition("\n\n")[0].split())
