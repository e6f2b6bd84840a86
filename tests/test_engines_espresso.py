"""Quantum ESPRESSO's files, and what becomes of runs that fail; no DFT program is needed."""

import os
import re
import shutil
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rhoscale.engines.espresso_input import DEFAULT_SELF_CONSISTENCY, pw_input
from rhoscale.engines.espresso_output import read_output
from rhoscale.engines.espresso_program import EspressoProgram
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.errors import EngineError, FormatError, InputError, StructureError
from rhoscale.formats.espresso import read_charge_density_dat
from rhoscale.system import System

RECORDED = Path(__file__).parent / "data" / "espresso"  # pw.x 6.7: Ge and Si in a triclinic cell, GTH-PBE, 5 Ry
SYSTEM = System(
    np.array([[7.0, 0.3, -0.2], [1.1, 7.6, 0.4], [0.5, -0.9, 8.1]]),
    np.array([[0.1, 0.2, 0.3], [3.3, 3.6, 4.4]]),
    np.array(["Ge", "Si"]),
)
GAMMA = DFTSettings(cutoff=2.5, smearing="cold", width=0.01)
FILES = {element: gth_pseudopotential(element) for element in ("Si", "Ge")}

# The same densities as pp.x (plot_num = 0, cube, 9 x 12 x 12) prints them: electrons per Bohr^3 to 6 decimals.
POINTS = ((3, 5, 7), (8, 2, 1), (0, 0, 0), (2, 9, 4))
PP_VALUES = {"gamma": (0.04245, 0.040716, 0.016619, 0.039289), "mesh": (0.032255, 0.034365, 0.014855, 0.029867)}


@pytest.mark.parametrize("case", ["gamma", "mesh"])
def test_density_values_are_those_of_the_programs_own_postprocessing(case: str) -> None:
    density = read_charge_density_dat(RECORDED / f"{case}.save" / "charge-density.dat").density
    values = density.on_grid((9, 12, 12)).values
    assert np.ptp(values) > 0.02
    assert [values[p] for p in POINTS] == pytest.approx(PP_VALUES[case], abs=5.1e-7)
    assert density.electrons == pytest.approx(8.0, abs=1e-8)
    assert np.allclose(density.cell, SYSTEM.cell, atol=1e-8)


def test_output_of_a_gamma_run() -> None:
    output = read_output(RECORDED / "gamma.save" / "data-file-schema.xml")
    assert output.version == "PWSCF 6.7MaX"
    assert output.functional == "PBE"
    assert output.converged
    assert output.iterations == 10
    assert output.electrons == 8.0
    assert output.fermi == pytest.approx(1.029044498371078e-1)
    assert output.energies["total"] == pytest.approx(-7.348147109503472)
    assert output.forces is not None
    assert output.forces[0] == pytest.approx([1.519230910076829e-2, -4.539425917215838e-3, -6.518132531471221e-3])
    assert np.allclose(output.system.cell, SYSTEM.cell)
    assert np.allclose(output.system.positions, SYSTEM.positions)
    assert output.kpoints.tolist() == [[0.0, 0.0, 0.0]]


def test_kpoints_come_in_units_of_the_reciprocal_vectors() -> None:
    output = read_output(RECORDED / "mesh.save" / "data-file-schema.xml")  # 2 x 1 x 2, first axis shifted
    assert np.allclose(output.kpoints, [[0.25, 0, 0], [0.25, 0, -0.5]], atol=1e-12)
    assert output.weights == pytest.approx([0.5, 0.5])
    occupied = output.weights @ (2 * output.occupations).sum(axis=1)
    assert occupied == pytest.approx(8.0, abs=1e-6)
    band = output.weights @ (2 * output.occupations * output.eigenvalues).sum(axis=1)
    assert band == pytest.approx(output.energies["band"], abs=1e-7)


