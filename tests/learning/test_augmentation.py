"""Each part equals MONAI's transform for the same parameters; parameters have the ranges that the settings say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from monai.transforms import Affine, GaussianSmooth, Resize
from monai.utils import set_determinism
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from benchmarks import recipe
from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.learning.augmentation import augment, axis_matrix, rotate

OFF = {f"{kind}_probability": 0.0 for kind in ("crop", "affine", "flip", "blur", "noise", "cutout")}


@pytest.fixture
def volumes() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 1, 6, 6, 6, generator=rng), size=(20, 24, 28))
    return torch.nn.functional.pad(smooth, [4] * 6)


def on_axis(volumes: torch.Tensor, axis: int, *parameters: float) -> torch.Tensor:
    size = volumes.shape[2 + axis]
    matrix = axis_matrix(size, *(torch.full((len(volumes),), value) for value in parameters))
    return torch.einsum("bij,b...j->b...i", matrix, volumes.movedim(2 + axis, -1)).movedim(-1, 2 + axis)


def test_nothing_is_changed_where_all_is_off(volumes: torch.Tensor) -> None:
    torch.testing.assert_close(augment(volumes, Augmentation(**OFF), seed=0), volumes)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.5])
def test_blur_is_monais(volumes: torch.Tensor, sigma: float) -> None:
    view = volumes
    for axis in range(3):
        view = on_axis(view, axis, 1.0, 0.0, sigma)
    expected = torch.stack([GaussianSmooth(sigma)(volume) for volume in volumes])
    torch.testing.assert_close(view, torch.as_tensor(expected), atol=1e-5, rtol=1e-4)


def test_crop_and_resize_is_monais(volumes: torch.Tensor) -> None:
    """A crop of 24 from the 28 voxels of the first axis, 3 from its start, back to 28."""
    view = on_axis(volumes, 0, 24 / 28, (3 + 12 - 14) / 28, 0.0)
    crop = volumes[:, :, 3:27]
    expected = torch.stack([Resize((28, 32, 36), mode="trilinear")(volume) for volume in crop])
    # At the crop's two edges MONAI repeats the last voxel; here the volume goes on.
    torch.testing.assert_close(view[:, :, 1:-1], torch.as_tensor(expected)[:, :, 1:-1], atol=1e-5, rtol=1e-4)


def test_shift_is_monais(volumes: torch.Tensor) -> None:
    shift = 2.25
    expected = torch.stack(
        [Affine(translate_params=(0, shift, 0), padding_mode="zeros", image_only=True)(volume) for volume in volumes]
    )
    view = on_axis(volumes, 1, 1.0, shift / volumes.shape[3], 0.0)
    torch.testing.assert_close(view, torch.as_tensor(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("degrees", [(12.0, 0.0, 0.0), (0.0, -9.0, 0.0), (0.0, 0.0, 20.0)])
def test_rotation_is_monais(volumes: torch.Tensor, degrees: tuple[float, float, float]) -> None:
    """About each axis. Signs are free, since angles are drawn around 0; so is the order of all three, which
    ``resampled`` has."""
    ours = rotate(volumes, torch.tensor([degrees] * len(volumes)), torch.ones(2, 3), torch.zeros(2, 3))
    candidates = [
        Affine(rotate_params=[sign * math.radians(d) for d in degrees], padding_mode="zeros", image_only=True)
        for sign in (1, -1)
    ]
    errors = [(torch.as_tensor(affine(volumes[0])) - ours[0]).abs().max().item() for affine in candidates]
    assert min(errors) < 1e-4


@pytest.mark.parametrize("degrees", [(12.0, 0.0, 0.0), (0.0, -9.0, 0.0), (0.0, 0.0, 20.0), (5.0, -7.0, 9.0)])
def test_rotation_keeps_what_is_in_the_middle(volumes: torch.Tensor, degrees: tuple[float, float, float]) -> None:
    """Half the mass stays to within interpolation."""
    turned = rotate(volumes, torch.tensor([degrees] * len(volumes)), torch.ones(2, 3), torch.zeros(2, 3))
    assert turned.sum().item() == pytest.approx(volumes.sum().item(), rel=0.02)


def resampled(volume: torch.Tensor, degrees: torch.Tensor, scale: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """A rotation, crop and shift of one volume [C, *spatial] by one linear interpolation, in float64."""
    shape = np.array(volume.shape[1:])
    x, y, z = degrees.tolist()
    # In 2D about the third axis, which the plane has not.
    matrix = Rotation.from_euler("xyz", [x, -y, z] if len(shape) == 3 else [0, 0, z], degrees=True).as_matrix()
    matrix = matrix[: len(shape), : len(shape)] * scale.numpy()
    middle = (shape - 1) / 2
    offset = middle + centre.numpy() * shape - matrix @ middle
    # Padded by a plane of zeros, towards which what is half outside is interpolated.
    padded = [np.pad(channel.double().numpy(), 1) for channel in volume]
    found = [affine_transform(channel, matrix, offset + 1 - matrix.sum(axis=1), order=1) for channel in padded]
    return torch.from_numpy(np.stack(found))[:, *[slice(1, -1)] * len(shape)].float()


@pytest.mark.parametrize("shape", [(20, 24, 28), (33, 17, 40), (30, 41)])
@pytest.mark.parametrize("degrees", [(3.0, -4.0, 5.0), (45.0, 30.0, -20.0), (0.0, 0.0, 0.0)])
def test_rotation_crop_flip_and_shift_are_one_interpolation(shape: tuple[int, ...], degrees: tuple[float, ...]) -> None:
    """On a CPU a volume is sampled as an image, which must not be seen, in channels and batches either. Images are
    sampled as a GPU samples volumes."""
    volumes = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    axes = len(shape)
    turns, shifts = torch.tensor([degrees, degrees[::-1]]), torch.tensor([[0.05, -0.1, 0.02], [0.0, 0.3, -0.5]])
    scales = torch.tensor([[1.0, 1.0, 1.0], [-0.8, 0.9, 0.7]])
    drawn = turns, scales[:, :axes], shifts[:, :axes]
    expected = torch.stack([resampled(*of_one) for of_one in zip(volumes, *drawn, strict=True)])
    torch.testing.assert_close(rotate(volumes, *drawn), expected, atol=2e-3, rtol=0)


def test_positions_are_those_of_voxels_in_whole_volumes() -> None:
    """A ramp shows where each voxel comes from; at 128³ a position in an image of all planes has few digits left."""
    ramp = torch.arange(128.0).view(1, 1, 1, 128, 1).expand(1, 1, 128, 128, 128)
    turned = rotate(ramp, torch.tensor([[0.0, 0.0, 2.0]]), torch.ones(1, 3), torch.zeros(1, 3))
    inside = slice(16, -16)  # which comes from within the volume
    turned = turned[0, 0, inside, inside, inside]
    step = torch.arange(16.0, 112.0).double() - 63.5
    angle = math.radians(2)
    candidates = [63.5 + math.cos(angle) * step + sign * math.sin(angle) * step[:, None] for sign in (1, -1)]
    errors = [(turned - where[..., None]).abs().max().item() for where in candidates]
    assert min(errors) < 5e-4


@pytest.mark.parametrize("channels", [1, 2])
def test_a_turned_view_is_cropped_mirrored_and_shifted_once(
    channels: int, volumes: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, ...]] = []

    def spy(given: torch.Tensor, *drawn: torch.Tensor) -> torch.Tensor:
        seen.append(drawn)
        return rotate(given, *drawn)

    monkeypatch.setattr("sepclr_neuro.learning.augmentation.rotate", spy)
    given = volumes.repeat(1, channels, 1, 1, 1)
    settings = OFF | {"affine_probability": 1.0, "crop_probability": 1.0, "flip_probability": 1.0}
    views = augment(given, Augmentation(**settings), seed=0)
    degrees, scale, centre = (torch.cat(drawn) for drawn in zip(*seen, strict=True))
    assert degrees.abs().min() > 0
    assert scale[:, 0].max() < 0
    assert scale.abs().max() < 1
    expected = torch.stack([resampled(*of_one) for of_one in zip(given, degrees, scale, centre, strict=True)])
    torch.testing.assert_close(views, expected, atol=2e-3, rtol=0)


def test_rotation_by_90_degrees_is_exact_on_a_cube() -> None:
    x = torch.rand(1, 1, 8, 8, 8)
    turned = rotate(x, torch.tensor([[90.0, 0.0, 0.0]]), torch.ones(1, 3), torch.zeros(1, 3))
    assert min((turned - torch.rot90(x, k, (3, 4))).abs().max() for k in (1, 3)) < 1e-5


def test_flip_mirrors_the_first_axis_only(volumes: torch.Tensor) -> None:
    view = augment(volumes, Augmentation(**(OFF | {"flip_probability": 1.0})), seed=0)
    torch.testing.assert_close(view, volumes.flip(2))


def test_a_view_has_each_axis_by_its_matrix(volumes: torch.Tensor) -> None:
    """Blur and mirror of volumes whose sides all differ, against MONAI's blur; no axis is taken for another."""
    settings = OFF | {"blur_probability": 1.0, "blur_sigma_voxels": (0.7, 0.7), "flip_probability": 1.0}
    coloured = torch.cat([volumes, 2 * volumes.flip(3)], dim=1)
    expected = torch.stack([torch.as_tensor(GaussianSmooth(0.7)(volume)) for volume in coloured]).flip(2)
    torch.testing.assert_close(augment(coloured, Augmentation(**settings), seed=0), expected, atol=1e-5, rtol=1e-4)


