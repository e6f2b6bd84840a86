"""UPF files of a data set's labels, kept in it: what is not GTH-PBE cannot be written again."""

from __future__ import annotations

from collections.abc import Iterable

from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.pseudopotentials import PseudopotentialFile


def keep_files(store: SnapshotStore, files: Iterable[PseudopotentialFile]) -> None:
    """Keep the UPF files that a data set's labels were made with in the data set, for the atomic densities in them.

    Raises:
        OutputError: They cannot be written.
    """
    labelled = store.pseudopotentials()
    for file in files:
        if labelled.get(file.identity.element) == file.identity:
            store.keep_pseudopotential(file.filename, file.text.encode("utf-8", "surrogateescape"))
