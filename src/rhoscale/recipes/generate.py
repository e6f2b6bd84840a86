"""Make a data set: structures x temperatures -> thermal structures -> converged densities in a store."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from rhoscale.ase_bridge import to_atoms
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.engines.available import make_engine
from rhoscale.engines.interface import Engine, StartDensity
from rhoscale.engines.pseudopotentials import PseudopotentialFile, folder_pseudopotentials, gth_pseudopotential
from rhoscale.errors import DatasetError, InputError, RhoscaleError
from rhoscale.recipes.config import plain
from rhoscale.recipes.generation_config import EngineConfig, GenerateConfig
from rhoscale.recipes.generation_plan import NO_FORCES, Task, plan_generation
from rhoscale.recipes.kept_pseudopotentials import keep_files
from rhoscale.recipes.kmesh_correction import corrected, has_settings
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import ASE_VERSION, Schedule, Stage, ThermalStructure, snapshot_of, thermalise
from rhoscale.sampling.thermostat import (
    EngineCalculator,
    ScaledCalculator,
    Thermostat,
    equilibrium_scale,
    potential_energy,
)
from rhoscale.snapshot import Snapshot
from rhoscale.structures.strain import strain_matrix


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
        with _claim(store.work / "locks" / f"{task.name}.lock", blocking=False) as mine:
            if not mine or store.record(task.name) is not None:
                return None
            maker = partial(engine_maker, files=files, scratch=scratch)
            snapshot = _labelled(store, task, maker, tell, start)
            with lock:
                record = store.add(
                    snapshot, task=task.name, batch=task.batch.name, role=task.batch.role, subsets=task.batch.subsets
                )
            _uncorrected(store, task).unlink(missing_ok=True)
            return record

    with _scratch(store.work / "dft") as scratch:
        _try_out(todo, partial(engine_maker, files=files, scratch=scratch))
        try:
            _run_all(todo, partial(one, scratch=scratch), jobs, outcome, tell)
        finally:
            store.freeze()
            if config.pseudopotentials.folder is not None:  # GTH-PBE can be written again at any time
                keep_files(store, files.values())
    remaining = len(open_tasks(config, only=only)[2])
    return Outcome(outcome.done, outcome.failed, outcome.busy, remaining)


def _try_out(todo: Sequence[Task], maker: Callable[[EngineConfig], Engine]) -> None:
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


def _labelled(
    store: SnapshotStore,
    task: Task,
    maker: Callable[[EngineConfig], Engine],
    tell: Callable[[Event], None],
    start: StartDensity | None,
) -> Snapshot:
    kept = _uncorrected(store, task)
    if kept.exists():
        snapshot = Snapshot.read(kept)
    else:
        relative = labelled_before(store, task)
        if relative is None:
            snapshot = make_snapshot(task, store.work, maker, tell, start)
        else:
            snapshot = relabelled(task, relative, maker, tell)
        if task.kmesh_correction is not None:
            kept.parent.mkdir(exist_ok=True)
            snapshot.write(kept)
    if task.kmesh_correction is None:
        return snapshot
    few, many = task.kmesh_correction
    tell(Event(task, "labelling", f"k-points {task.sampling}"))
    return corrected(snapshot, maker(few), maker(many))


def _uncorrected(store: SnapshotStore, task: Task) -> Path:
    """Where a label waits for its correction, so that a killed call does not lose it."""
    return store.work / "uncorrected" / f"{task.name}.safetensors"


def make_snapshot(
    task: Task,
    work: Path,
    maker: Callable[[EngineConfig], Engine],
    tell: Callable[[Event], None],
    start: StartDensity | None = None,
) -> Snapshot:
    """Thermalise a task's structure and label it."""
    tell(Event(task, "thermalising"))
    structure, scale = _thermal_structure(task, work, maker, start)
    memory = structure.decorrelation
    tell(
        Event(
            task,
            "labelling",
            f"T={structure.mean_temperature:.0f} K, memory {memory.time_fs:.0f} fs, waited {memory.ratio:.1f} times it"
            + ("" if memory.enough else ": TOO SHORT, raise equilibration_fs or spacing_fs"),
        )
    )
    initial = None if start is None else start(structure.system)
    state = maker(task.engine).ground_state(structure.system, initial_density=initial)
    return snapshot_of(
        state, {**_origin(task, structure, scale), "started_from": None if initial is None else str(start)}
    )


def labelled_before(store: SnapshotStore, task: Task) -> Snapshot | None:
    """A snapshot of the very structure that a task asks for, if there is one: with its label rather than another."""
    wanted = _given({**_sampling(task), "index": task.frame})
    found = None
    for record in store.records():
        if record.trajectory == task.trajectory:
            snapshot = store.load(record)
            if _given({key: snapshot.origin.get(key) for key in ("thermostat", "ab_initio", "index")}) == wanted:
                if has_settings(snapshot, task.engine.settings()):
                    return snapshot
                found = snapshot
    return found