def test_only_the_views_that_are_drawn_are_turned(volumes: torch.Tensor) -> None:
    many = volumes[:1].repeat(40, 1, 1, 1, 1)
    before = many.clone()
    views = augment(many, Augmentation(**(OFF | {"affine_probability": 0.5, "translation_share": 0.0})), seed=0)
    turned = (views - many).abs().flatten(1).amax(dim=1) > 1e-3
    assert 10 < turned.sum() < 30
    torch.testing.assert_close(views[~turned], many[~turned])
    torch.testing.assert_close(many, before, atol=0, rtol=0)  # what is given stays as it is


def test_noise_has_the_sd_that_is_drawn() -> None:
    quiet = torch.zeros(200, 1, 16, 16, 16)
    sd = augment(quiet, Augmentation(**(OFF | {"noise_probability": 1.0, "noise_sd": 0.4})), seed=1).std((1, 2, 3, 4))
    assert sd.max() < 0.42
    assert sd.mean().item() == pytest.approx(0.2, abs=0.03)


def test_noise_of_no_two_views_is_the_same() -> None:
    views = augment(torch.zeros(6, 1, 16, 16, 16), Augmentation(**(OFF | {"noise_probability": 1.0})), seed=1)
    correlation = torch.corrcoef(views.flatten(1))
    assert (correlation - torch.eye(6)).abs().max() < 0.1


