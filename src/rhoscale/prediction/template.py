"""The template of a prediction's store: every array with its shape, and no values but those of the atoms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import BloscCodec

from rhoscale.descriptors.neighbours import CellList, periodic_cell_list
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.statistics import BINS, QUANTITIES, STATISTICS, bin_edges
from rhoscale.sharp import SharpPart
from rhoscale.system import System

FORMAT = "rhoscale-prediction-4"
DEVIATIONS = ("aleatoric", "epistemic")
DEVIATION_UNIT = 2.0**-10  # keeps deviations from 6e-8 to 64 e/Bohr^3 in the normal range of float16
ATOMS_PER_CHUNK = 2**18


def write_template(
    location: str | Store,
    plan: PredictionPlan,
    system: System,
    about: Mapping[str, Any],
    sharp: SharpPart | None,
) -> zarr.Group:
    """Create all arrays with their shapes and attributes; of values only the atoms and the sharp part.

    Args:
        location: Folder or Zarr store.
        plan: What is going to be predicted.
        system: The structure.
        about: Plain values for the attributes.
        sharp: Sharp part, or None.
    """
    elements, species = np.unique(system.species, return_inverse=True)
    group = zarr.create_group(location, zarr_format=3)
    group.attrs.update(
        {
            "format": FORMAT,
            "complete": False,
            "units": {"density": "electrons/Bohr^3", "length": "Bohr"},
            "values": "number in the array x scale_factor in its attributes, at (i/nx) a1 + (j/ny) a2 + (k/nz) a3",
            "cell": [list(row) for row in plan.cell],
            "elements": [str(e) for e in elements],
            "tile_columns": list(STATISTICS),
            "plan": plan.to_dict(),
            **about,
        }
    )
    for name, dtype, factor in _fields(plan):
        group.create_array(
            name,
            shape=plan.compute_shape,
            shards=plan.tile_shape,
            chunks=plan.chunk_shape,
            dtype=dtype,
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
            fill_value=float("nan"),
            dimension_names=("a1", "a2", "a3"),
            attributes={"units": "electrons/Bohr^3", "scale_factor": factor},
        )
    atoms = min(len(system), ATOMS_PER_CHUNK)
    positions = group.create_array("positions", shape=(len(system), 3), chunks=(atoms, 3), dtype="float64")
    positions[:] = system.positions
    positions.attrs["units"] = "Bohr"
    group.create_array("species", shape=(len(system),), chunks=(atoms,), dtype="uint8")[:] = species.astype(np.uint8)
    _write_cell_list(group, periodic_cell_list(system, system.elements))
    if sharp is not None:
        _write_sharp_part(group, sharp)
    columns, rows = len(STATISTICS), (len(QUANTITIES), BINS)
    group.create_array(
        "tiles", shape=(plan.n_tiles, columns), chunks=(1, columns), dtype="float64", fill_value=float("nan")
    )
    group.create_array(
        "histograms",
        shape=(plan.n_tiles, *rows),
        chunks=(1, *rows),
        dtype="uint32",
        attributes={"quantities": list(QUANTITIES), "edges": bin_edges().tolist(), "values": "raw, not rescaled"},
    )
    return group


def _write_sharp_part(group: zarr.Group, part: SharpPart) -> None:
    folder = group.create_group("sharp", attributes={"elements": list(part.elements)})
    for name, values in part.to_arrays().items():
        units: dict[str, Any] = {"units": "electrons/Bohr^3"}
        folder.create_array(name, shape=values.shape, dtype="float64", attributes=units)[:] = values


def _write_cell_list(group: zarr.Group, atoms: CellList) -> None:
    """Each array in one chunk without compression, which is a plain file that can be mapped."""
    folder = group.create_group("cell_list")
    for name, dtype in (("positions", "float64"), ("order", "int64"), ("starts", "int64")):
        values = getattr(atoms, name)
        whole = {"chunks": values.shape, "compressors": None, "config": {"write_empty_chunks": True}}
        array = folder.create_array(name, shape=values.shape, dtype=dtype, **whole)
        array[:] = values
    folder["starts"].attrs["bins"] = [int(n) for n in atoms.counts]


def _fields(plan: PredictionPlan) -> Iterator[tuple[str, str, float]]:
    yield "density", "float32", 1.0
    if plan.uncertainty:
        for name in DEVIATIONS:
            yield name, "float16", DEVIATION_UNIT
