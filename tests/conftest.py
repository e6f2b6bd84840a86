"""What several test files share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small trained model of the toy engine."""
    from toy_model import train_toy_model

    return train_toy_model(tmp_path_factory.mktemp("models") / "toy")
