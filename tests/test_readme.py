"""What README and docs say is true: the quickstart runs, paths exist, commands and their options exist."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from rhoscale.cli.app import Later, app
from rhoscale.engines.gth import gth, gth_elements, gth_valences
from rhoscale.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CHANGELOG"))]
)
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
FOLDERS = "data|docs|src|tests|recipes|benchmarks|examples"


def spans(text: str) -> list[str]:
    """What stands in backticks in running text, line breaks inside as blanks."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    prose = re.sub(r"^(?: {4}|#).*`.*$", lambda line: line[0].lstrip("# "), prose, flags=re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def code_lines(text: str) -> Iterator[str]:
    """Lines of code blocks, indented or fenced, without comments; lines that go on are joined."""
    fenced = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    indented = "\n".join(re.findall(r"^ {4}(.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE))
    for line in re.sub(r"\\\n\s*", " ", f"{fenced}\n{indented}").splitlines():
        if code := re.sub(r"(^|\s)#.*", "", line).strip():
            yield code


def real(command: Any) -> Any:
    """The command itself, where the overview holds a stand-in that imports it later."""
    if not isinstance(command, Later):
        return command
    module = typer.Typer()
    import_module(f"rhoscale.cli.{command.table[command.name][0]}").register(module)
    return typer.main.get_group(module).commands[command.name]


@cache
def commands() -> dict[tuple[str, ...], Any]:
    """Words after ``rhoscale`` -> command or group of commands; the empty words are ``rhoscale`` itself."""
    found: dict[tuple[str, ...], Any] = {}

    def visit(words: tuple[str, ...], command: Any) -> None:
        found[words] = command = real(command)
        for name, child in getattr(command, "commands", {}).items():
            visit((*words, name), child)

    visit((), typer.main.get_command(app))
    return found


def options(command: Any) -> set[str]:
    return {"--help"} | {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}


def command_of(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The longest command that the words begin with, and the rest of them."""
    length = max(n for n in range(len(words) + 1) if tuple(words[:n]) in commands())
    return tuple(words[:length]), words[length:]


def complaints(call: str) -> list[str]:
    """What is wrong with a ``rhoscale`` command quoted in running text, which may leave out arguments and values."""
    name, rest = command_of(shlex.split(call)[1:])
    command = commands()[name]
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in options(command)]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        unknown.append(rest[0])
    return [f"{call}: no {word}" for word in unknown]


def complaints_of_parser(call: str) -> list[str]:
    """What the command line says to a whole command, which is parsed and not run."""
    name, rest = command_of(shlex.split(call)[1:])
    command = commands()[name]
    if hasattr(command, "commands"):
        return complaints(call)
    try:
        command.make_context(" ".join(name), list(rest))
    except Exception as error:
        return [f"{call}: {error}"]
    return []


def quickstart() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(block)


def test_the_quickstart_is_short_and_runs(tmp_path: Path) -> None:
    code = quickstart()
    assert len(code.strip().splitlines()) <= 25
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mean, largest_sigma, half_width, verdict, shape = done.stdout.split("\n")[:5]
    assert float(mean) == pytest.approx(96 / (32 * 7.65**3 / 4), rel=1e-3)
    assert 0 < float(largest_sigma) < 0.01
    assert 1.9 < float(half_width) < 2.1
    assert verdict in ("inside", "partly", "outside")
    assert shape == "(16, 16, 16)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_on_the_page_exist(page: Path) -> None:
    text = page.read_text()
    prose = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    linked = [(page.parent / target) for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose)]
    named = [ROOT / path for path in re.findall(r"(?:recipes|benchmarks|examples)/[\w.-]+\.(?:toml|py|xyz)", text)]
    missing = [str(path) for path in [*linked, *named] if not path.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_backticks_exist(page: Path) -> None:
    paths = [span.split()[0] for span in spans(page.read_text()) if re.match(rf"(?:{FOLDERS})/", span)]
    missing = [path for path in paths if "<" not in path and not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_code_blocks_are_understood(page: Path) -> None:
    calls = [line for line in code_lines(page.read_text()) if line.startswith("rhoscale ")]
    wrong = [complaint for call in calls for complaint in complaints_of_parser(call)]
    assert not wrong


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=lambda page: page.name)
def test_commands_and_options_in_backticks_exist(page: Path) -> None:
    found = spans(page.read_text())
    known = {option for command in commands().values() for option in options(command)}
    wrong = [complaint for span in found if span.startswith("rhoscale ") for complaint in complaints(span)]
    wrong += [
        f"{span}: no {word}"
        for span in found
        if span.startswith("--")
        for word in span.split()
        if word.startswith("--") and word not in known
    ]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_of_benchmarks_on_the_page_exist(page: Path) -> None:
    text = page.read_text()
    for call in [*spans(text), *code_lines(text)]:
        script = re.search(r"(?:benchmarks|examples)/\w+\.py", call)
        if script:
            source = (ROOT / script[0]).read_text()
            assert [o for o in re.findall(r"--[a-z][\w-]*", call) if f'"{o}"' not in source] == [], call


def test_the_page_lists_the_pseudopotentials_that_there_are() -> None:
    text = (ROOT / "docs" / "pseudopotentials.md").read_text()
    rows = re.findall(r"^\| \w+ to \w+ \|(.*)\|$", text, re.MULTILINE)
    listed = {element: valences.split("/") for row in rows for element, valences in re.findall(r"(\w+) ([\d/]+)", row)}
    assert listed == {element: [str(valence) for valence in gth_valences(element)] for element in gth_elements()}
    assert f"{len(listed)} elements have published parameters" in text
    assert all(gth(element).valence == int(valences[0]) for element, valences in listed.items())
    for element in ("Fr", "Ra", "Rf"):
        with pytest.raises(InputError, match="there is no GTH-PBE"):
            gth(element)


def test_the_checks_of_commands_find_what_is_wrong() -> None:
    assert complaints("rhoscale predict POSCAR --model al-pbe") == []
    assert complaints("rhoscale predictt POSCAR") == ["rhoscale predictt POSCAR: no predictt"]
    assert complaints("rhoscale data imports") == ["rhoscale data imports: no imports"]
    assert complaints("rhoscale study energies --modell x") == ["rhoscale study energies --modell x: no --modell"]
    assert complaints_of_parser("rhoscale data import mine run.save --role test") == []
    assert complaints_of_parser("rhoscale data import mine run.save")  # lacks --role
    assert complaints_of_parser("rhoscale compare one.cube")  # lacks the reference
    assert list(code_lines("    rhoscale a \\\n        --b  # c\n")) == ["rhoscale a  --b"]
    assert spans("see `rhoscale\ndata` and ```x```") == ["rhoscale data"]
