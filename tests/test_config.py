"""A recipe is what its dataclass says, and nothing else gets in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from rhoscale.errors import FormatError, InputError
from rhoscale.recipes.config import config_from, plain, read_config


@dataclass(frozen=True)
class Mesh:
    points: tuple[int, int, int]
    shift: float | tuple[float, float, float] = 0.0


@dataclass(frozen=True)
class Recipe:
    name: str
    meshes: tuple[Mesh, ...] = ()
    width: float = 0.5
    steps: int | None = None
    kind: Literal["slow", "fast"] = "slow"
    output: Path | None = None
    valence: Mapping[str, int] = field(default_factory=dict)
    verbose: bool = False
    free: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width < 0:
            raise InputError(f"width {self.width} is negative")


WHOLE = """
name = "al"
width = 2
steps = 3
kind = "fast"
output = "out/x"
valence = { Al = 3 }
verbose = true
free = { anything = [1, "two"] }
[[meshes]]
points = [3, 3, 3]
[[meshes]]
points = [2, 2, 2]
shift = [1, 1.5, 0]
"""


def test_a_recipe_becomes_its_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(WHOLE)
    recipe = read_config(file, Recipe)
    assert recipe == Recipe(
        name="al",
        meshes=(Mesh((3, 3, 3)), Mesh((2, 2, 2), (1.0, 1.5, 0.0))),
        width=2.0,
        steps=3,
        kind="fast",
        output=Path("out/x"),
        valence={"Al": 3},
        verbose=True,
        free={"anything": [1, "two"]},
    )
    assert isinstance(recipe.width, float)


def test_plain_values_rebuild_the_same_recipe() -> None:
    recipe = Recipe("al", (Mesh((2, 2, 2), (1.0, 1.0, 1.0)),), output=Path("x"))
    assert config_from(plain(recipe), Recipe) == recipe
    short = plain(recipe, keep_defaults=False)
    assert set(short) == {"name", "meshes", "output"}
    assert config_from(short, Recipe) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "widht": 1.0}, r"unknown key 'widht'; did you mean 'width'\? allowed are name, meshes, width"),
        ({}, "missing name; expected keys are name, meshes"),
        ({"name": 3}, "recipe: name is 3; expected a value of type str"),
        ({"name": "x", "steps": 1.5}, "steps is 1.5; expected a value of type int"),
        ({"name": "x", "steps": True}, "steps is True; expected a value of type int"),
        ({"name": "x", "width": "wide"}, "width is 'wide'; expected a value of type float"),
        ({"name": "x", "kind": "medium"}, "kind is 'medium'; expected one of 'slow', 'fast'"),
        ({"name": "x", "width": -1}, "width -1.0 is negative"),
        ({"name": "x", "meshes": [{"points": [1, 2]}]}, r"meshes\[0\]: points is \[1, 2\]; expected a list of 3"),
        ({"name": "x", "meshes": [{"points": [1, 2, 3], "k": 1}]}, r"meshes\[0\]: unknown key 'k'; allowed are points"),
        ({"name": "x", "meshes": 4}, "meshes is 4; expected a list"),
        ({"name": "x", "valence": {"Al": "three"}}, "valence.Al is 'three'; expected a value of type int"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_from(values, Recipe)


def test_files_that_are_no_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no recipe"):
        read_config(tmp_path / "missing.toml", Recipe)
    for name, content in (("a.toml", b"name = "), ("b.toml", b"\xff\xfe")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match="not a TOML recipe"):
            read_config(tmp_path / name, Recipe)