def test_cutout_zeroes_one_box_of_the_right_size() -> None:
    ones = torch.ones(100, 1, 32, 32, 32)
    view = augment(ones, Augmentation(**(OFF | {"cutout_probability": 1.0, "cutout_share": (0.25, 0.5)})), seed=2)
    for volume in view[:, 0]:
        holes = (volume == 0).nonzero()
        sides = holes.max(dim=0).values - holes.min(dim=0).values + 1
        assert sides.min() >= 7
        assert sides.max() <= 17
        assert len(holes) == sides.prod()


def test_probability_is_the_share_of_changed_views() -> None:
    ones = torch.ones(400, 1, 16, 16, 16)
    settings = Augmentation(**(OFF | {"cutout_probability": 0.3}))
    changed = (augment(ones, settings, seed=3) != 1).flatten(1).any(dim=1).float().mean()
    assert changed.item() == pytest.approx(0.3, abs=0.07)


def test_views_differ_and_the_seed_repeats_them(volumes: torch.Tensor) -> None:
    both = volumes[:1].repeat(2, 1, 1, 1, 1)
    first, second = augment(both, Augmentation(), seed=4)
    assert (first - second).abs().max() > 0.01
    torch.testing.assert_close(augment(both, Augmentation(), seed=4), torch.stack([first, second]))
    assert (augment(both, Augmentation(), seed=5) - torch.stack([first, second])).abs().max() > 0.01


