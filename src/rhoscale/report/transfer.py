"""Table and picture of a study of transfer learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

PANEL_WIDTH, PANEL_HEIGHT = 4.4, 3.2  # inches
COLUMNS = 3
SCALE = 1e4  # densities are shown in 10^-4 electrons per Bohr^3


@dataclass(frozen=True)
class RunErrors:
    """One trained model on one case.

    Attributes:
        subset: Which choice of snapshots.
        seed: Of the training.
        l1: Mean over the cells of L1 per electron of the rescaled field.
        worst: Largest of these.
        rmse: Root mean square over the cells of the RMSE of the raw field, electrons per Bohr^3.
        epistemic: Root mean square of the epistemic deviation, electrons per Bohr^3.
        total: Root mean square of the total deviation, electrons per Bohr^3.
    """

    subset: int
    seed: int
    l1: float
    worst: float
    rmse: float
    epistemic: float
    total: float


@dataclass(frozen=True)
class ArmResult:
    """What one arm cost and reached at one budget; cells and costs of each subset, where they may differ.

    Attributes:
        arm: Its name.
        budget: Number of large cells that sets the DFT time.
        target: For each subset, core-seconds that were to be spent.
        cells: For each subset, small and large training cells.
        seconds: For each subset, core-seconds of DFT spent on small and large cells.
        steps: Gradient steps, both stages together.
        lacking: Core-seconds that the data set is short of; more than zero: not trained.
        rate: Learning rate of the last stage, or None if it is not chosen yet.
        training_seconds: Mean core-seconds of a training, both stages.
        validation: For each rate tried, the validation error, L1 per electron.
        runs: For each case, one entry for each trained model.
    """

    arm: str
    budget: int
    target: tuple[float, ...]
    cells: tuple[tuple[int, int], ...]
    seconds: tuple[tuple[float, float], ...]
    steps: int
    lacking: float = 0.0
    rate: float | None = None
    training_seconds: float | None = None
    validation: Mapping[float, float] = field(default_factory=dict)
    runs: Mapping[str, tuple[RunErrors, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """Something that no arm trained, on the cells of a case: L1 per electron and RMSE, electrons per Bohr^3."""

    name: str
    l1: float
    rmse: float


@dataclass(frozen=True)
class Case:
    """Cells that the arms are judged on.

    Attributes:
        name: For example the batch.
        tasks: Names of the cells.
        baselines: Beside the arms.
    """

    name: str
    tasks: tuple[str, ...]
    baselines: tuple[Baseline, ...] = ()


def spread_over_seeds(runs: Sequence[RunErrors], value: Callable[[RunErrors], float]) -> float | None:
    """Standard deviation between seeds, root mean square over the subsets; None with one seed."""
    subsets = [[value(r) for r in runs if r.subset == s] for s in sorted({r.subset for r in runs})]
    variances = [np.var(values, ddof=1) for values in subsets if len(values) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else None


def markdown(title: str, results: Sequence[ArmResult], cases: Sequence[Case], validation_seconds: float) -> str:
    """The study as markdown: costs of the arms, then their errors case by case."""
    parts = [f"# {title}", _cost_table(results)]
    parts.append(
        f"DFT in core-seconds, labels and ab-initio dynamics; the validation cells, the same for all arms, cost "
        f"{validation_seconds:.0f} beside. Validation: L1 of the chosen rate, first seed and subset. Training: "
        f"core-seconds of one model, both stages."
    )
    for case in cases:
        parts += [f"## {case.name} (cells: {len(case.tasks)})", _error_table(results, case)]
        parts += [f"{b.name}: L1 {100 * b.l1:.3f} %, RMSE {SCALE * b.rmse:.2f}." for b in case.baselines]
    parts.append(
        "L1 per electron of the rescaled field, mean over the cells and runs, ± standard deviation between seeds; "
        "beside it the mean of each subset, the worst cell of any run, and the difference to `large` of the same seed "
        "and subset (± standard deviation over these pairs). RMSE of the raw field and root mean squares of the "
        "predicted deviations (not recalibrated) in 10⁻⁴ electrons per Bohr³."
    )
    return "\n\n".join(parts) + "\n"


def _cost_table(results: Sequence[ArmResult]) -> str:
    rows = []
    for r in results:
        small, large = ([c[i] for c in r.cells] for i in (0, 1))
        parts = np.mean(r.seconds, axis=0)
        rate = "not chosen yet" if r.rate is None else f"{r.rate:g}"
        if r.lacking > 0:
            rate = f"not trained: {r.lacking:.0f} core-seconds of small cells are missing"
        chosen = "" if r.rate is None else f"{100 * r.validation[r.rate]:.3f} %"
        time = "" if r.training_seconds is None else f"{r.training_seconds:.0f}"
        rows.append(
            [r.arm, _counts(small), _counts(large), f"{parts[0]:.0f} + {parts[1]:.0f}",
             f"{parts.sum():.0f} of {np.mean(r.target):.0f}", str(r.steps), rate, chosen, time]
        )  # fmt: skip
    head = ["arm", "small cells", "large cells", "DFT small + large", "sum", "steps", "rate", "validation", "training"]
    return _table(head, rows)


def _error_table(results: Sequence[ArmResult], case: Case) -> str:
    rows = []
    for r in results:
        runs = r.runs.get(case.name, ())
        if not runs:
            continue
        reference = next((b for b in results if b.arm == "large" and b.budget == r.budget), None)
        subsets = sorted({run.subset for run in runs})
        rows.append([
            r.arm, f"{np.mean(r.target):.0f}", str(len(runs)),
            _with_spread(runs, lambda run: 100 * run.l1, 3, " %"),
            ", ".join(f"{100 * np.mean([run.l1 for run in runs if run.subset == s]):.3f}" for s in subsets) + " %",
            f"{100 * max(run.worst for run in runs):.3f} %",
            _difference(runs, () if reference is None else reference.runs.get(case.name, ())),
            _with_spread(runs, lambda run: SCALE * run.rmse, 2),
            f"{SCALE * np.mean([run.epistemic for run in runs]):.2f}",
            f"{SCALE * np.mean([run.total for run in runs]):.2f}",
        ])  # fmt: skip
    head = ["arm", "DFT", "runs", "L1", "subsets", "worst", "L1 − `large`", "RMSE", "epistemic", "total σ"]
    return _table(head, rows)


def _difference(runs: Sequence[RunErrors], reference: Sequence[RunErrors]) -> str:
    paired = {(r.subset, r.seed): r.l1 for r in reference}
    found = [100 * (r.l1 - paired[r.subset, r.seed]) for r in runs if (r.subset, r.seed) in paired]
    if not found or tuple(runs) == tuple(reference):
        return ""
    spread = f" ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else ""
    return f"{np.mean(found):+.3f}{spread} %"


def _with_spread(runs: Sequence[RunErrors], value: Callable[[RunErrors], float], digits: int, unit: str = "") -> str:
    spread = spread_over_seeds(runs, value)
    beside = "" if spread is None else f" ± {spread:.{digits}f}"
    return f"{np.mean([value(r) for r in runs]):.{digits}f}{beside}{unit}"


def _counts(numbers: Sequence[int]) -> str:
    return ", ".join(str(n) for n in (numbers if len(set(numbers)) > 1 else numbers[:1]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def draw_transfer(file: BinaryIO, title: str, results: Sequence[ArmResult], cases: Sequence[Case]) -> None:
    """Draw errors of the arms on each case and what their training data cost, like the paper's figures 9, 16, 17.

    Dots are runs, bars their means, one colour for each budget; the broken line is a label's own distance or the best
    baseline, where that lies within the picture.

    Args:
        file: Where the picture goes, as PNG.
        title: Line above all.
        results: The arms; those without runs have no bar.
        cases: One panel each; then for the first of them epistemic deviations and the error against DFT time; then
            the DFT time of the arms.
    """
    shown = [case for case in cases if any(r.runs.get(case.name) for r in results)]
    count = len(shown) + (3 if shown else 1)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL_WIDTH * columns, PANEL_HEIGHT * rows + 0.5), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(count)]
    for axes, case in zip(panels, shown, strict=False):
        _bars(axes, results, case.name, lambda run: 100 * run.l1)
        _baseline_lines(axes, case)
        axes.set(title=f"{case.name} (cells: {len(case.tasks)})", ylabel="L1 per electron (%)")
    if shown:
        _bars(panels[-3], results, shown[0].name, lambda run: SCALE * run.epistemic)
        panels[-3].set(title=f"{shown[0].name}: epistemic σ", ylabel="10⁻⁴ electrons / Bohr³")
        _against_cost(panels[-2], results, shown[0].name)
    _costs(panels[-1], results)
    figure.savefig(file, format="png")


def _places(results: Sequence[ArmResult]) -> tuple[list[str], list[int], float]:
    arms = list(dict.fromkeys(r.arm for r in results))
    budgets = sorted({r.budget for r in results})
    return arms, budgets, 0.8 / max(len(budgets), 1)


def _bars(axes: Axes, results: Sequence[ArmResult], case: str, value: Callable[[RunErrors], float]) -> None:
    arms, budgets, width = _places(results)
    for r in results:
        values = [value(run) for run in r.runs.get(case, ())]
        if values:
            number = budgets.index(r.budget)
            x = arms.index(r.arm) + (number - (len(budgets) - 1) / 2) * width
            axes.bar(x, np.mean(values), 0.9 * width, color=f"C{number}", alpha=0.55)
            axes.plot(x + np.linspace(-0.25, 0.25, len(values)) * width, values, ".", color="black", markersize=4)
    _name_arms(axes, arms)


def _baseline_lines(axes: Axes, case: Case) -> None:
    """The baselines that lie within the picture; one far above would squeeze the arms."""
    top = axes.get_ylim()[1]
    for number, baseline in enumerate(b for b in case.baselines if 100 * b.l1 < 1.3 * top):
        style = ("--", ":")[number % 2]
        axes.axhline(100 * baseline.l1, color="grey", linestyle=style, linewidth=1.0, label=baseline.name)
    if axes.get_legend_handles_labels()[1]:
        axes.set_ylim(0, 1.25 * max(top, axes.get_ylim()[1]))
        axes.legend(fontsize=7, loc="upper right", frameon=False)


def _against_cost(axes: Axes, results: Sequence[ArmResult], case: str) -> None:
    """L1 with its spread over seeds against DFT time, one line an arm; arms stand a little beside each other."""
    arms, _, _ = _places(results)
    width = 0.004 * max(float(np.mean(r.target)) for r in results)
    for number, arm in enumerate(arms):
        mine = sorted((r for r in results if r.arm == arm and r.runs.get(case)), key=lambda r: r.budget)
        shift = (number - (len(arms) - 1) / 2) * width
        x = [float(np.mean(np.sum(r.seconds, axis=1))) + shift for r in mine]
        y = [100 * float(np.mean([run.l1 for run in r.runs[case]])) for r in mine]
        spreads = [100 * (spread_over_seeds(r.runs[case], lambda run: run.l1) or 0.0) for r in mine]
        axes.errorbar(x, y, spreads, marker="o", markersize=4, linewidth=1, capsize=2, color=f"C{number}", label=arm)
    axes.legend(fontsize=7, frameon=False)
    axes.set(title=f"{case}: error against cost", xlabel="DFT core-seconds", ylabel="L1 per electron (%)")


def _costs(axes: Axes, results: Sequence[ArmResult]) -> None:
    """Core-seconds of small cells (pale) and large cells (full)."""
    arms, budgets, width = _places(results)
    for r in (r for r in results if r.lacking == 0):
        small, large = np.mean(r.seconds, axis=0)
        number = budgets.index(r.budget)
        x = arms.index(r.arm) + (number - (len(budgets) - 1) / 2) * width
        axes.bar(x, large, 0.9 * width, color=f"C{number}", alpha=0.9)
        axes.bar(x, small, 0.9 * width, bottom=large, color=f"C{number}", alpha=0.35)
    if len(budgets) > 1:
        colours = [Patch(color=f"C{i}", label=f"cost of {budget} large cells") for i, budget in enumerate(budgets)]
        axes.legend(handles=colours, fontsize=7, frameon=False)
    _name_arms(axes, arms)
    axes.set(title="training data: large cells full, small cells pale", ylabel="DFT core-seconds")
    axes.title.set_fontsize(9)


def _name_arms(axes: Axes, arms: Sequence[str]) -> None:
    axes.set_xticks(range(len(arms)), arms, rotation=30, ha="right", fontsize=8)
    axes.set_xlim(-0.6, len(arms) - 0.4)
