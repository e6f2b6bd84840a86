"""Coarser copies of a finished field for viewing: each point of a level is the mean of the eight below it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from rhoscale.grid import Shape
from rhoscale.prediction.one_tile import round_to_step
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.template import DEVIATION_UNIT
from rhoscale.prediction.tiles import Tile, cut

Float32Array = NDArray[np.float32]

SMALL_ENOUGH = 128  # points along the longest edge: what any viewer shows at once
BOX = 64  # points of a level along an edge that are made and compressed together
UNITS = {"density": ("float32", 1.0), "total": ("float16", DEVIATION_UNIT)}


def write_levels(store: PredictionStore, factor: float, *, threads: int = 1, small_enough: int = SMALL_ENOUGH) -> None:
    """Write density and total deviation on half the points along each axis, a quarter and so on.

    They are arrays ``levels/1/density``, ``levels/1/total``, ...; the attribute ``multiscales`` lists them as OME-Zarr
    does, with lengths along the cell vectors in Bohr. They are means, no samples: to compute, refine the field itself.

    Args:
        store: All tiles are written.
        factor: From raw to rescaled values.
        threads: Boxes at a time.
        small_enough: Points along the longest edge at which no further level is made.

    Raises:
        OutputError: No space left, or no permission.
    """
    names = ("density", "total") if store.plan.uncertainty else ("density",)
    shapes = [store.plan.compute_shape]
    while max(shapes[-1]) > small_enough:
        n0, n1, n2 = shapes[-1]
        shapes.append((-(-n0 // 2), -(-n1 // 2), -(-n2 // 2)))
        for name in names:
            with store.writing():
                _write_level(store, name, len(shapes) - 1, shapes[-1], factor, threads)
    if len(shapes) > 1:
        with store.writing():
            store.group.attrs["multiscales"] = [_multiscale(store, name, len(shapes)) for name in names]


def _write_level(store: PredictionStore, name: str, level: int, shape: Shape, factor: float, threads: int) -> None:
    dtype, unit = UNITS[name]
    array = store.group.create_array(
        f"levels/{level}/{name}",
        shape=shape,
        chunks=tuple(min(BOX, n) for n in shape),
        dtype=dtype,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        dimension_names=("a1", "a2", "a3"),
        attributes={"units": "electrons/Bohr^3", "scale_factor": factor * unit},
        overwrite=True,
    )
    read = _reader(store, name, level - 1)

    def write(box: Tile) -> None:
        values = _halve(read(box))
        if name == "density" and store.plan.density_step:
            round_to_step(values, store.plan.density_step)
        array[box.region] = values.astype(dtype)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, cut(shape, (BOX, BOX, BOX))))


def _reader(store: PredictionStore, name: str, level: int) -> Callable[[Tile], Float32Array]:
    """Stored numbers of a level below a box of the level above; the total deviation of the field from its two parts."""

    def read(path: str, box: Tile) -> Float32Array:
        i, j, k = (slice(2 * part.start, 2 * part.stop) for part in box.region)
        return np.asarray(store.array(path)[i, j, k]).astype(np.float32)

    if level > 0:
        return lambda box: read(f"levels/{level}/{name}", box)
    if name == "density":
        return lambda box: read("density", box)
    return lambda box: np.hypot(read("aleatoric", box), read("epistemic", box))


def _halve(values: Float32Array) -> Float32Array:
    """Means of pairs along each axis; a last point without a partner stands for itself."""
    for axis in (0, 1, 2):
        first = np.moveaxis(values, axis, 0)[0::2]
        means = first.copy(order="K")
        second = np.moveaxis(values, axis, 0)[1::2]
        means[: len(second)] += second
        means[: len(second)] *= np.float32(0.5)
        values = np.moveaxis(means, 0, axis)
    return values


def _multiscale(store: PredictionStore, name: str, levels: int) -> dict[str, Any]:
    spacings = np.array(store.plan.grid.spacings)
    paths = [name] if name == "density" else []  # the total of the field itself is not stored
    paths += [f"levels/{level}/{name}" for level in range(1, levels)]
    first = levels - len(paths)
    return {
        "name": name,
        "type": "mean",
        "axes": [{"name": axis, "type": "space"} for axis in ("a1", "a2", "a3")],
        "datasets": [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": (2.0**level * spacings).tolist()},
                    {"type": "translation", "translation": (0.5 * (2.0**level - 1.0) * spacings).tolist()},
                ],
            }
            for level, path in enumerate(paths, start=first)
        ],
    }
