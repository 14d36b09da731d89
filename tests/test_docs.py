"""The documentation says what the package does: commands, links, generated pages."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
import typer
import typer.main

from maskdepth.evaluation import read_evaluation

ROOT = Path(__file__).resolve().parent.parent
SITE = sorted(ROOT.glob("docs/**/*.md"))
PAGES = [*SITE, *sorted(ROOT.glob("*.md"))]
LOG = sorted(ROOT.glob("research/log/*.md"))  # keeps the commands of its day, so only links count


def _load_generator(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


sys.path.append(str(ROOT / "tools"))  # its scripts import each other
make_cli = _load_generator("make_cli")
make_results = _load_generator("make_results")


def _commands(command: Any, path: str = "maskdepth") -> Iterator[str]:
    """Every visible command as it is typed, ``maskdepth plate calibrate``."""
    yield path
    for name, subcommand in getattr(command, "commands", {}).items():
        if not subcommand.hidden:
            yield from _commands(subcommand, f"{path} {name}")


@pytest.fixture(scope="module")
def commands() -> set[str]:
    from maskdepth.cli import app

    return set(_commands(typer.main.get_command(app)))


def test_the_command_line_page_is_up_to_date() -> None:
    from maskdepth.cli import app

    page = make_cli.PAGE.read_text(encoding="utf-8")
    assert page == make_cli.document(app), "run python tools/make_cli.py"


def _results() -> Any:
    return json.loads(make_results.FIGURES.read_text(encoding="utf-8"))


def test_the_results_page_is_up_to_date() -> None:
    page = make_results.PAGE.read_text(encoding="utf-8")
    assert page == make_results.document(_results()), "run python tools/make_results.py"


def test_a_figure_that_falls_short_is_no_longer_met() -> None:
    results = _results()
    cell = results["evaluation"]["masks"]["clean"]["cells"]["unseen_unseen"]
    for dice, met in ((0.991, "yes"), (0.989, "**no**")):
        cell["mean"]["dice"] = dice
        goals = list(make_results.goals(read_evaluation(results["evaluation"]), None))
        name, goal, measured, verdict = goals[0]
        assert (name, goal, verdict) == ("mask Dice, clean", ">= 0.99", met)
        assert measured.startswith(f"{dice:.3f} [")


def test_what_was_not_measured_is_said_not_to_be() -> None:
    results = _results()
    bare = dict.fromkeys(("robustness", "frames", "sensor_depth", "withheld"))
    page = make_results.document({**results, "evaluation": results["evaluation"] | bare})
    for goal in ("plate shifted 4 px", "real frames", "withheld world", "measured depth"):
        assert re.search(rf"\| [^|]*{goal}[^|]*\|[^|]*\| not measured \| - \|", page), goal
    assert "## Robustness" not in page


def test_latency_is_judged_by_precision_and_against_prior(tmp_path: Path) -> None:
    def row(model: str, precision: str, ms: float) -> dict[str, Any]:
        engine = "torch" if model == "prior" else "onnxruntime"
        size = {"height": 224, "width": 224}
        return {"model": model, "engine": engine, "precision": precision, **size} | {
            "median_ms": ms, "p95_ms": ms + 1, "ratio": 1.0, "peak_mb": 99.0,
        }  # fmt: skip

    mine = str(tmp_path / "mine")
    networks = [row(mine, "fp32", 7.5), row(mine, "int8", 8.5), row("prior", "fp32", 290.0)]
    bench = {"networks": networks, "predictors": [], "missing": ["openvino"], "machine": {"n": 2}}
    results = {**_results(), "bench": make_results.distil_bench(bench)}
    goals = list(make_results.goals(read_evaluation(results["evaluation"]), results["bench"]))
    verdicts = {name: met for name, _, _, met in goals if name.startswith("latency")}
    assert list(verdicts.values()) == ["yes", "**no**", "**no**"]
    page = make_results.document(results)
    assert "| mine | onnxruntime | fp32 | 224x224 | 7.5 | 8.5 | 99 |" in page
    assert "Not measured: openvino." in page
    assert str(tmp_path) not in page


def test_the_committed_figures_are_small_and_tell_no_paths() -> None:
    text = make_results.FIGURES.read_text(encoding="utf-8")
    assert len(text) < 250_000
    absolute = re.compile(r'"/|"[A-Za-z]:\\\\|"file:')  # how a path of some machine would begin
    assert not absolute.search(text)


def test_every_command_says_what_it_does() -> None:
    from maskdepth.cli import app

    assert _silent_commands(typer.main.get_command(app)) == []


def test_a_command_without_a_help_text_is_found() -> None:
    app = _made_up_app()

    @app.command()
    def mute() -> None: ...

    assert _silent_commands(typer.main.get_command(app)) == ["maskdepth mute"]


def _silent_commands(command: Any, path: str = "maskdepth") -> list[str]:
    found = [] if (command.help or "").strip() else [path]
    for name, subcommand in getattr(command, "commands", {}).items():
        found += _silent_commands(subcommand, f"{path} {name}")
    return found


def _command_lines(text: str) -> Iterator[str]:
    """Commands of ours in a Markdown text: lines of code blocks and whole spans of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            found = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?(maskdepth\b.*)", line)
            if found:
                yield found[1]
    yield from re.findall(r"`(maskdepth [^`\n]+)`", text)


