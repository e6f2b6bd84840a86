"""How large a descriptor has to be: searches over a function from specifications to errors."""

from rhoscale.selection.columns import columns_within
from rhoscale.selection.kept import KeptScores
from rhoscale.selection.scalar_products import (
    ScalarProductLimits,
    select_angles,
    select_distances,
    select_scalar_products,
)
from rhoscale.selection.search import Search, Trial, grow, grow_each
from rhoscale.selection.smooth import SmoothAxes, select_smooth

__all__ = [
    "KeptScores",
    "ScalarProductLimits",
    "Search",
    "SmoothAxes",
    "Trial",
    "columns_within",
    "grow",
    "grow_each",
    "select_angles",
    "select_distances",
    "select_scalar_products",
    "select_smooth",
]