def test_unfinished_output_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data-file-schema.xml"
    text = (RECORDED / "gamma.save" / "data-file-schema.xml").read_text()
    file.write_text(text[: len(text) // 2])
    with pytest.raises(FormatError, match="cannot be read"):
        read_output(file)
    file.write_text(re.sub("<total_energy>.*</total_energy>", "", text, flags=re.DOTALL))
    with pytest.raises(FormatError, match="lacks"):
        read_output(file)


def test_input_keeps_coordinates_to_twelve_digits_and_the_threshold_counts_electrons() -> None:
    identities = {element: file.identity for element, file in FILES.items()}
    names = {element: file.filename for element, file in FILES.items()}
    system = System(SYSTEM.cell, SYSTEM.positions + np.pi / 7, SYSTEM.species)
    text = pw_input(system, GAMMA, identities, names, self_consistency=DEFAULT_SELF_CONSISTENCY)
    atoms = text.split("ATOMIC_POSITIONS bohr\n")[1].splitlines()[:2]
    written = np.array([[float(word) for word in line.split()[1:]] for line in atoms])
    assert np.abs(written - system.positions).max() < 1e-12
    threshold = re.search(r"conv_thr = (\S+)", text)
    assert threshold is not None
    assert float(threshold.group(1)) == pytest.approx(GAMMA.convergence * 8 * 2)
    assert "K_POINTS gamma" in text
    assert "startingwfc = 'random'" in text


def test_a_mesh_may_be_shifted_by_a_quarter_step() -> None:
    identities = {element: file.identity for element, file in FILES.items()}
    names = {element: file.filename for element, file in FILES.items()}
    one = replace(GAMMA, kshift=(0.5, 0.5, 0.5))
    assert not one.gamma_only
    assert one.sampling == "1x1x1 shifted by a quarter step"
    text = pw_input(SYSTEM, one, identities, names, self_consistency=DEFAULT_SELF_CONSISTENCY)
    assert text.endswith("K_POINTS crystal\n  1\n  0.25 0.25 0.25 1.0\n")
    assert "startingwfc" not in text  # the program's own choice: atomic orbitals
    two = replace(one, kmesh=(1, 1, 2), kshift=(0, 0.5, 1))
    text = pw_input(SYSTEM, two, identities, names, self_consistency=DEFAULT_SELF_CONSISTENCY)
    assert text.endswith("K_POINTS crystal\n  2\n  0 0.25 0.25 1.0\n  0 0.25 0.75 1.0\n")


def test_a_quarter_step_makes_a_body_centred_mesh_of_twice_the_points() -> None:
    identities = {element: file.identity for element, file in FILES.items()}
    names = {element: file.filename for element, file in FILES.items()}
    quarter = replace(GAMMA, kmesh=(2, 2, 2), kshift=(0.5, 0.5, 0.5))
    text = pw_input(SYSTEM, quarter, identities, names, self_consistency=DEFAULT_SELF_CONSISTENCY)
    lines = text.split("K_POINTS crystal\n")[1].splitlines()[1:]
    half = 8 * np.array([[float(x) for x in line.split()[:3]] for line in lines])
    points = np.concatenate([half, -half]) % 8  # time reversal; in eighths of the reciprocal vectors
    steps = (points - points[0]) % 8
    centred = {tuple(x) for c in (0, 2) for x in c + 4.0 * np.indices((2, 2, 2)).reshape(3, -1).T}
    assert {tuple(x) for x in steps} == centred
    assert quarter.kpoints == len(half) == 8


def test_whole_shifts_are_one_setting_however_they_are_written() -> None:
    assert replace(GAMMA, kshift=(1.0, 0.0, 1.0)) == replace(GAMMA, kshift=(1, 0, 1))
    assert str(replace(GAMMA, kshift=(1.0, 0.0, 0.5)).kshift) == "(1, 0, 0.5)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cutoff": 0.0}, "cutoff = 0.0; expected a positive number; change it"),
        ({"cutoff": np.inf}, "cutoff = inf, .*; expected finite numbers, .*; change them"),
        ({"convergence": np.nan}, "convergence = nan; expected a positive number; change it"),
        ({"density_cutoff": -1.0}, "density_cutoff = -1.0; expected a positive number; change it"),
        ({"max_iterations": 0}, "max_iterations = 0; expected a positive number; change it"),
        ({"width": -0.1}, "width = -0.1 .*; expected finite numbers, the width 0 or more; change them"),
        ({"width": np.nan}, "width = nan .*; expected finite numbers, the width 0 or more; change them"),
        ({"smearing": "hot"}, "smearing = 'hot'; expected one of fermi-dirac, .*; choose one"),
        ({"kmesh": (0, 1, 1)}, r"kmesh = \(0, 1, 1\) .*; expected three counts of 1 or more .*; change them"),
        ({"kshift": (0, 2, 0)}, r"kshift = \(0, 2, 0\); expected three counts .* shifts of 0, 1/2 or 1; change them"),
        ({"kshift": (0, np.nan, 0)}, r"kshift = \(0, nan, 0\); expected three counts .*; change them"),
    ],
)
def test_impossible_settings_say_what_is_possible(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GAMMA, **values)