def _unknown_commands(text: str, commands: set[str]) -> list[str]:
    groups = {command.rpartition(" ")[0] for command in commands}
    unknown = []
    for line in _command_lines(text):
        path = "maskdepth"
        # Words name commands only as long as what they follow is a group of commands.
        for word in line.split()[1:]:
            if path not in groups or not re.fullmatch(r"[a-z][a-z0-9-]*", word):
                break
            path = f"{path} {word}"
        if path not in commands:
            unknown.append(line)
    return unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_in_the_documentation_exists(page: Path, commands: set[str]) -> None:
    assert _unknown_commands(page.read_text(encoding="utf-8"), commands) == []


def test_a_command_that_does_not_exist_is_found() -> None:
    text = "Run `maskdepth predict a.jpg`, or:\n```sh\nmaskdepth guess a.jpg -o out\n```\n"
    assert _unknown_commands(text, {"maskdepth", "maskdepth predict"}) == [
        "maskdepth guess a.jpg -o out"
    ]


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken_links(page: Path, root: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    links = re.findall(r"\]\(\s*<?([^)\s>]+)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    broken = []
    for link in links:
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        resolves = target.exists() and target.is_relative_to(root)
        if resolves and anchor:
            resolves = anchor in _anchors(target.read_text(encoding="utf-8"))
        if not resolves:
            broken.append(link)
    return broken


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "research/README.md", *LOG],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_relative_links_resolve(page: Path) -> None:
    # The site holds docs/ alone, so its pages cannot link to anything beside it.
    assert _broken_links(page, ROOT / "docs" if page in SITE else ROOT) == []


def test_pages_for_users_do_without_words_that_strangers_stumble_on() -> None:
    words = re.compile(r"\b(?:told|anew|likewise|mend|mends|mended)\b")
    assert {page.name: words.findall(page.read_text(encoding="utf-8")) for page in SITE} == {
        page.name: [] for page in SITE
    }


def test_every_decision_has_a_status_and_stands_in_the_index_by_room() -> None:
    page = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
    index, *entries = re.split(r"^## (?=\d+\. )", page, flags=re.MULTILINE)
    for number, entry in enumerate(entries, start=1):
        title, _, text = entry.partition("\n")
        assert title.startswith(f"{number}. ")
        assert re.match(r"\n\*Status: (accepted|replaced by \d+|obsolete)\b", text), title
        assert f"- [{title}](#" in index, f"{title}: add it to the index of its room"


def test_every_name_on_the_python_page_exists() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE)
    assert names
    for name in names:
        assert pkgutil.resolve_name(name) is not None


def test_every_page_of_the_research_log_is_summed_up_and_found_by_its_number() -> None:
    summary = (ROOT / "research/README.md").read_text(encoding="utf-8")
    assert [page.name for page in LOG if f"(log/{page.name})" not in summary] == []
    numbers = {int(page.name[:3]) for page in LOG}
    for page in SITE:
        named = re.findall(r"[Rr]esearch\s+log\s+(\d+)", page.read_text(encoding="utf-8"))
        assert {int(number) for number in named} <= numbers, page


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# Some words\n", encoding="utf-8")
    page.write_text(
        "[a](other.md) [b](other.md#some-words) [c](https://example.org/x) `[d](code.md)`\n"
        "[e](missing.md) [f](other.md#no-such-words) ![g](../outside.png)\n",
        encoding="utf-8",
    )
    found = _broken_links(page, tmp_path)
    assert found == ["missing.md", "other.md#no-such-words", "../outside.png"]


class _Shape(StrEnum):
    ROUND = "round"
    SQUARE = "square"


def _made_up_app() -> typer.Typer:
    app = typer.Typer(add_completion=False, help="Made up.")
    group = typer.Typer(help="A group.")

    @app.command()
    def draw(
        source: Annotated[Path, typer.Argument(help="What to draw.")],
        shape: Annotated[_Shape, typer.Option(help="Its shape.")] = _Shape.ROUND,
        count: Annotated[int, typer.Option("--count", "-n", help="How many.", min=1)] = 3,
        fill: Annotated[bool, typer.Option("--fill/--no-fill", help="Fill it.")] = True,
        out: Annotated[Path | None, typer.Option(help="Where to.")] = None,
        secret: Annotated[bool, typer.Option(hidden=True)] = False,
    ) -> None:
        """Draw a source.

        More about it.
        """

    @group.command()
    def rub(force: Annotated[bool, typer.Option("--force", help="Do.")] = False) -> None:
        """Rub it out."""

    @group.command(hidden=True)
    def whisper() -> None:
        """Say nothing."""

    app.add_typer(group, name="undo")
    return app


def test_the_generator_tells_what_help_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    page = make_cli.document(_made_up_app())
    headings = re.findall(r"^## (.+)$", page, flags=re.MULTILINE)
    assert headings == [
        "maskdepth",
        "maskdepth draw",
        "maskdepth undo",
        "maskdepth undo rub",
    ]
    for text in (
        "Usage: maskdepth draw [OPTIONS]",
        "Draw a source.\n\n  More about it.",
        "What to draw.  [required]",
        "Its shape.  [default: round]",
        "-n, --count",
        "--fill / --no-fill",
        "Usage: maskdepth undo rub [OPTIONS]",
    ):
        assert text in page
    assert "secret" not in page
    assert "whisper" not in page
    # The page is the same on a narrow and on a colourful terminal.
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make_cli.document(_made_up_app()) == page
