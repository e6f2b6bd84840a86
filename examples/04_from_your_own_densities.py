"""From density files of your own to a model: import, train, judge. Here the files are cubes of densities of data/al.

python examples/04_from_your_own_densities.py [FOLDER]
"""

import sys
from pathlib import Path

from rhoscale.formats import read_density_file, write_density_file
from rhoscale.recipes.config import config_from
from rhoscale.recipes.data import ImportConfig, import_files
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import TrainConfig

SNAPSHOTS = Path(__file__).resolve().parent.parent / "data" / "al" / "snapshots"
YOURS = {  # 315, 933 and 1866 K; files of one molecular dynamics run would go to one role, with a trajectory's name
    "train": ("ca3aa013c82766019b46", "476a0e36364fab6f43c1", "03a56e9d34abcd96c4ae"),
    "validation": ("f98f38a3013329ed3374",),
    "test": ("e6e44ed9637d52e8fb38",),
}

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
folder.mkdir(parents=True, exist_ok=True)
for role, names in YOURS.items():
    cubes = []
    for name in names:
        mine = read_density_file(SNAPSHOTS / f"{name}.safetensors")
        cubes.append(folder / f"{name}.cube")
        write_density_file(cubes[-1], mine.system, mine.density, force=True)
    config = ImportConfig(role=role, batch=role, pseudopotentials={"Al": "gth-pbe:3"})
    for item in import_files(folder / "mine", cubes, config):
        print(f"{role}: {item.record.formula}, {100 * item.lost:.3f} % lost by what is kept")

recipe = {
    "name": "mine",
    "output": folder / "model",
    "prior_mean": "linear",
    "data": {"path": folder / "mine", "spacing": 0.6, "fraction": 0.3, "validation_spacing": 0.9},
    "descriptor": {
        "family": "smooth",
        "radial": [{"count": 12, "cutoff": 12.0}, {"count": 6, "cutoff": 4.5}],
        "angular": [{"counts": [6, 6, 6, 6], "cutoff": 8.0}],
    },
    "network": {"width": 32, "blocks": 2, "layers": 2},
    "fit": {"epochs": 3, "warm_epochs": 2, "learning_rate": 2e-3},
    "evaluation": {"points": 2000},
}
report = train(config_from(recipe, TrainConfig), force=True)
(case,) = report.cases
(errors,) = case.errors
print("model:", report.folder.name)
print(f"error on the test file: {100 * errors.l1:.2f} % (L1 per electron)")
