"""What several test files share."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """Threads of networks as small as the tests' wait for each other, for minutes on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small trained model of the toy engine."""
    from toy_model import train_toy_model

    return train_toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line: exit code and error text, its white space folded."""
    from rhoscale.cli.app import main

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rhoscale", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), " ".join(capsys.readouterr().err.split())

    return call
