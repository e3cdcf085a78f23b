"""Images of the benchmark: background 0.5·object, target 0.5·object + 0.5·digit."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import gaussian_filter, zoom
from sklearn.datasets import load_digits
from torch import Tensor

from sepclr_neuro.config.digits import IMAGE_SIZE, Images
from sepclr_neuro.core.errors import InputError, taken_from
from sepclr_neuro.core.storage import read_tsv

__all__ = ["ImageSet", "load_images"]

SIDES: tuple[Literal["train"], Literal["test"]] = ("train", "test")


@dataclass(frozen=True)
class ImageSet:
    """Images of one side.

    Attributes:
        images: float32 [N, 3, 32, 32], 0 to 1.
        objects: the class of each object, [N].
        digits: the class of each digit, [N]; -1 for background images, which have none.
    """

    images: Tensor
    objects: NDArray[np.int64]
    digits: NDArray[np.int64]

    @property
    def target(self) -> NDArray[np.bool_]:
        return self.digits >= 0


class _Labelled(NamedTuple):
    """Images [N, H, W] or [N, H, W, 3], 0 to 255, and the class of each."""

    images: NDArray[Any]
    labels: NDArray[np.int64]


# By the set's name and the side.
_Sets = dict[tuple[str, str], _Labelled]


def load_images(settings: Images, seed: int) -> tuple[ImageSet, ImageSet]:
    """Training images, half of them background and half target, and test images, all of them target.

    Objects and digits of a side are drawn at random without replacement. Whether the training and test sides of an
    ``.npz`` file share images is not checked.

    Raises:
        InputError: if images cannot be read, have another form than expected, or are too few.
    """
    sets = _READERS[settings.source](settings, settings.path or Path(), seed)
    for (kind, side), labelled in sets.items():
        _check(labelled, f"{settings.path or 'embedded images'}: {kind}, {side}", colour=kind == settings.objects)
    rng = np.random.default_rng((seed, 1))
    return (
        _compose(settings, sets, rng, "train", background=settings.train, target=settings.train),
        _compose(settings, sets, rng, "test", background=0, target=settings.test),
    )


def _compose(
    settings: Images,
    sets: _Sets,
    rng: np.random.Generator,
    side: str,
    background: int,
    target: int,
) -> ImageSet:
    objects, digits = sets[settings.objects, side], sets[settings.digits, side]
    for name, labelled, needed in ((settings.objects, objects, background + target), (settings.digits, digits, target)):
        if len(labelled.labels) < needed:
            raise InputError(
                f"digits.images.{side}: {needed} images of {name!r} are needed, {len(labelled.labels)} are there; "
                "lower it"
            )
    which = rng.permutation(len(objects.labels))[: background + target]
    images = 0.5 * objects.images[which].astype(np.float32) / 255
    over = rng.permutation(len(digits.labels))[:target]
    images[background:] += 0.5 * _padded(digits.images[over])[..., None].astype(np.float32) / 255
    none = np.full(background, -1)
    return ImageSet(
        torch.from_numpy(images).movedim(-1, 1).contiguous(),
        objects.labels[which],
        np.concatenate([none, digits.labels[over]]),
    )


def _padded(digits: NDArray[Any]) -> NDArray[Any]:
    """Pads digits with zeros: [N, H, W] -> [N, 32, 32]."""
    sides = [(0, 0)]
    for size in digits.shape[1:]:
        before = (IMAGE_SIZE - size) // 2
        sides.append((before, IMAGE_SIZE - size - before))
    return np.pad(digits, sides)


def _check(labelled: _Labelled, where: str, colour: bool) -> None:
    images, labels = labelled
    if not len(images):
        raise InputError(f"{where}: no images are left; lower digits.images.train or digits.images.test")
    size = f"{IMAGE_SIZE}, {IMAGE_SIZE}, 3" if colour else f"{IMAGE_SIZE} or less, {IMAGE_SIZE} or less"
    fits = images.ndim == 4 and images.shape[1:] == (IMAGE_SIZE, IMAGE_SIZE, 3)
    if not colour:
        fits = images.ndim == 3 and max(images.shape[1:]) <= IMAGE_SIZE
    if not fits:
        raise InputError(f"{where}: expected images of the shape [N, {size}], found {list(images.shape)}")
    if labels.ndim != 1 or len(labels) != len(images):
        raise InputError(f"{where}: expected a label for each of {len(images)} images, found {list(labels.shape)}")
    if labels.min() < 0:
        raise InputError(f"{where}: expected labels from 0, found {labels.min()}")
    numbers = np.issubdtype(images.dtype, np.number) and np.isfinite(images).all()
    if not numbers or images.min() < 0 or images.max() > 255 or images.max() <= 1:
        raise InputError(f"{where}: expected grey values from 0 to 255, found {images.min()} to {images.max()}")


# --- where images come from --------------------------------------------------------------------------------------


def _read_npz(settings: Images, path: Path, seed: int) -> _Sets:
    try:
        with np.load(path) as file:
            names = [f"{kind}_{side}" for kind in (settings.objects, settings.digits) for side in SIDES]
            wanted = [*names, *(f"{name}_label" for name in names)]
            missing = [name for name in wanted if name not in file]
            if missing:
                raise InputError(f"{path}: has no array {missing[0]!r}; it has {', '.join(file)}")
            arrays = {name: file[name] for name in wanted}
    except OSError as error:
        raise InputError(
            f"digits.images.path: {path} cannot be read ({error.strerror or error}){taken_from(path)}"
        ) from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no .npz file of arrays ({error})") from error
    sets: _Sets = {}
    for name in names:
        kind, side = name.rsplit("_", 1)
        labels = arrays[f"{name}_label"]
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"{path}: {name}_label: expected whole numbers, found {labels.dtype}")
        sets[kind, side] = _Labelled(arrays[name], labels.astype(np.int64))
    return sets


def _read_folder(settings: Images, folder: Path, seed: int) -> _Sets:
    path = folder / "labels.tsv"
    columns = ("file", "set", "side", "label")
    try:
        table = read_tsv(path, text=columns)
    except FileNotFoundError:
        raise InputError(
            f"{path}: is missing; it says what each image is, in the columns {', '.join(columns)}"
        ) from None
    for column in columns:
        if column not in table:
            raise InputError(f"{path}: has no column {column!r}; it has {', '.join(table.columns)}")
        if table[column].isna().any():
            raise InputError(f"{path}, row {int(table[column].isna().argmax()) + 2}: no {column}; fill it in")
    if (twice := table["file"].duplicated()).any():
        row = int(twice.argmax())
        raise InputError(f"{path}, row {row + 2}: {table['file'].iloc[row]!r} is listed twice; remove one of the rows")
    sets: _Sets = {}
    for kind, colour in ((settings.objects, "RGB"), (settings.digits, "L")):
        codes = {label: code for code, label in enumerate(sorted(table.loc[table["set"] == kind, "label"].unique()))}
        for side in SIDES:
            rows = table[(table["set"] == kind) & (table["side"] == side)]
            if rows.empty:
                raise InputError(f"{path}: has no row with set {kind!r} and side {side!r}")
            sets[kind, side] = _Labelled(
                np.stack([_read_image(folder, file, colour) for file in rows["file"]]),
                rows["label"].map(codes).to_numpy(np.int64),
            )
    return sets


def _read_image(folder: Path, file: str, colour: str) -> NDArray[np.uint8]:
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder / 'labels.tsv'}: {file!r} is outside the folder; images must lie in it")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(colour))
    except FileNotFoundError:
        raise InputError(f"{folder / 'labels.tsv'}: {file!r} does not exist") from None
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: is no image that can be read ({error})") from error


TEXTURES = 10
"""Classes of generated textures: horizontal and vertical stripes, chessboards, rings, clouds; each fine and coarse."""


def _embedded(settings: Images, path: Path, seed: int) -> _Sets:
    """scikit-learn's digits, split into training and test, and generated textures as objects."""
    rng = np.random.default_rng((seed, 0))
    digits = load_digits()
    images = np.stack([np.clip(zoom(image, 3, order=1) / 16 * 255, 0, 255) for image in digits.images])
    order = rng.permutation(len(images))
    tested = order[: settings.test]
    trained = order[settings.test :]
    sets: _Sets = {
        (settings.digits, side): _Labelled(images[rows].astype(np.uint8), digits.target[rows].astype(np.int64))
        for side, rows in (("train", trained), ("test", tested))
    }
    for side, count in (("train", 2 * settings.train), ("test", settings.test)):
        labels = rng.permutation(np.arange(count) % TEXTURES)
        sets[settings.objects, side] = _Labelled(np.stack([_texture(k, rng) for k in labels]), labels.astype(np.int64))
    return sets


