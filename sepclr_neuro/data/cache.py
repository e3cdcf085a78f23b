"""The array of all volumes, as every later stage reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256 as hash_of
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.grid import Affine

# Imported where it is needed: several stages use this module and no torch, which takes longer than they do.
if TYPE_CHECKING:
    import torch


__all__ = ["VolumeCache", "voxels_sha256"]


class VolumeCache:
    """The volumes that the stage `volumes` wrote. Opening it reads no voxel; memory is the system's page cache.

    Attributes:
        array: float16 [N, X, Y, Z], memory-mapped, read only.
        affine: float64 (4, 4), voxel indices to MNI mm, the same for all.
        shape: (X, Y, Z).
        scan_ids: of row 0, 1, ...
        checksums: SHA-256 of the voxels of each row, checked when a row is first read.

    Raises:
        InputError: if the cache is absent, or its files do not belong together.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        advice = "run the stage `volumes` again"
        for path in (results.volumes, results.index, results.grid):
            if not path.is_file():
                raise InputError(f"{path}: is missing; {advice}")
        index, grid = read_tsv(results.index, text=("scan_id", "source", "voxels_sha256")), read_json(results.grid)
        try:
            self.array: NDArray[np.float16] = np.load(results.volumes, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{results.volumes}: is damaged ({error}); {advice}") from error
        self.shape: tuple[int, int, int] = tuple(grid["shape"])
        self.affine: Affine = np.array(grid["affine"], dtype=np.float64)
        self.scan_ids: list[str] = index["scan_id"].tolist()
        if "voxels_sha256" not in index:
            raise InputError(f"{results.index}: has no checksums of voxels; {advice}")
        self.checksums: list[str] = index["voxels_sha256"].tolist()
        self._checked: set[int] = set()
        if self.array.shape != (len(index), *self.shape) or index["row"].tolist() != list(range(len(index))):
            raise InputError(
                f"{results.volumes}: holds {self.array.shape}, but {results.index.name} and {results.grid.name} "
                f"describe {(len(index), *self.shape)}; {advice}"
            )
        self._row = {scan_id: row for row, scan_id in enumerate(self.scan_ids)}

    def __reduce__(self) -> tuple[type[VolumeCache], tuple[Results]]:
        """Worker processes open the files again; pickling a memory map would copy every volume."""
        return VolumeCache, (self._results,)

    def rows(self, scan_ids: Iterable[str]) -> list[int]:
        """Rows of the array, in the order of ``scan_ids``."""
        scan_ids = list(scan_ids)
        missing = [scan_id for scan_id in scan_ids if scan_id not in self._row]
        if missing:
            raise InputError(f"{self._results.index}: has no scan {missing[0]!r}; run the stage `volumes` again")
        return [self._row[scan_id] for scan_id in scan_ids]

    def one_by_one(self, scan_ids: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """Some scans' volumes, [X, Y, Z] each, one in memory at a time. Raises as :meth:`read` does."""
        return (self.read([row])[0, 0].numpy() for row in self.rows(scan_ids))

    def read(
        self, rows: Sequence[int], dtype: type[np.floating] = np.float32, planes: slice = slice(None)
    ) -> torch.Tensor:
        """Volumes [B, 1, X, Y, Z], or ``planes`` along their first axis, copied from the disk, which holds float16.

        Raises:
            InputError: if a row is not what was written.
        """
        for row in set(rows) - self._checked:
            if voxels_sha256(self.array[row]) != self.checksums[row]:
                raise InputError(
                    f"{self._results.volumes}: the voxels of {self.scan_ids[row]} are not those that were written; run "
                    "the stage `volumes` again, which repairs them"
                )
            self._checked.add(row)
        volumes = np.empty((len(rows), 1, *self.array[0, planes].shape), dtype)
        # One by one, since numpy keeps all other threads waiting while it indexes by a list.
        for volume, row in zip(volumes, rows, strict=True):
            volume[0] = self.array[row, planes]
        import torch

        return torch.from_numpy(volumes)


def voxels_sha256(row: NDArray[np.float16]) -> str:
    """The checksum of a row of the array, [X, Y, Z]."""
    return hash_of(np.ascontiguousarray(row, dtype="<f2").data).hexdigest()
