"""In how many digits networks compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepclr_neuro.config.training import Training
from sepclr_neuro.learning.precision import precision_of, small_convolutions_in_float32


def test_bfloat16_is_not_chosen_where_a_gpu_only_emulates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for emulated in (True, False):
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, emulated=emulated: including_emulation or not emulated,
        )
        assert precision_of(Training()) == ("32-true" if emulated else "bf16-mixed")
        assert precision_of(Training(precision="bfloat16")) == "bf16-mixed"


@pytest.mark.parametrize(
    ("convolution", "side"),
    [
        (nn.Conv3d(16, 32, 3, padding=1), 2),
        (nn.Conv3d(16, 32, 5, stride=2, padding=2), 3),
        (nn.ConvTranspose3d(32, 16, 4, stride=2, padding=1), 1),
    ],
)
def test_gradients_of_volumes_thinner_than_a_kernel_are_those_in_float32(convolution: nn.Module, side: int) -> None:
    """Without the context, on a processor that computes bfloat16, they were not finite in half of these trials."""
    convolution = convolution.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    people = torch.randn(4, convolution.in_channels, side, side, side).to(memory_format=torch.channels_last_3d)
    convolution(people).square().sum().backward()
    expected = convolution.weight.grad.clone()
    for _ in range(20):
        convolution.zero_grad()
        freed = [torch.full((convolution.weight.numel(),), float("nan"), dtype=d) for d in (None, torch.bfloat16) * 4]
        del freed  # memory that the gradient may get
        with small_convolutions_in_float32(convolution), torch.autocast("cpu", dtype=torch.bfloat16):
            convolution(people).square().sum().backward()
        torch.testing.assert_close(convolution.weight.grad, expected)
    assert "forward" not in vars(convolution)


def test_other_convolutions_stay_in_bfloat16() -> None:
    convolution = nn.Conv3d(1, 2, 3, padding=1)
    with small_convolutions_in_float32(convolution), torch.autocast("cpu", dtype=torch.bfloat16):
        assert convolution(torch.randn(1, 1, 2, 4, 4)).dtype == torch.float32
        assert convolution(torch.randn(1, 1, 3, 4, 4)).dtype == torch.bfloat16
    transposed = nn.ConvTranspose3d(1, 2, 3, stride=2)
    with small_convolutions_in_float32(transposed), torch.autocast("cpu", dtype=torch.bfloat16):
        for side, kind in ((1, torch.float32), (3, torch.bfloat16)):
            found = transposed(torch.randn(1, 1, side, 4, 4), output_size=(2 * side + 2, 10, 10))
            assert (found.shape[2], found.dtype) == (2 * side + 2, kind)
