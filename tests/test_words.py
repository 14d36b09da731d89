"""Plain words: names, messages and help avoid words that a stranger stumbles over.

CONTRIBUTING.md says what to write in their place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# In names, as parts of snake_case and CamelCase.
VAGUE_IN_NAMES = frozenset(
    {"told", "known", "seen", "whole", "anew", "likewise", "mend", "look", "looked", "tally"}
    | {"contenders", "least", "most", "refuse", "lost", "finding"}
)
# Here the word is the thing itself: a point of known distance, assets seen in training, the whole
# picture beside its masked part.
ACCEPTED_NAMES = frozenset(
    {"KnownPoint", "Finding", "finding", "look_at", "lost", "MAX_LOST_ALPHA", "whole"}
    | {"connection_lost"}  # asyncio calls it
    | {"seen_seen", "seen_unseen", "unseen_seen", "CELLS_WITH_SEEN_ASSETS"}
)
VAGUE_IN_TEXTS = frozenset({"told", "anew", "likewise", "mend", "mended", "mends"})
VAGUE_FILES = frozenset(
    {"finding", "tally", "contenders", "setting", "opening", "versions", "work"}
)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """All names that a module gives, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name


def stumbling_blocks(source: str) -> list[str]:
    """Vague names, and texts (messages, help, docstrings) with vague words, each with its line."""
    tree = ast.parse(source)
    found = [
        f"{line}: the name {name}"
        for line, name in names(tree)
        if name.strip("_") not in ACCEPTED_NAMES
        and {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        & VAGUE_IN_NAMES
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = set(re.findall(r"[a-z]+", node.value.lower())) & VAGUE_IN_TEXTS
            found += [f"{node.lineno}: the text has '{word}'" for word in sorted(words)]
    return found


def test_names_and_texts_use_plain_words() -> None:
    paths = sorted((ROOT / "src").rglob("*.py"))
    found = [
        f"{path.relative_to(ROOT)}:{each}"
        for path in paths
        for each in stumbling_blocks(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert [path for path in paths if path.stem in VAGUE_FILES] == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("told = 1", "1: the name told"),
        ("def read(known): ...", "1: the name known"),
        ("_LEAST_SIDE = 3", "1: the name _LEAST_SIDE"),
        ("def refuse_foreign(): ...", "1: the name refuse_foreign"),
        ("class WholeThing: ...", "1: the name WholeThing"),
        ("self.seen = 2", "1: the name seen"),
        ("raise ValueError('make it anew')", "1: the text has 'anew'"),
    ],
)
def test_a_vague_word_is_found(source: str, complaint: str) -> None:
    assert stumbling_blocks(source) == [complaint]
    assert stumbling_blocks("def read(plate, unseen_seen, almost, KnownPoint): 'A whole.'") == []