def program(tmp_path: Path, script: str) -> Path:
    """A shell script in the place of pw.x; $SAVE is the folder where results belong, $RECORDED holds real ones."""
    path = tmp_path / "pw.x"
    path.write_text(f"#!/bin/sh\nSAVE=out/rhoscale.save\nRECORDED={RECORDED}/gamma.save\nmkdir -p $SAVE\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def engine(tmp_path: Path, script: str, *, keep_files: bool = False) -> EspressoProgram:
    return EspressoProgram(
        GAMMA, FILES, program=program(tmp_path, script), scratch=tmp_path / "scratch", keep_files=keep_files
    )


def test_a_good_run_is_read_whole_and_leaves_no_files(tmp_path: Path) -> None:
    state = engine(tmp_path, "cp $RECORDED/* $SAVE").ground_state(SYSTEM)
    assert state.electrons == 8.0
    assert state.density.electrons == pytest.approx(8.0, abs=1e-8)
    assert state.density.cutoff == GAMMA.density_cutoff
    assert set(state.pseudopotentials) == {"Ge", "Si"}
    assert state.engine == "pw.x (PWSCF 6.7MaX)"
    assert state.wall_seconds > 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_kept_files_hold_input_and_pseudopotentials(tmp_path: Path) -> None:
    engine(tmp_path, "cp $RECORDED/* $SAVE", keep_files=True).ground_state(SYSTEM)
    (folder,) = (tmp_path / "scratch").iterdir()
    assert "nosym = .true." in (folder / "pw.in").read_text()
    for file in FILES.values():
        assert (folder / "pseudo" / file.filename).read_text() == file.text


UNCONVERGED = "sed -i s@achieved.true@achieved\\>false@ $SAVE/data-file-schema.xml"
FAILURES = {
    "exit code": ("echo computing; echo stopping ...; exit 1", "exit code 1"),
    "killed": ("echo computing; kill -9 $$", "killed by signal SIGKILL"),
    "crashed": ("kill -SEGV $$", "killed by signal SIGSEGV"),
    "nothing written": ("exit 0", "no readable result"),
    "not converged": (
        "cp $RECORDED/* $SAVE; echo convergence NOT achieved after 3 iterations: stopping",
        "consistency",
    ),
    "not converged in the result": ("cp $RECORDED/* $SAVE; " + UNCONVERGED, "consistency"),
    "truncated result": (
        "head -c 5000 $RECORDED/data-file-schema.xml > $SAVE/data-file-schema.xml",
        "no readable result",
    ),
    "truncated density": (
        "cp $RECORDED/* $SAVE; head -c 9000 $RECORDED/charge-density.dat > $SAVE/charge-density.dat",
        "unusable density",
    ),
    "no density": ("cp $RECORDED/data-file-schema.xml $SAVE", "unusable density"),
    "another valence": (
        "cp $RECORDED/* $SAVE; sed -i 's@<nelec>8@<nelec>9@' $SAVE/data-file-schema.xml",
        "counted 9 electrons",
    ),
    "other atoms": (
        'cp $RECORDED/* $SAVE; sed -i \'s@<atom name="Ge"@<atom name="Si"@\' $SAVE/data-file-schema.xml',
        "Si2 instead of Ge1Si1",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_run_is_an_error_that_keeps_its_log(case: str, tmp_path: Path) -> None:
    script, reason = FAILURES[case]
    with pytest.raises(EngineError, match=reason) as caught:
        engine(tmp_path, script).ground_state(SYSTEM)
    (folder,) = (tmp_path / "scratch").iterdir()
    assert str(folder) in str(caught.value)
    assert (folder / "pw.out").exists()
    assert (folder / "pw.in").exists()
    if case == "exit code":
        assert "  | stopping ..." in str(caught.value)


def test_processor_time_of_the_program_is_counted(tmp_path: Path) -> None:
    busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; cp $RECORDED/* $SAVE"
    assert engine(tmp_path, busy).ground_state(SYSTEM).cpu_seconds > 0.01


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"nowhere/pw\.x"):
        EspressoProgram(GAMMA, FILES, program=tmp_path / "nowhere" / "pw.x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"on PATH.*apt install quantum-espresso"):
        EspressoProgram(GAMMA, FILES)


def test_program_that_vanishes_is_an_engine_error(tmp_path: Path) -> None:
    one = engine(tmp_path, "true")
    (tmp_path / "pw.x").unlink()
    with pytest.raises(EngineError, match="cannot be started"):
        one.ground_state(SYSTEM)


def test_scratch_folder_that_cannot_be_made_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("a file is in the way")
    with pytest.raises(EngineError, match="scratch folder"):
        engine(tmp_path, "true").ground_state(SYSTEM)


def test_element_without_pseudopotential_is_refused_before_anything_runs(tmp_path: Path) -> None:
    other = System(SYSTEM.cell, SYSTEM.positions, np.array(["Ge", "C"]))
    with pytest.raises(StructureError, match="C"):
        engine(tmp_path, "true").ground_state(other)
    assert not (tmp_path / "scratch").exists()


def test_an_interrupt_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine(tmp_path, "echo $$ > pid; exec sleep 60")
    wait4, asked = os.wait4, []

    def interrupted(pid: int, _options: int) -> tuple[int, int, object]:
        asked.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.ground_state(SYSTEM)
    monkeypatch.setattr(os, "wait4", wait4)
    with pytest.raises(ProcessLookupError):
        os.kill(asked[0], 0)


def test_runs_side_by_side_do_not_share_files(tmp_path: Path) -> None:
    one = engine(tmp_path, "cp pw.in $SAVE/mine; sleep 0.2; cmp pw.in $SAVE/mine && cp $RECORDED/* $SAVE")
    ended: list[float] = []
    threads = [threading.Thread(target=lambda: ended.append(one.ground_state(SYSTEM).electrons)) for _ in range(4)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [8.0] * 4
    assert time.monotonic() - started < 30
    shutil.rmtree(tmp_path / "scratch")
