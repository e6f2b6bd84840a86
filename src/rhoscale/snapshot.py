"""A system with its converged density and where both came from, identified by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rhoscale.errors import FormatError, OutputError
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System

FORMAT = "rhoscale-snapshot-1"


@dataclass(frozen=True)
class Snapshot:
    """One data point of a data set.

    Attributes:
        system: Cell and atoms.
        density: Band-limited density; its coefficients are kept as complex64.
        electrons: Valence electrons in the cell, as the pseudopotentials count them.
        pseudopotentials: Identity for each element.
        energies: Named terms in Hartree (``total``, ``harris_foulkes``, ``xc``, ...) and ``fermi``.
        forces: Forces [n, 3], Hartree per Bohr, or None.
        origin: Trajectory (an identifier that all snapshots of one trajectory share), temperature, seeds, kind.
        settings: Engine, version, cutoff, k-mesh, smearing, iterations, cost: all that made the label.
    """

    system: System
    density: FourierDensity
    electrons: float
    pseudopotentials: Mapping[str, PseudopotentialIdentity]
    energies: Mapping[str, float] = field(default_factory=dict)
    forces: np.ndarray | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the metadata and arrays as they are stored; also the name of its file in a store."""
        arrays, text = self._parts()
        digest = hashlib.sha256(text.encode())
        for name in sorted(arrays):
            digest.update(name.encode() + arrays[name].tobytes())
        return digest.hexdigest()

    @property
    def trajectory(self) -> str:
        """Identifier that all snapshots of one trajectory share; splits go by it."""
        return str(self.origin.get("trajectory", self.system.content_hash()))

    def to_bytes(self) -> bytes:
        """Serialise as a safetensors file: arrays plus one JSON text ``rhoscale`` in its header."""
        arrays, text = self._parts()
        return save(arrays, metadata={"rhoscale": text})

    def _parts(self) -> tuple[dict[str, np.ndarray], str]:
        millers = self.density.millers.astype(np.int64)
        limits = np.abs(millers).max(axis=0)
        kept = np.zeros((2 * limits[0] + 1, 2 * limits[1] + 1, limits[2] + 1), dtype=bool)
        kept[millers[:, 0] + limits[0], millers[:, 1] + limits[1], millers[:, 2]] = True
        order = np.lexsort((millers[:, 2], millers[:, 1], millers[:, 0]))  # as the mask lists them: C order of the box
        coefficients = self.density.coefficients[order].astype(np.complex64)
        arrays = {
            "cell": self.system.cell,
            "positions": self.system.positions,
            "waves_kept": np.packbits(kept),
            "waves_limits": limits.astype(np.int32),
            "coefficients": np.ascontiguousarray(coefficients).view(np.float32).reshape(-1, 2),
        }
        if self.forces is not None:
            arrays["forces"] = np.asarray(self.forces, dtype=np.float64)
        meta = {
            "format": FORMAT,
            "species": self.system.species.tolist(),
            "density_cutoff_hartree": self.density.cutoff,
            "electrons": float(self.electrons),
            "pseudopotentials": {k: v.to_dict() for k, v in sorted(self.pseudopotentials.items())},
            "energies_hartree": dict(self.energies),
            "origin": dict(self.origin),
            "settings": dict(self.settings),
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return contiguous, json.dumps(meta, sort_keys=True)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        temporary = path.with_name(path.name + ".part")
        try:
            temporary.write_bytes(self.to_bytes())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"cannot write snapshot {path} ({error}); make space or choose another folder") from error

    @classmethod
    def read(cls, path: str | Path) -> Snapshot:
        """Read a snapshot file; nothing in it is executed.

        Raises:
            FormatError: The file is missing, truncated or something else.
        """
        try:
            with safe_open(str(path), framework="numpy") as file:
                text = (file.metadata() or {}).get("rhoscale")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise FormatError(
                f"{path} is not a readable snapshot ({error}); expected a whole file written by rhoscale; copy it again"
            ) from error
        try:
            meta = json.loads(text) if text else {}
            if meta.get("format") != FORMAT:
                raise FormatError(
                    f"{path} has format {meta.get('format')!r}; expected {FORMAT!r}; give a snapshot of a data set"
                )
            return cls._from_parts(arrays, meta)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise FormatError(
                f"{path} is a damaged snapshot ({error!r}); expected the whole file as it was written; copy it again"
            ) from error

    @classmethod
    def _from_parts(cls, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Snapshot:
        limits = arrays["waves_limits"].astype(int)
        box = (2 * limits[0] + 1, 2 * limits[1] + 1, limits[2] + 1)
        if limits.min() < 0 or -(-int(np.prod(box)) // 8) != len(arrays["waves_kept"]):
            raise ValueError(f"limits {limits.tolist()} and a mask of {len(arrays['waves_kept'])} bytes")
        kept = np.unpackbits(arrays["waves_kept"], count=int(np.prod(box))).reshape(box).astype(bool)
        millers = np.argwhere(kept) - np.array([limits[0], limits[1], 0])
        coefficients = arrays["coefficients"].reshape(-1).view(np.complex64)
        if len(millers) != len(coefficients):
            raise ValueError(f"{len(millers)} waves and {len(coefficients)} coefficients")
        system = System(arrays["cell"], arrays["positions"], np.asarray(meta["species"]))
        density = FourierDensity(
            system.cell, float(meta["density_cutoff_hartree"]), millers.astype(np.int16), coefficients
        )
        return cls(
            system=system,
            density=density,
            electrons=float(meta["electrons"]),
            pseudopotentials={k: PseudopotentialIdentity.from_dict(v) for k, v in meta["pseudopotentials"].items()},
            energies=meta["energies_hartree"],
            forces=arrays.get("forces"),
            origin=meta["origin"],
            settings=meta["settings"],
        )
