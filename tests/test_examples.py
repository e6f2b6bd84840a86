"""The numbered examples run as they stand, and what they print is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def printed(name: str, folder: Path) -> dict[str, str]:
    """What an example prints, run from an empty folder: text before the first colon -> text after it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def test_every_example_is_numbered_tested_and_says_how_to_run_it() -> None:
    scripts = sorted(path.name for path in EXAMPLES.glob("*.py"))
    here = Path(__file__).read_text()
    assert [name[:3] for name in scripts] == [f"{number:02d}_" for number in range(1, len(scripts) + 1)]
    for name in scripts:
        assert f'"{name}"' in here
        assert f"python examples/{name}" in (EXAMPLES / name).read_text()


def test_predict(tmp_path: Path) -> None:
    said = printed("01_predict.py", tmp_path)
    assert said["grid"] == "(32, 32, 32)"
    assert numbers(said["electrons"])[0] == pytest.approx(96, abs=2e-3)
    low, high = numbers(said["density"])[:2]
    assert low < 3 * 32 / (2 * 4.05 / 0.529177) ** 3 < high < 0.1
    mean, largest = numbers(said["standard deviation"])
    assert 0 < numbers(said["of it for lack of data"])[0] < mean < largest < 0.005
    assert said["verdict"] == "inside"
    assert 0.05 < numbers(said["expected error"])[0] < 1


def test_any_block(tmp_path: Path) -> None:
    said = printed("02_any_block.py", tmp_path)
    assert said["whole grid"] == "(64, 64, 64)"
    assert said["refined grid"] == "(128, 128, 128)"
    assert said["block"].startswith("(16, 16, 4) ")
    mean, sigma = numbers(said["block"])[3:5]
    assert mean == pytest.approx(12 / (4.05 / 0.529177) ** 3, rel=0.2)
    assert 0 < sigma < 0.005
    assert numbers(said["largest difference at the same points"])[0] < 1e-6
    assert (tmp_path / "al-256.zarr").is_dir()


def test_compare_with_dft(tmp_path: Path) -> None:
    said = printed("03_compare_with_dft.py", tmp_path)
    error = numbers(said["error"])[0]
    assert 0.02 < error < 0.5  # mean of the temperature's cells in README: 0.18 %
    assert numbers(said["expected before"])[0] == pytest.approx(error, rel=0.5)
    assert said["expected before"].endswith("inside the model's range")
    assert 1e-5 < numbers(said["root mean square"])[0] < 3e-4
    assert 85 < numbers(said["within two standard deviations"])[0] < 100


def test_from_your_own_densities(tmp_path: Path) -> None:
    said = printed("04_from_your_own_densities.py", tmp_path)
    assert {"train", "validation", "test"} <= said.keys()
    assert 0.05 < numbers(said["error on the test file"])[0] < 3  # a sum of atomic densities: 9.9 %
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["card.toml", "weights.safetensors"]
    assert len(list((tmp_path / "mine" / "snapshots").iterdir())) == 5
