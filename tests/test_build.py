"""Laws of built supercells: they are like the dynamics of their blocks; a seed is a structure; work is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.neighborlist import neighbor_list

from rhoscale.ase_bridge import read_system, to_atoms
from rhoscale.errors import FormatError, InputError, OutputError, StructureError
from rhoscale.recipes import thermal_blocks
from rhoscale.recipes.block_runs import thermal_blocks as run_blocks
from rhoscale.recipes.build import BuildReport, build
from rhoscale.recipes.build_assembly import assemble
from rhoscale.recipes.build_plan import SEAM_CELLS, BuildConfig, block_shape, plan_build
from rhoscale.recipes.thermal_blocks import default_forces, thermal_block
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.thermostat import ScaledCalculator, equilibrium_scale, potential_energy
from rhoscale.structures.alloy import composition_counts
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.structures.pair_distances import pair_distribution
from rhoscale.structures.thermal_tiling import ThermalBlock, tile
from rhoscale.system import System

A = 7.65
AL = crystal("fcc", ["Al"], A)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thermal")


@pytest.fixture(scope="module")
def config(folder: Path) -> BuildConfig:
    return BuildConfig(
        "fcc", A, 900.0, folder / "al.xyz", elements=("Al",), supercell=(13, 9, 11), blocks=2, block_atoms=256,
        vacancies=0.01, seed=1, equilibration_fs=120.0, settling_fs=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(config: BuildConfig) -> BuildReport:
    return build(config)


def test_the_supercell_is_like_the_dynamics(config: BuildConfig, report: BuildReport) -> None:
    likeness = report.likeness
    assert likeness is not None
    assert len(report.system) == 13 * 9 * 11 * 4 - 51
    assert report.system.volume == pytest.approx(13 * 9 * 11 * A**3)
    assert likeness.smallest >= likeness.smallest_of_blocks > 4.0
    assert likeness.rms == pytest.approx(likeness.rms_of_blocks, rel=0.06)
    # no farther from the dynamics than one block is from the other: all of that is the noise of small blocks
    assert likeness.difference < 1.3 * likeness.spread
    plan = plan_build(replace(config, force=True))
    snapshots = [thermal_block(run)[0] for run in plan.runs]
    blocks = [ThermalBlock.from_snapshot(plan.cell, plan.block, snapshot) for snapshot in snapshots]
    sites = supercell(plan.cell, plan.repeats)
    hard, _ = tile(blocks, plan.cell, plan.repeats, 0, np.random.default_rng(0))
    cut = System(sites.cell, sites.positions + hard.displacements.reshape(-1, 3), sites.species)
    assert pair_distribution(cut, 6.0).smallest < likeness.smallest_of_blocks - 0.3  # what the seams are for


def test_every_site_has_one_atom_or_none(report: BuildReport) -> None:
    sites = supercell(AL, (13, 9, 11))
    places = np.rint((report.system.positions - sites.positions[0]) / (A / 2)).astype(int) % (2 * np.array([13, 9, 11]))
    assert len(np.unique(places, axis=0)) == len(report.system)


def test_what_is_written_says_where_it_comes_from(config: BuildConfig, report: BuildReport) -> None:
    told = json.loads((config.output.parent / "al.xyz.json").read_text())
    assert told["build"]["seed"] == 1
    assert told["vacancies"] == 51
    assert told["content"] == report.system.content_hash()
    assert [block["seed"] for block in told["blocks"]] == [run.seed for run in report.plan.runs]
    assert told["blocks"][0]["mean_kinetic_temperature"] > 300
    assert "seed 1; rhoscale build" in config.output.read_text().splitlines()[1]
    back = read_system(config.output)
    np.testing.assert_allclose(back.positions, report.system.positions, atol=1e-8)


def test_a_seed_is_a_structure_and_nothing_is_replaced_unasked(config: BuildConfig, report: BuildReport) -> None:
    with pytest.raises(OutputError, match="exists already"):
        build(config)
    again = build(replace(config, force=True))
    assert np.array_equal(again.system.positions, report.system.positions)
    plan = plan_build(replace(config, force=True))
    snapshots = [thermal_block(run)[0] for run in plan.runs]
    other = assemble(replace(plan, config=replace(config, seed=2)), snapshots)
    assert not np.array_equal(other.system.positions, report.system.positions)


def test_a_killed_block_goes_on_and_ends_where_it_would_have(
    report: BuildReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(report.plan.runs[0], folder=tmp_path)
    monkeypatch.setattr(thermal_blocks, "CHECKPOINT_EVERY", 50)

    def killed_at(step: int) -> None:
        if step == 75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        thermal_block(run, killed_at)
    assert not run.done
    steps: list[int] = []
    snapshot, _ = thermal_block(run, steps.append)
    assert steps[0] == 51
    unbroken, _ = thermal_block(report.plan.runs[0])
    np.testing.assert_array_equal(snapshot.positions, unbroken.positions)
    assert [p.name for p in tmp_path.iterdir()] == [run.file.name]


def stored(system: System) -> float:
    """Potential energy above that of the perfect crystal, in 3/2 k_B T of 900 K an atom."""
    emt = classical_calculator("emt")
    forces = ScaledCalculator(emt, equilibrium_scale(emt, AL))
    energies = [potential_energy(forces, to_atoms(s)) / len(s) for s in (system, AL)]
    return (energies[0] - energies[1]) / (1.5 * units.kB * 900.0)


def test_settling_takes_out_what_seams_have_too_much(tmp_path: Path) -> None:
    config = BuildConfig(
        "fcc", A, 900.0, tmp_path / "al.npz", elements=("Al",), supercell=(16, 13, 13), blocks=4, block_atoms=256,
        seed=6, equilibration_fs=300.0, settling_fs=0.0,
    )  # fmt: skip
    tiled = build(config)
    rough, blocks = stored(tiled.system), [stored(thermal_block(run)[0]) for run in tiled.plan.runs]
    settled = build(replace(config, settling_fs=None, force=True))
    assert settled.plan.settling is not None
    assert settled.plan.settling.steps == 100
    assert settled.likeness is not None
    assert rough > np.mean(blocks) + 0.03
    assert rough > 1.04
    assert stored(settled.system) == pytest.approx(1.015, abs=0.015)  # as of long dynamics: benchmarks/thermostats.py
    assert sorted(p.name for p in (tmp_path / "thermal-blocks").iterdir()) == sorted(
        r.file.name for r in tiled.plan.runs
    )
    assert json.loads(config.sidecar.read_text())["settling"]["equilibration_fs"] == 100.0
    assert "100 steps of the whole supercell" in str(settled.plan)
    ase = "ase.calculators.emt:EMT"
    for change in ({"forces": ase}, {"supercell": None, "atoms": 300_000}, {"settling_fs": 0.4}):
        assert plan_build(replace(config, **{"force": True, "settling_fs": None, **change})).settling is None


def test_an_alloy_has_its_composition_and_its_bond_lengths(tmp_path: Path) -> None:
    config = BuildConfig(
        "diamond", 10.5, 300.0, tmp_path / "sige.npz", alloy={"Si": 0.6, "Ge": 0.4}, supercell=(31, 1, 1), blocks=4,
        block_atoms=48, vacancies=0.03, seed=3, equilibration_fs=60.0, timestep_fs=2.0, settling_fs=0.0,
    )  # fmt: skip
    report = build(config)
    counts = {e: int(np.count_nonzero(report.system.species == e)) for e in ("Si", "Ge")}
    assert counts == dict(zip(("Si", "Ge"), composition_counts(config.alloy, 248 - 7).tolist(), strict=True))
    plan = report.plan

    def bond_lengths(systems: list[System]) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], list[float]] = {}
        for system in systems:
            i, j, d = neighbor_list("ijd", to_atoms(system), 2.9)
            for a, b, length in zip(system.species[i], system.species[j], d, strict=True):
                found.setdefault((min(a, b), max(a, b)), []).append(float(length))
        return {pair: float(np.mean(lengths)) for pair, lengths in found.items()}

    dynamics = bond_lengths([thermal_block(run)[0] for run in plan.runs])
    tiled = bond_lengths([report.system])
    assert dynamics["Si", "Si"] + 0.03 < dynamics["Ge", "Si"] < dynamics["Ge", "Ge"] - 0.03
    for pair, length in dynamics.items():
        assert tiled[pair] == pytest.approx(length, abs=0.02)
    assert report.likeness is not None
    assert report.likeness.smallest >= report.likeness.smallest_of_blocks
    assert 0 < report.likeness.exchanged < 25


def test_a_cell_that_costs_no_more_than_the_blocks_is_dynamics_itself(tmp_path: Path) -> None:
    config = BuildConfig(
        "fcc", A, 600.0, tmp_path / "al.npz", elements=("Al",), supercell=(3, 2, 2), vacancies=0.05, seed=7,
        equilibration_fs=20.0,
    )  # fmt: skip
    plan = plan_build(config)
    assert plan.single
    report = build(config)
    assert len(report.system) == 48 - 2
    assert report.likeness is None
    assert np.array_equal(report.system.positions, thermal_block(plan.runs[0])[0].positions)


def test_a_block_is_as_cubic_as_the_supercell_allows() -> None:
    cube = (1.0, 1.0, 1.0)
    assert block_shape((70, 70, 70), 4, 2000, cube) == (8, 8, 8)
    assert block_shape((70, 70, 70), 8, 2000, cube) in ((7, 6, 6), (7, 7, 6))
    assert block_shape((1, 1, 5000), 8, 2000, cube) == (1, 1, 250)
    assert block_shape((3, 3, 3), 4, 2000, cube) == (3, 3, 3)
    assert block_shape((70, 70, 70), 4, 2000, (1.0, 1.0, 2.0)) == (10, 10, 5)


def test_any_crystal_from_a_file_is_tiled_from_blocks(tmp_path: Path) -> None:
    hexagonal = bulk("Al", "hcp", a=2.86, c=4.67)  # as dense as fcc aluminium
    hexagonal.write(tmp_path / "POSCAR")
    output = tmp_path / "al.xyz"
    config = BuildConfig(
        None, None, 300.0, output, structure=tmp_path / "POSCAR", atoms=2000, blocks=2, block_atoms=250,
        vacancies=0.01, seed=2, equilibration_fs=60.0, timestep_fs=2.0,
    )  # fmt: skip
    plan = plan_build(config)
    assert plan.repeats == (12, 12, 7)
    assert plan.block == (6, 6, 4)
    report = build(config)
    assert len(report.system) == 2016 - 20
    assert report.likeness is not None
    assert report.likeness.smallest >= report.likeness.smallest_of_blocks > 4.5
    assert report.likeness.rms == pytest.approx(report.likeness.rms_of_blocks, rel=0.1)
    assert report.likeness.difference < 0.1
    assert np.allclose(read_system(output).cell, supercell(plan.cell, plan.repeats).cell, atol=1e-6)
    for change in ({"lattice": "fcc"}, {"elements": ("Al",)}, {"structure": None}, {"structure": tmp_path / "no"}):
        with pytest.raises((InputError, FormatError)):
            plan_build(replace(config, force=True, **change))


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    good = BuildConfig("fcc", A, 600.0, tmp_path / "a.xyz", elements=("Al",), atoms=100000)
    assert plan_build(good).repeats == (29, 29, 29)
    for change, kind in (
        ({"elements": ()}, InputError),
        ({"alloy": {"Al": 1.0}}, InputError),
        ({"supercell": (2, 2, 2)}, InputError),
        ({"temperature": 0.0}, InputError),
        ({"vacancies": 1.0}, InputError),
        ({"settling_fs": -1.0}, InputError),
        ({"lattice": "fcd"}, StructureError),
        ({"elements": ("Al", "Mg")}, StructureError),
        ({"elements": ("Mg",)}, InputError),
        ({"block_atoms": 20}, InputError),
        ({"output": tmp_path / "a.pdb"}, OutputError),
        ({"elements": (), "alloy": {"Si": 0.7, "Ge": 0.7}}, StructureError),
    ):
        with pytest.raises(kind):
            plan_build(replace(good, **change))
    assert [default_forces(e) for e in (("Si", "Ge"), ("C",), ("Al", "Cu"))] == ["tersoff", "tersoff", "emt"]
    assert list(tmp_path.iterdir()) == []
    assert SEAM_CELLS == 2


def test_the_command_plans_builds_and_refuses(tmp_path: Path) -> None:
    def rhoscale(*words: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from rhoscale.cli.app import main; sys.argv = sys.argv[1:]; main()"
        command = [sys.executable, "-c", code, "rhoscale", "build", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)

    words = ("--lattice", "fcc", "--elements", "Al", "--constant", "7.65", "--supercell", "2", "2", "2")
    words += ("--temperature", "300", "--equilibration", "10", "--out", "al.xyz")
    planned = rhoscale(*words, "--dry-run")
    assert "32 atoms on 2 x 2 x 2 cells of fcc, dynamics of the whole cell" in planned.stdout
    assert list(tmp_path.iterdir()) == []
    assert "wrote al.xyz" in rhoscale(*words).stdout
    assert read_system(tmp_path / "al.xyz").formula == "Al32"
    for more in ((), ("--force", "--alloy", "Si:1"), ("--force", "--elements", "Al,Mg")):
        refused = rhoscale(*words, *more)
        assert refused.returncode == 2
        assert "error: " in refused.stderr
        assert "Traceback" not in refused.stderr


def test_blocks_are_the_same_on_any_number_of_cores_and_stop_with_the_first_that_fails(
    report: BuildReport, tmp_path: Path
) -> None:
    runs = [replace(run, folder=tmp_path / "two") for run in report.plan.runs]
    alone = [snapshot for snapshot, _ in run_blocks([replace(run, folder=tmp_path / "one") for run in runs], cores=1)]
    told: list[tuple[int, int]] = []
    together = run_blocks(runs, lambda *done: told.append(done), cores=2)
    for one, (other, record) in zip(alone, together, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert record["start"] == runs[0].start.content_hash()
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (240, 240)

    def killed(done: int, _: int) -> None:
        if done >= 130:
            raise KeyboardInterrupt

    again = [replace(run, folder=tmp_path / "killed") for run in runs]
    with pytest.raises(KeyboardInterrupt):
        run_blocks(again, killed, cores=2)
    assert not any(run.done for run in again)
    for one, (other, _) in zip(alone, run_blocks(again, cores=2), strict=True):
        assert np.array_equal(one.positions, other.positions)
