"""What README and docs say is true: the quickstart runs, paths exist, commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")])


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
    mean, largest_sigma, verdict, shape = done.stdout.split("\n")[:4]
    assert float(mean) == pytest.approx(96 / (32 * 7.65**3 / 4), rel=1e-3)
    assert 0 < float(largest_sigma) < 0.01
    assert verdict in ("inside", "partly", "outside")
    assert shape == "(16, 16, 16)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_on_the_page_exist(page: Path) -> None:
    text = page.read_text()
    linked = [(page.parent / target) for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    named = [ROOT / path for path in re.findall(r"(?:recipes|benchmarks|examples)/[\w.-]+\.(?:toml|py|xyz)", text)]
    missing = [str(path) for path in [*linked, *named] if not path.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_page_exist(page: Path) -> None:
    from rhoscale.cli.app import COMMANDS

    used = set(re.findall(r"(?:^ {4}|`)rhoscale (\w+)", page.read_text(), re.MULTILINE))
    assert used <= set(COMMANDS), f"unknown commands: {used - set(COMMANDS)}"
