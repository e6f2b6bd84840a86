"""``predict``: a structure file and a model into a store or a density file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rhoscale.ase_bridge import read_system
from rhoscale.engines.pseudopotentials import folder_pseudopotentials
from rhoscale.errors import FormatError, InputError, OutputError
from rhoscale.formats import WRITABLE, read_density_file, write_density_file
from rhoscale.formats.dispatch import WRITERS, format_of_name
from rhoscale.formats.structure_file import refuse_elements
from rhoscale.models import TrainedModel
from rhoscale.prediction.attempts import RETRIES
from rhoscale.prediction.field import StoredField
from rhoscale.prediction.plan import GIB, PredictionPlan
from rhoscale.prediction.refusals import refuse_other_pseudopotentials
from rhoscale.prediction.run_local import Progress, run_local
from rhoscale.prediction.store import PredictionStore, refuse_small_disk
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.cores import usable_cores
from rhoscale.recipes.field import Request, Run, Summary, about, measure_speed, plan_field, predict_field
from rhoscale.system import System

BYTES_PER_VALUE_IN_TEXT = 14
BYTES_PER_VALUE_IN_MEMORY = 24  # a density file is written from the whole field: two copies and the text of a part
DENSITY_ONLY = (".safetensors", ".save", ".dens")  # density files that ASE does not read


@dataclass(frozen=True)
class PredictConfig:
    """One prediction from files.

    Attributes:
        structure: File that ASE reads, or a density file or snapshot whose structure is meant.
        model: Name of a bundled model or path of a model's folder.
        output: ``NAME.zarr`` for density and uncertainties, or a density file by its suffix for the density alone.
        request: Grid, uncertainty, memory.
        pseudopotentials: Folder of UPF files that the density is meant for, to be checked against the model's.
        threads: Tiles at a time; by default all cores that may be used.
        workers: Worker processes of this machine (Dask) in place of threads.
        scheduler: Or the address of a Dask scheduler.
        retries: How often a tile that fails is tried again.
        force: Replace an existing output.
        elements: Elements of the types 1, 2, ... of a LAMMPS file that does not name them.

    Raises:
        InputError: A count is impossible, or more than one of threads, workers and scheduler is given.
    """

    structure: Path
    model: str
    output: Path
    request: Request = field(default_factory=Request)
    pseudopotentials: Path | None = None
    threads: int | None = None
    workers: int | None = None
    scheduler: str | None = None
    retries: int = RETRIES
    force: bool = False
    elements: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, count in (("threads", self.threads), ("workers", self.workers)):
            if count is not None and count < 1:
                raise InputError(f"--{name} {count}; expected at least 1; leave it out to use all cores")
        if self.retries < 0:
            raise InputError(f"--retries {self.retries}; expected 0 or more; 0 gives up at the first failure of a tile")
        if sum(given is not None for given in (self.threads, self.workers, self.scheduler)) > 1:
            raise InputError(
                "more than one of threads, workers and scheduler is given; expected one; leave the others out"
            )


@dataclass(frozen=True)
class PreparedPrediction:
    """A prediction that may start: everything was read and checked."""

    system: System
    model: TrainedModel
    plan: PredictionPlan


@dataclass(frozen=True)
class PredictReport:
    """What a prediction left.

    Attributes:
        output: Store or file that was written.
        plan: What was done.
        what: What the field is, in words.
        summary: Electrons, factor, verdict.
        seconds: Elapsed time.
    """

    output: Path
    plan: PredictionPlan
    what: str
    summary: Summary
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "output": str(self.output),
            "what": self.what,
            **self.summary.to_dict(),
            "seconds": round(self.seconds, 3),
            "plan": self.plan.to_dict(),
        }


def prepare(config: PredictConfig, *, with_speed: bool = False) -> PreparedPrediction:
    """Read and check everything that a prediction needs, the free disk included, and plan it; nothing is written.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong with a file, an option or the structure.
    """
    _check_output_name(config.output)
    system = read_structure(config.structure, config.elements)
    model, model_hash = load_with_hash(config.model)
    plan = plan_field(system, model, model_hash, config.request)
    if config.pseudopotentials is not None:
        wanted = {e: file.identity for e, file in folder_pseudopotentials(config.pseudopotentials).items()}
        refuse_other_pseudopotentials(system.elements, wanted, model.pseudopotentials, model.name)
    _refuse_small_machine(config.output, plan)
    return PreparedPrediction(system, model, measure_speed(plan, system, model) if with_speed else plan)


def predict(config: PredictConfig, *, progress: Progress | None = None) -> PredictReport:
    """Predict the density of one structure, tile by tile; the same call goes on after an interruption.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong with a file, an option or the structure.
        OutputError: The output exists already, or the disk is too small or full.
    """
    start = time.perf_counter()
    prepared = prepare(config)
    system, model, plan = prepared.system, prepared.model, prepared.plan
    as_store = config.output.suffix == ".zarr"
    if not as_store:
        _refuse_existing_file(config)
    place = config.output if as_store else config.output.with_name(f".{config.output.name}.tiles.zarr")
    store = open_or_create(place, plan, system, model, force=config.force or not as_store)
    with _runner(config) as run:
        summary = predict_field(plan, system, model, store, retries=config.retries, progress=progress, run=run)
    what = str(store.attribute("what"))
    if not as_store:
        density = StoredField(store, plan.output_grid).density()
        comment = f"rhoscale, model {plan.model}: {what}, electrons per Bohr^3"
        write_density_file(config.output, system, density, force=config.force, comment=comment)
        store.delete()
    return PredictReport(config.output, plan, what, summary, time.perf_counter() - start)


@contextmanager
def _runner(config: PredictConfig) -> Iterator[Run]:
    """Threads of this process, or the workers of a Dask cluster that lives as long as the run."""
    if config.workers is None and config.scheduler is None:
        yield partial(run_local, threads=config.threads or usable_cores())
        return
    try:
        from rhoscale.prediction.run_dask import connect, on_workers
    except ImportError as error:
        raise InputError(
            f"workers and schedulers need Dask ({error}); expected it to be installed; "
            f'use `pip install "rhoscale[dask]"`, or --threads, which needs nothing'
        ) from error
    with connect(config.workers, config.scheduler) as client:
        yield on_workers(client)


def read_structure(path: Path, elements: Sequence[str] | None = None) -> System:
    """Read a structure file, or take the structure out of a density file or snapshot.

    Args:
        path: The file.
        elements: Elements of the types 1, 2, ... of a LAMMPS file that does not name them.

    Raises:
        FormatError: The file is missing, empty or not readable.
        StructureError: What it holds is not a bulk cell.
        InputError: ``elements`` for a format that has no types.
    """
    if path.suffix in DENSITY_ONLY:
        refuse_elements(path, elements)
        return read_density_file(path).system
    return read_system(path, elements=elements)


def open_or_create(
    place: Path, plan: PredictionPlan, system: System, model: TrainedModel, *, force: bool
) -> PredictionStore:
    """An unfinished store of the same plan, to go on with, or a new one.

    Raises:
        OutputError: The place is taken by something else.
    """
    if not place.exists():
        return PredictionStore.create(place, plan, system, about(system, model), model.sharp)
    try:
        found = PredictionStore.open(place)
    except FormatError as error:
        raise OutputError(
            f"{place} exists already and is no prediction of rhoscale; expected a new name; choose another"
        ) from error
    if not found.complete and found.plan.identity == plan.identity:
        found.remove_unfinished_files()
        return replace(found, plan=plan)
    if not force:
        state = "a finished prediction" if found.complete else "an unfinished prediction of another plan"
        raise OutputError(f"{place} exists already and is {state}; expected a new name; use --force to replace it")
    found.delete()
    return PredictionStore.create(place, plan, system, about(system, model), model.sharp)


def _refuse_small_machine(output: Path, plan: PredictionPlan) -> None:
    """A density file is written from memory; what exists already is gone on with, replaced or refused later."""
    text = 0
    if output.suffix != ".zarr":
        refuse_small_memory(output, BYTES_PER_VALUE_IN_MEMORY * plan.output_grid.size)
        text = BYTES_PER_VALUE_IN_TEXT * plan.output_grid.size
    if not output.exists():
        refuse_small_disk(output, plan.disk_bytes + text)


def refuse_small_memory(output: Path, needed: int) -> None:
    """Refuse a density file that this machine could not hold in memory.

    Raises:
        InputError: It is larger than the machine's memory.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise InputError(
            f"{output.name} needs {needed / GIB:.3g} GiB of memory on this grid but the machine has "
            f"{available / GIB:.3g} GiB; ask for a coarser grid, or for .zarr, which is streamed"
        )


def _check_output_name(output: Path) -> None:
    known = format_of_name(output)
    if output.suffix != ".zarr" and known not in WRITERS and known != "espresso":
        raise OutputError(
            f"{output} has no format that can be written; expected .zarr (density and uncertainties) or {WRITABLE}; "
            f"choose one of these"
        )


def _refuse_existing_file(config: PredictConfig) -> None:
    if config.output.exists() and not config.force and format_of_name(config.output) != "espresso":
        raise OutputError(f"{config.output} exists already; expected a new name; use --force to replace it")
