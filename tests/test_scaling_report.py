"""The picture of what predictions cost as cells grow."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from rhoscale.prediction.statistics import bin_edges, histogram
from rhoscale.report.scaling import DFTCosts, PredictedSize, draw_scaling

DFT = DFTCosts(np.array([32, 108]), np.array([2.0, 16.0]), power=2.0, factor=2.0**-9)


def test_costs_follow_the_power_law() -> None:
    assert DFT.at(64) == pytest.approx(8.0)


def test_a_size_more_changes_the_picture() -> None:
    values = np.random.default_rng(0).lognormal(-4.0, 0.3, 1000).astype(np.float32)
    sizes = [PredictedSize(n, n / 100, 0.4, {"density": histogram(values)}) for n in (1000, 100_000)]
    pictures = []
    for shown in (sizes[:1], sizes):
        file = BytesIO()
        draw_scaling(file, shown, DFT, bin_edges(), "a model")
        file.seek(0)
        pictures.append(imread(file))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() > 0.5
