"""``rhoscale generate``: a dry run makes nothing; failed programs and wrong recipes end with messages and code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rhoscale.cli.app import main
from rhoscale.datasets.store import SnapshotStore
from toy_recipe import RECIPE


def run_command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rhoscale", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_dry_run_shows_the_plan_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.toml"
    file.write_text(RECIPE.format(output=tmp_path / "set"))
    assert run_command(monkeypatch, "generate", file, "--dry-run") == 0
    assert "10 open" in capsys.readouterr().out
    assert not (tmp_path / "set").exists()


def test_failed_programs_are_listed_with_their_logs_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "bin" / "pw.x"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'the disk is on fire'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    file = tmp_path / "r.toml"
    text = RECIPE.replace('"toy"', '"pw.x"').replace("snapshots = 10", "snapshots = 2").replace("= 300\n", "= 20\n")
    file.write_text(text.format(output=tmp_path / "set"))
    assert run_command(monkeypatch, "generate", file) == 2
    shown = capsys.readouterr()
    assert "2 of 2 tasks failed; nothing of them became data" in shown.err
    assert shown.err.count("the disk is on fire") == 2
    assert "TOO SHORT" in shown.out
    assert SnapshotStore.open(tmp_path / "set").records() == []
    assert len(list((tmp_path / "set" / "work" / "dft").rglob("pw.out"))) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("snapshots = 10", "snapshot = 10", "unknown key 'snapshot'; did you mean 'snapshots'"),
        ("snapshots = 10", "snapshots = 0", "has snapshots = 0"),
        ('"train"', '"learn"', "role is 'learn'; expected one of 'train', 'validation', 'test'"),
        ("width_ry = 0.08", "width = 0.08", "engine: unknown key 'width'"),
        ("width_ry = 0.08", "", "expected one of width_ry and width_kelvin"),
        ("width_ry = 0.08", 'width_ry = 0.08\nsmearing = "hot"', "smearing is 'hot'"),
        ("width_ry = 0.08", "width_ry = 0.08\nkmesh = [0, 1, 1]", "kmesh = (0, 1, 1)"),
        ('program = "toy"', 'program = "vasp"', "engine 'vasp' is unknown"),
        ("equilibration_fs = 300", 'forces = "gap"', "forces 'gap' are unknown"),
        ('"fcc"', '"fcd"', "lattice 'fcd' is unknown; expected one of sc, bcc, fcc"),
        ('"Al"', '"Xx"', "Xx"),
        ("lattice_constant_bohr = 7.65", "lattice_constant_bohr = 75", "no energy minimum"),
        ('family = "gth-pbe"', "", "pseudopotentials have family = None"),
        ('family = "gth-pbe"', 'folder = "missing"', "no pseudopotential folder missing"),
    ],
)
def test_a_wrong_recipe_ends_with_a_message_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    message: str,
) -> None:
    file = tmp_path / "r.toml"
    assert old in RECIPE
    file.write_text(RECIPE.format(output=tmp_path / "set").replace(old, new))
    assert run_command(monkeypatch, "generate", file) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