def relabelled(
    task: Task, relative: Snapshot, maker: Callable[[EngineConfig], Engine], tell: Callable[[Event], None]
) -> Snapshot:
    """Label the structure of a snapshot with the settings of a task, starting from the density that is there."""
    origin = {**relative.origin, "task": task.name, "batch": task.batch.name}
    if has_settings(relative, task.engine.settings()):
        return replace(relative, origin=origin)
    tell(Event(task, "labelling", f"the structure of {relative.origin['task']}, from its density"))
    state = maker(task.engine).ground_state(relative.system, initial_density=relative.density)
    return snapshot_of(state, {**origin, "sampling_core_seconds": 0.0, "started_from": relative.origin["task"]})


def _thermal_structure(
    task: Task, work: Path, maker: Callable[[EngineConfig], Engine], start: StartDensity | None
) -> tuple[ThermalStructure, float]:
    settings, ab_initio = task.thermostat, task.batch.ab_initio
    folder = work / "trajectories"
    states = folder / f"{task.run}-states"
    count = settings.snapshots_per_trajectory
    stages, scale = [], 1.0
    if settings.forces != NO_FORCES:
        potential = classical_calculator(settings.forces)
        scale = equilibrium_scale(potential, task.batch.structure.perfect(task.seed))
        classical = Schedule(settings.equilibration_fs, settings.spacing_fs, count if ab_initio is None else 1)
        stages = [Stage(ScaledCalculator(potential, scale), classical)]
        if settings.melt_kelvin is not None:
            melting = Schedule(settings.equilibration_fs)
            stages.insert(0, Stage(ScaledCalculator(potential, scale), melting, temperature=settings.melt_kelvin))
    if ab_initio is not None and task.dynamics_engine is not None:
        schedule = Schedule(ab_initio.duration_fs, settings.spacing_fs, count)
        calculator = EngineCalculator(maker(task.dynamics_engine), start, folder=states)
        stages.append(Stage(calculator, schedule, checkpoint_every=1))
    thermostat = Thermostat(task.temperature, settings.timestep_fs, settings.damping_fs)
    with _claim(folder / f"{task.run}.lock", blocking=True):
        structures = thermalise(
            task.batch.structure.build(task.seed, task.strain),
            stages,
            thermostat,
            task.seed,
            checkpoint=folder / task.run,
        )
        shutil.rmtree(states, ignore_errors=True)
    return structures[task.frame], scale


def _origin(task: Task, structure: ThermalStructure, scale: float) -> dict[str, Any]:
    batch = task.batch
    return {
        "task": task.name,
        "batch": batch.name,
        "trajectory": task.trajectory,
        "kind": task.kind,
        "index": task.frame,
        "temperature": task.temperature,
        "seed": task.seed,
        "structure": plain(batch.structure),
        "strain_voigt": _voigt(task),
        "volume_per_atom_bohr3": structure.system.volume / len(structure.system),
        "method": "classical" if batch.ab_initio is None else "ab-initio",
        **_sampling(task),
        "calculator": {"name": task.thermostat.forces, "length_scale": scale, "ase": ASE_VERSION},
        "sampling_core_seconds": 0.0 if batch.ab_initio is None else round(structure.stage_seconds, 1),
        **structure.to_dict(),
    }


def _sampling(task: Task) -> dict[str, Any]:
    """What moved the atoms besides the potential, which the name of the trajectory knows."""
    ab_initio = None
    if task.batch.ab_initio is not None and task.dynamics_engine is not None:
        ab_initio = {"duration_fs": task.batch.ab_initio.duration_fs, "engine": plain(task.dynamics_engine)}
    return {"thermostat": {"name": "Nose-Hoover chain of 3", **plain(task.thermostat)}, "ab_initio": ab_initio}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None: older snapshots do not name settings that came later and are off."""
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def _voigt(task: Task) -> list[float]:
    e = strain_matrix(task.strain)
    return [float(v) for v in (e[0, 0], e[1, 1], e[2, 2], 2 * e[1, 2], 2 * e[0, 2], 2 * e[0, 1])]


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


@contextmanager
def _claim(path: Path, *, blocking: bool) -> Iterator[bool]:
    """Hold a file lock, which ends with the process however it ends; gives whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A scratch folder of this call; those that killed calls left are removed, those of failed runs stay till then."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with _claim(old / "lock", blocking=False) as free:
            if free:
                shutil.rmtree(old, ignore_errors=True)
    mine = Path(tempfile.mkdtemp(dir=folder))
    with _claim(mine / "lock", blocking=True):
        yield mine