def _texture(label: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A texture of a class, [32, 32, 3], in two random colours, with noise."""
    kind, fine = divmod(label, 2)
    period = rng.uniform(3.5, 5) if fine else rng.uniform(11, 15)
    y, x = np.meshgrid(*[np.arange(IMAGE_SIZE) + rng.uniform(0, period)] * 2, indexing="ij")
    wave_x, wave_y = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
    if kind == 0:
        pattern = wave_y
    elif kind == 1:
        pattern = wave_x
    elif kind == 2:
        pattern = np.sign(wave_x * wave_y)
    elif kind == 3:
        middle = rng.uniform(8, 24, 2)
        pattern = np.sin(2 * np.pi * np.hypot(y - y.min() - middle[0], x - x.min() - middle[1]) / period)
    else:
        clouds = gaussian_filter(rng.normal(size=(IMAGE_SIZE, IMAGE_SIZE)), period / 4, mode="wrap")
        pattern = np.clip(clouds / clouds.std() / 1.5, -1, 1)
    dark, light = rng.uniform(0, 120, 3), rng.uniform(135, 255, 3)
    image = dark + (light - dark) * (pattern[..., None] + 1) / 2 + rng.normal(0, 10, (IMAGE_SIZE, IMAGE_SIZE, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


_READERS = {"embedded": _embedded, "npz": _read_npz, "folder": _read_folder}