def test_views_in_bfloat16_are_those_in_float32(volumes: torch.Tensor) -> None:
    """All kinds of changes at once. Values and matrices are rounded three times each, by 1/900 (root mean square)."""
    settings = Augmentation(affine_probability=1.0, blur_probability=1.0, noise_probability=1.0, flip_probability=0.5)
    exact, rounded = (augment(volumes.to(dtype), settings, seed=0) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).square().mean().sqrt() < 0.01 * exact.std()


def test_views_are_put_where_they_belong(volumes: torch.Tensor) -> None:
    views = torch.zeros(3, *volumes.shape)
    augment(volumes, Augmentation(), seed=0, out=views[1])
    torch.testing.assert_close(views[1], augment(volumes, Augmentation(), seed=0), atol=0, rtol=0)
    assert not views[::2].any()


def test_images_are_augmented_too() -> None:
    images = torch.rand(3, 3, 32, 32)
    assert augment(images, Augmentation(), seed=0).shape == images.shape


# --- the same distribution as MONAI's ------------------------------------------------------------------------------


def spread(views: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
    """What changes do to a volume: SD of each view, of its difference from the volume, and of the differences of its
    neighbours; [3, views]."""
    return torch.stack([part.flatten(1).std(dim=1) for part in (views, views - volume, views.diff(dim=-1))])


@pytest.mark.parametrize("kind", ["crop", "affine", "blur", "noise", "cutout", "all but crop"])
def test_views_are_distributed_as_monais(kind: str, volumes: torch.Tensor) -> None:
    """Over many views, how much each kind of change, and all but crops as they are drawn by default, change a volume,
    beside MONAI's transforms: the mean and, but of crops, the SD."""
    settings = Augmentation(crop_probability=0) if " " in kind else Augmentation(**(OFF | {f"{kind}_probability": 1.0}))
    volume = functional.interpolate(volumes[:1], size=(32, 32, 32), mode="trilinear")
    count = 300 if " " in kind else 150
    set_determinism(0)
    transforms = recipe.random_transforms(settings, 32)
    monais = torch.stack([torch.as_tensor(transforms({"volume": volume[0].clone()})["volume"]) for _ in range(count)])
    set_determinism(None)
    ours = augment(volume.repeat(count, 1, 1, 1, 1), settings, seed=0)
    one, other = spread(ours, volume), spread(monais, volume)
    # Of the sizes of a box, or a crop, MONAI draws whole voxels, and of a crop each axis by itself.
    error = (one.var(dim=1) / count + other.var(dim=1) / count).sqrt()
    slack = 0.12 * other.mean(dim=1) if kind in ("crop", "cutout") else 0.03 * other.mean(dim=1)
    assert ((one.mean(dim=1) - other.mean(dim=1)).abs() < 4 * error + slack).all()
    if kind != "crop":
        assert ((one.std(dim=1) / other.std(dim=1)).log().abs() < 0.35).all()


def test_the_recipe_draws_new_views_each_epoch() -> None:
    """MONAI's CacheDataset keeps what comes before the first random transform, and knows one by its trait alone."""
    data = [{"volume": torch.rand(1, 16, 16, 16), "target": number % 2} for number in range(2)]
    batches = recipe.loader(data, [], Augmentation(), 16, 2)
    first, again = (next(iter(batches))["first"].as_tensor() for _ in range(2))
    assert not torch.equal(first, again)
