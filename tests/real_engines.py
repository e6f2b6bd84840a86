"""The engines that can be used here, parametrisations of tests over them, and crystals for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rhoscale.engines.available import find_engines, make_engine
from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.system import System

STATUS = {status.name: status for status in find_engines()}
ALUMINIUM = {"Al": gth_pseudopotential("Al")}
HALF = 7.65 / 2
PRIMITIVE = System(np.array([[0, HALF, HALF], [HALF, 0, HALF], [HALF, HALF, 0]]), np.zeros((1, 3)), np.array(["Al"]))
MESH = DFTSettings(cutoff=7.5, kmesh=(2, 2, 2), kshift=(1, 1, 1), smearing="cold", width=0.04, density_cutoff=20.0)


def usable(name: str) -> str:
    """The name of an engine, or a skip that says why it cannot be used."""
    status = STATUS[name]
    if not status.usable:
        pytest.skip(f"engine {name} is not usable here: {status.hint}")
    return name


every_engine = pytest.mark.parametrize(
    "name", [pytest.param("pw.x", marks=pytest.mark.dft), pytest.param("qepy", marks=pytest.mark.dft), "toy"]
)
dft_engines = pytest.mark.parametrize("name", ["pw.x", "qepy"])


def made(name: str, settings: DFTSettings, scratch: Path) -> Engine:
    return make_engine(usable(name), settings, ALUMINIUM, scratch=scratch)


def cubic_aluminium(seed: int = 0) -> System:
    positions = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * HALF
    shifts = np.random.default_rng(seed).normal(0, 0.2, (4, 3))
    return System(np.diag([7.65, 7.7, 7.6]), positions + shifts, np.array(["Al"] * 4))
