"""The store of a prediction: Zarr version 3, template first, every tile written once and whole."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from rhoscale.descriptors.neighbours import CellList
from rhoscale.errors import FormatError, OutputError, StructureError
from rhoscale.prediction.one_tile import TilePrediction
from rhoscale.prediction.plan import GIB, PredictionPlan
from rhoscale.prediction.template import DEVIATION_UNIT, DEVIATIONS, FORMAT, write_template
from rhoscale.sharp import SharpPart
from rhoscale.system import PseudopotentialIdentity, System

LARGEST_FLOAT16 = 65504.0
_WHOLE = "expected the whole store as it was written; copy it again or predict again"
TILES_AT_ONCE = 256


@dataclass(frozen=True)
class PredictionStore:
    """A prediction on disk (or in memory), finished or not.

    The arrays hold what the model gave, on the compute grid; value = stored number x ``scale_factor`` of the array,
    which carries the unit of the deviations and, once finished, the rescaling to the electron count.
    The row of a tile in the array ``tiles`` is written last: a tile without it counts as not done. The atoms are there
    twice: as they were given, and sorted into a cell list in plain files that workers map.

    Attributes:
        location: Folder, or None for a store in memory.
        group: The Zarr group.
        plan: What was decided before the start.
    """

    location: Path | None
    group: zarr.Group
    plan: PredictionPlan

    @classmethod
    def create(
        cls,
        location: str | Path | Store,
        plan: PredictionPlan,
        system: System,
        about: Mapping[str, Any],
        sharp: SharpPart | None = None,
    ) -> PredictionStore:
        """Write the template: all arrays with their shapes, no values.

        Args:
            location: Folder that does not exist yet, or a Zarr store.
            plan: What is going to be predicted.
            system: The structure.
            about: Plain values for the attributes: electrons, model, pseudopotentials, provenance.
            sharp: Sharp part, taken out before the field is refined and added after it.

        Raises:
            OutputError: The folder exists or cannot be written, or the disk has too little space.
        """
        if isinstance(location, Store):
            return cls(None, write_template(location, plan, system, about, sharp), plan)
        folder = Path(location)
        if folder.exists():
            raise OutputError(f"{folder} exists already; expected a new name; use --force to replace it")
        refuse_small_disk(folder, plan.disk_bytes)
        temporary = folder.with_name(f".{folder.name}.template")
        with _writing(folder):
            shutil.rmtree(temporary, ignore_errors=True)
            write_template(str(temporary), plan, system, about, sharp)
            temporary.rename(folder)
        return cls.open(folder)

    @classmethod
    def open(cls, location: str | Path | Store) -> PredictionStore:
        """Open a store, finished or not.

        Raises:
            FormatError: There is no such store, or it is something else.
        """
        folder = None if isinstance(location, Store) else Path(location)
        if folder is not None and not folder.is_dir():
            raise FormatError(
                f"no prediction {folder}; expected a folder that `rhoscale predict --out NAME.zarr` wrote"
            )
        try:
            group = zarr.open_group(location, mode="r+")
            attributes: dict[str, Any] = dict(group.attrs.asdict())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # whatever zarr meets in its JSON
            raise FormatError(f"{location} is not a readable Zarr store ({error}); {_WHOLE}") from error
        if attributes.get("format") != FORMAT:
            raise FormatError(
                f"{location} has format {attributes.get('format')!r}; expected {FORMAT!r}; predict again, or use the "
                f"version of rhoscale that wrote it"
            )
        missing = [key for key in _keys(attributes) if key not in attributes]
        if missing:
            raise FormatError(f"{location} does not say its {', '.join(missing)}; {_WHOLE}")
        return cls(folder, group, PredictionPlan.from_dict(attributes["plan"], str(location)))

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store says about itself."""
        return dict(self.group.attrs.asdict())

    def attribute(self, key: str, array: str | None = None) -> Any:
        """One thing that the store, or an array of it, says about itself.

        Raises:
            FormatError: It does not say it.
        """
        said = self.attributes if array is None else self.array(array).attrs.asdict()
        if key not in said:
            raise FormatError(f"{self.location}: {array or 'the store'} does not say its {key}; {_WHOLE}")
        return said[key]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the errors' distribution; infinite (Gaussian) where the store says nothing of it."""
        return self.number("freedom") if "freedom" in self.attributes else math.inf

    @property
    def pseudopotentials(self) -> dict[str, PseudopotentialIdentity]:
        """Identity for each element that was predicted.

        Raises:
            FormatError: The store does not say them.
        """
        said = self.attribute("pseudopotentials")
        try:
            return {str(e): PseudopotentialIdentity.from_dict(p) for e, p in said.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{self.location}: its pseudopotentials are damaged ({error}); {_WHOLE}") from error

    def number(self, key: str, array: str | None = None) -> float:
        """As :meth:`attribute`, for a number."""
        value = self.attribute(key, array)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise FormatError(f"{self.location}: {array or 'the store'} has the {key} {value!r}; {_WHOLE}")
        return float(value)

    @property
    def complete(self) -> bool:
        """Whether every tile is there and the result was rescaled and judged."""
        return bool(self.group.attrs.asdict()["complete"])

    @property
    def system(self) -> System:
        """The structure that was predicted.

        Raises:
            FormatError: Its atoms are not those that were planned: a lost chunk reads as zeros.
        """
        try:
            species = np.array(self.elements)[self.read("species", slice(None))]
            found = System(np.array(self.plan.cell), self.read("positions", slice(None)), species)
        except (StructureError, IndexError) as error:
            raise FormatError(f"{self.location}: positions or species are damaged ({error}); {_WHOLE}") from error
        if found.content_hash() != self.plan.structure:
            raise FormatError(f"{self.location}: a part of positions or species is missing; {_WHOLE}")
        return found

    def array(self, name: str) -> zarr.Array[Any]:
        """One array of the store.

        Raises:
            FormatError: It is missing, or its header is damaged.
        """
        try:
            array = self.group.get(name)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{self.location}: the header of {name} cannot be read ({error}); {_WHOLE}") from error
        if not isinstance(array, zarr.Array):
            raise FormatError(f"{self.location} has no array {name!r}; {_WHOLE}")
        return array

    def read(self, name: str, box: Any) -> NDArray[Any]:
        """Numbers of a box of an array, whole or not at all: what a finished store lacks reads as NaN.

        Raises:
            FormatError: A chunk is missing or damaged.
        """
        try:
            values = np.asarray(self.array(name)[box])
        except (ValueError, RuntimeError) as error:
            raise FormatError(f"{self.location}: {name} cannot be read ({error}); {_WHOLE}") from error
        if self.complete and np.isnan(values).any():
            raise FormatError(f"{self.location}: a part of {name} is missing; {_WHOLE}")
        return values

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols, alphabetical: what kinds of atoms are counted by."""
        return tuple(self.attributes["elements"])

    @property
    def sharp(self) -> SharpPart | None:
        """Sharp part, or None where the field is refined as it is."""
        if "sharp" not in self.group:
            return None
        arrays = {name: self.read(f"sharp/{name}", slice(None)) for name in ("spheres", "bonds")}
        try:
            elements: Any = self.group["sharp"].attrs["elements"]
            return SharpPart(tuple(elements), **arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{self.location}: its sharp part is damaged ({error}); {_WHOLE}") from error

    def cell_list(self) -> CellList:
        """The sorted atoms; of a store on disk their arrays are mapped, so only what is touched is read."""
        cell = np.array(self.plan.cell)
        inverse = np.linalg.inv(cell)
        starts = self._mapped("cell_list/starts")
        return CellList(
            cell=cell,
            inverse=inverse,
            origin=np.zeros(3),
            heights=1.0 / np.linalg.norm(inverse, axis=0),
            volume=float(abs(np.linalg.det(cell))),
            counts=np.array(self.attribute("bins", "cell_list/starts"), dtype=np.int64),
            starts=starts,
            positions=self._mapped("cell_list/positions"),
            order=self._mapped("cell_list/order"),
            periodic=True,
        )

    def _mapped(self, name: str) -> NDArray[Any]:
        """An array that is stored as one plain chunk.

        Raises:
            FormatError: The file is missing or truncated.
        """
        array = self.array(name)
        if self.location is None:
            return np.asarray(array[:])
        file = self.location.joinpath(*name.split("/"), "c", *("0" for _ in array.shape))
        try:
            return np.memmap(file, dtype=array.dtype.newbyteorder("<"), mode="r", shape=array.shape)
        except (OSError, ValueError) as error:
            raise FormatError(f"{self.location}: {name} cannot be read ({error}); {_WHOLE}") from error

    def statistics(self) -> NDArray[np.float64]:
        """One row a tile with the columns ``statistics.STATISTICS``; rows of tiles that are not done are NaN."""
        return np.asarray(self.array("tiles")[:], dtype=np.float64)

    def histograms(self) -> Iterator[NDArray[np.uint32]]:
        """Counts [tiles, 4, bins] of ``statistics.QUANTITIES`` in all tiles, some tiles at a time."""
        array = self.array("histograms")
        for start in range(0, self.plan.n_tiles, TILES_AT_ONCE):
            yield np.asarray(array[start : start + TILES_AT_ONCE])

    def done(self) -> NDArray[np.bool_]:
        """Which tiles are written."""
        return ~np.isnan(self.statistics()[:, 0])

    def write(self, prediction: TilePrediction) -> None:
        """Write one tile whole, its statistics last.

        Raises:
            OutputError: No space left, or no permission. What was written before stays usable.
        """
        with self.writing():
            region = prediction.tile.region
            self.array("density")[region] = prediction.density
            for name in DEVIATIONS if self.plan.uncertainty else ():
                scaled = getattr(prediction, name) * np.float32(1.0 / DEVIATION_UNIT)
                self.array(name)[region] = np.minimum(scaled, LARGEST_FLOAT16).astype(np.float16)
            row = prediction.tile.index
            self.array("histograms")[row : row + 1] = prediction.statistics.histograms[None]
            self.array("tiles")[row : row + 1] = prediction.statistics.row[None, :]

    def finish(self, charge_factor: float, summary: Mapping[str, Any]) -> None:
        """Record the rescaling and the summary, and mark the store as complete.

        Raises:
            OutputError: No space left, or no permission.
        """
        with self.writing():
            self.array("density").attrs["scale_factor"] = charge_factor
            for name in DEVIATIONS if self.plan.uncertainty else ():
                self.array(name).attrs["scale_factor"] = charge_factor * DEVIATION_UNIT
            self.group.attrs.update({"summary": dict(summary), "charge_factor": charge_factor, "complete": True})

    def writing(self) -> AbstractContextManager[None]:
        """Errors of the disk within become an ``OutputError`` that says how to go on."""
        return _writing(self.location)

    def remove_unfinished_files(self) -> None:
        """Remove what a killed process had begun to write under another name; nobody else may be writing."""
        if self.location is not None:
            for file in self.location.rglob("*.partial"):
                file.unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove the store from the disk."""
        if self.location is not None:
            shutil.rmtree(self.location)


def _keys(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Attributes that every store has, and those of a finished one."""
    finished = ("charge_factor", "electrons", "pseudopotentials", "what") if attributes.get("complete") else ()
    return ("complete", "elements", "plan", *finished)


def refuse_small_disk(target: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        OutputError: The folder does not exist, or its disk has less space than needed.
    """
    parent = target.resolve().parent
    if not parent.is_dir():
        raise OutputError(f"there is no folder {parent} for {target.name}; expected one that exists; make it first")
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise OutputError(
            f"{target} may need {needed / GIB:.3g} GiB but {free / GIB:.3g} GiB are free in {parent}; "
            f"make space, choose another folder or leave out the uncertainty"
        )


@contextmanager
def _writing(location: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{location} could not be written ({error.strerror or error}); expected a disk with space and permission; "
            f"mend that and give the same command again, it goes on from what is written"
        ) from error
