"""Make a data set: structures x temperatures -> thermal structures -> converged densities in a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from rhoscale.ase_bridge import to_atoms
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.engines.available import make_engine
from rhoscale.engines.interface import Engine, StartDensity
from rhoscale.engines.pseudopotentials import PseudopotentialFile, folder_pseudopotentials, gth_pseudopotential
from rhoscale.errors import DatasetError, InputError, RhoscaleError
from rhoscale.recipes.claims import claim, scratch_folder
from rhoscale.recipes.generation_config import EngineConfig, GenerateConfig
from rhoscale.recipes.generation_plan import NO_FORCES, Task, plan_generation
from rhoscale.recipes.kept_pseudopotentials import keep_files
from rhoscale.recipes.labelling import Maker, labelled, uncorrected
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.thermostat import potential_energy


class EngineMaker(Protocol):
    """Makes an engine from its settings, pseudopotential files and a scratch folder."""

    def __call__(self, config: EngineConfig, *, files: Mapping[str, PseudopotentialFile], scratch: Path) -> Engine:
        """Make the engine."""
        ...


@dataclass(frozen=True)
class Event:
    """Something that happened to a task; ``text`` says it in words."""

    task: Task
    state: Literal["thermalising", "labelling", "done", "failed", "busy", "ending"]
    text: str = ""
    record: Record | None = None


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`generate` left.

    Attributes:
        done: Records of tasks finished by this call.
        failed: Task and message of each that failed; they are tried again by the next call.
        busy: Tasks that another process is at.
        remaining: Tasks of the recipe that are still open.
    """

    done: list[Record] = field(default_factory=list)
    failed: list[tuple[Task, str]] = field(default_factory=list)
    busy: list[Task] = field(default_factory=list)
    remaining: int = 0


def engine_of(config: EngineConfig, *, files: Mapping[str, PseudopotentialFile], scratch: Path) -> Engine:
    """The engine that a recipe names, on one thread."""
    return make_engine(config.program, config.settings(), files, scratch=scratch)


def open_tasks(
    config: GenerateConfig, *, only: Sequence[str] = (), limit: int | None = None
) -> tuple[SnapshotStore | None, list[Task], list[Task]]:
    """The store (if it exists), all tasks of the chosen batches, and those of them that are not finished.

    Raises:
        InputError: A batch of ``only`` is not in the recipe, or the limit is below 1.
        DatasetError: A finished task has another role in the store than in the recipe.
    """
    known = [b.name for b in config.batch]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise InputError(
            f"no batch {', '.join(unknown)} in the recipe; there are {', '.join(known)}; name one of these"
        )
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; expected 1 or more; leave it out to make all snapshots")
    tasks = [t for t in plan_generation(config) if not only or t.batch.name in only]
    store = SnapshotStore.open(config.output) if (config.output / "dataset.toml").exists() else None
    finished = {r.task: r for r in store.records()} if store else {}
    for task in tasks:
        record = finished.get(task.name)
        if record is not None and (record.role, record.subsets) != (task.batch.role, task.batch.subsets):
            raise DatasetError(
                f"{task.name} is kept as {record.role} {list(record.subsets)}, the recipe says {task.batch.role} "
                f"{list(task.batch.subsets)}; splits are fixed: give the batch another name, or delete its records"
            )
    todo = [t for t in tasks if t.name not in finished]
    return store, tasks, todo if limit is None else todo[:limit]


