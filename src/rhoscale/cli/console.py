"""Where tables go."""

from __future__ import annotations

from rich.console import Console

WIDTH_OF_FILES = 160


def wide_console() -> Console:
    """The terminal; or, when the output goes to a file or pipe, lines long enough not to squeeze tables."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_FILES, soft_wrap=True)