def generate(
    config: GenerateConfig,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    limit: int | None = None,
    engine_maker: EngineMaker = engine_of,
    start: StartDensity | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Make the snapshots of a recipe that are not there yet.

    Each finished one is kept at once; a killed or interrupted call loses only what was running, and the same call
    goes on from there. A failed label never becomes data.

    Args:
        config: The recipe.
        jobs: DFT runs side by side.
        only: Names of batches; all if empty.
        limit: At most so many snapshots in this call.
        engine_maker: Makes the engine from its settings, pseudopotential files and scratch folder.
        start: Density to start the self-consistent cycles from; it changes what a label costs, not the label.
        on_event: Told of each start, end and failure; called from several threads, one at a time.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; expected 1 or more; give the number of DFT runs side by side")
    _, _, todo = open_tasks(config, only=only, limit=limit)
    store = SnapshotStore.create(config.output, name=config.name, description=config.description)
    files = pseudopotential_files(config)
    outcome = Outcome()
    lock = threading.Lock()

    def tell(event: Event) -> None:
        if on_event is not None:
            with lock:
                on_event(event)

    def one(task: Task, scratch: Path) -> Record | None:
        with claim(store.work / "locks" / f"{task.name}.lock", blocking=False) as mine:
            if not mine or store.record(task.name) is not None:
                return None
            maker = partial(engine_maker, files=files, scratch=scratch)
            snapshot = labelled(store, task, maker, lambda state, text: tell(Event(task, state, text)), start)
            with lock:
                record = store.add(
                    snapshot, task=task.name, batch=task.batch.name, role=task.batch.role, subsets=task.batch.subsets
                )
            uncorrected(store, task).unlink(missing_ok=True)
            return record

    with scratch_folder(store.work / "dft") as scratch:
        _try_out(todo, partial(engine_maker, files=files, scratch=scratch))
        try:
            _run_all(todo, partial(one, scratch=scratch), jobs, outcome, tell)
        finally:
            store.freeze()
            if config.pseudopotentials.folder is not None:  # GTH-PBE can be written again at any time
                keep_files(store, files.values())
    remaining = len(open_tasks(config, only=only)[2])
    return Outcome(outcome.done, outcome.failed, outcome.busy, remaining)


def _try_out(todo: Sequence[Task], maker: Maker) -> None:
    """Make every engine and potential once, so that what cannot work is said before anything is computed."""
    for engine in {repr(e): e for t in todo for e in (*t.engines, t.dynamics_engine) if e is not None}.values():
        maker(engine)
    for batch, forces in {t.batch.name: (t.batch, t.thermostat.forces) for t in todo}.values():
        if forces != NO_FORCES:
            potential_energy(classical_calculator(forces), to_atoms(batch.structure.perfect(batch.seed)))


def _run_all(
    todo: Sequence[Task],
    one: Callable[[Task], Record | None],
    jobs: int,
    outcome: Outcome,
    tell: Callable[[Event], None],
) -> None:
    executor = ThreadPoolExecutor(max_workers=jobs)
    futures: dict[Future[Record | None], Task] = {executor.submit(one, task): task for task in todo}
    try:
        for future in as_completed(futures):
            task = futures[future]
            try:
                record = future.result()
            except RhoscaleError as error:
                outcome.failed.append((task, str(error)))
                tell(Event(task, "failed", str(error)))
                continue
            if record is None:
                outcome.busy.append(task)
                tell(Event(task, "busy", "another process is at it, or has just done it"))
            else:
                outcome.done.append(record)
                tell(Event(task, "done", f"{record.core_seconds:.0f} core-s", record))
    except KeyboardInterrupt:
        for future, task in futures.items():
            if future.running():
                tell(Event(task, "ending", "interrupted: this run ends first and is kept, nothing new starts"))
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def pseudopotential_files(config: GenerateConfig) -> dict[str, PseudopotentialFile]:
    """The pseudopotentials of a recipe, one for each element of its structures.

    Raises:
        InputError: An element has none.
    """
    elements = sorted({e for b in config.batch for e in b.structure.perfect(b.seed).elements})
    chosen = config.pseudopotentials
    if chosen.folder is None:
        return {e: gth_pseudopotential(e, chosen.valence.get(e)) for e in elements}
    found = folder_pseudopotentials(chosen.folder)
    missing = [e for e in elements if e not in found]
    if missing:
        raise InputError(
            f"{chosen.folder} holds no pseudopotential for {', '.join(missing)}; expected one for each element; "
            f"put a UPF file there"
        )
    return {e: found[e] for e in elements}
