"""The autoencoders' losses against their equations, and the decoder's input for patients and controls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.ca_vae import CVAE, Code, ConVAE
from tests.oracles import ca_vae as oracle

SHAPE = (3, 32, 32)
TARGET = np.array([False, True, True, False, True])
NAMES = ["cvae", "convae", "mm-cvae", "sepvae"]


def build(name: str, **settings: float) -> CVAE:
    torch.manual_seed(0)
    own = METHODS[name].settings(common_dim=3, salient_dim=2, **settings)  # type: ignore[arg-type]
    return METHODS[name].load()(own, Network(channels=[8, 8]), SHAPE)


def batch(target: np.ndarray = TARGET) -> Batch:
    x = torch.randn(len(target), *SHAPE, generator=torch.Generator().manual_seed(1))
    return Batch(x.expand(2, *x.shape), torch.tensor(target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [TARGET, np.array([False, False, True, True])])
def test_the_loss_is_the_sum_that_the_paper_prints(name: str, target: np.ndarray) -> None:
    weights = {
        "cvae": {"beta": 3.0},
        "convae": {"beta": 3.0, "kappa": 5.0},
        "mm-cvae": {"beta": 3.0, "common_matching": 70.0, "salient_matching": 40.0},
        "sepvae": {"beta": 0.5, "salient_beta": 0.7, "alpha": 20.0, "kappa": 2.0, "gamma": 11.0},
    }[name]
    method = build(name, **weights).double()
    rng = np.random.default_rng(0)
    sizes = {"common": 3, "common_mean": 3, "common_log_variance": 3}
    sizes |= {"salient": 2, "salient_mean": 2, "salient_log_variance": 2}
    code = {key: rng.normal(size=(len(target), size)) for key, size in sizes.items()}
    data = batch(target)
    made = rng.normal(size=(len(target), *SHAPE))
    tensors = {key: torch.tensor(value) for key, value in code.items()}
    error = (data.views[0].double() - torch.tensor(made)).square().sum(dim=(1, 2, 3))
    ours = method.losses(Code(**tensors, error=error), data)["loss"].item()

    terms = oracle.evidence(data.views[0].double().numpy(), made, code, target)
    salient_weight = weights.get("salient_beta", weights["beta"])
    expected = terms["reconstruction"] + weights["beta"] * terms["common"] + salient_weight * terms["salient"]
    if isinstance(method, ConVAE):
        pairs = torch.tensor(np.concatenate([code["common"], code["salient"]], axis=1)[target])
        probability = torch.sigmoid(method.discriminator(pairs)).detach().numpy()[:, 0]
        expected += weights["kappa"] * oracle.total_correlation(probability)
    if name == "mm-cvae":
        common, salient = oracle.matching(code, target)
        expected += 70.0 * common + 40.0 * salient
    if name == "sepvae":
        expected += 0.7 * 0.5 * 20.0 * (code["salient_mean"][~target] ** 2).sum()
        logits = method.classifier(tensors["salient"]).detach().numpy()[:, 0]  # type: ignore[operator]
        expected += 11.0 * oracle.classification(logits, target)
    assert ours == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_controls_are_decoded_without_their_salient_code(name: str) -> None:
    method = build(name).eval()
    data = batch()

    made: list[torch.Tensor] = []
    method.decoder.register_forward_hook(lambda *call: made.append(call[2]))

    def decoded() -> torch.Tensor:
        torch.manual_seed(5)
        with torch.no_grad():
            method.encode(data)
        return made[-1]

    before = decoded()
    with torch.no_grad():
        method.salient_encoder.representation.bias += 1
    moved = (decoded() - before).abs().flatten(1).amax(dim=1)
    assert ((moved > 0) == data.target).all()


@pytest.mark.parametrize("name", NAMES)
def test_representations_are_the_posteriors_means(name: str) -> None:
    method, data = build(name).eval(), batch()
    code = method.encode(data)
    represented = method.represent(data.views[0])
    torch.testing.assert_close(represented["common"], code.common_mean)
    torch.testing.assert_close(represented["salient"], code.salient_mean)


def test_sepvae_does_not_learn_the_variance_of_controls() -> None:
    code = build("sepvae").encode(batch())
    assert torch.equal(code.salient_log_variance[~torch.tensor(TARGET)], torch.full((2, 2), math.log(0.1)))
    assert (code.salient_log_variance[torch.tensor(TARGET)] != math.log(0.1)).all()


@pytest.mark.parametrize("name", ["convae", "sepvae"])
def test_one_patient_does_not_train_the_discriminator(name: str) -> None:
    method = build(name)
    data = batch(np.array([False, False, True]))
    encoded = method.encode(data)
    assert method.estimator_loss(encoded, data) is None
    assert torch.isfinite(method.losses(encoded, data)["loss"])


def test_one_control_has_no_moments_to_match() -> None:
    method, data = build("mm-cvae"), batch(np.array([False, True, True]))
    with pytest.raises(ValueError, match="MMD needs 2 participants"):
        method.losses(method.encode(data), data)


def test_training_makes_reconstructions_better() -> None:
    method, data = build("cvae"), batch()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    errors = []
    for _ in range(30):
        losses = method.losses(method.encode(data), data)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        errors.append(losses["reconstruction"].item())
    assert errors[-1] < 0.9 * errors[0]


def test_its_own_defaults_stay_beside_a_users_keys() -> None:
    """Views are off by default; what the user says of one section leaves the method's other keys of it alone."""
    config = parse_config(
        {
            "training": {"learning_rate": 0.5, "epochs": 7},
            "methods": {"cvae": {"training": {"batch_size": 4}, "augmentation": {"noise_probability": 0.3}}},
        }
    )
    configured = config.for_method("cvae")
    training, augmentation = configured.training, configured.augmentation
    assert (training.epochs, training.batch_size, training.learning_rate) == (7, 4, 1e-4)
    assert (augmentation.noise_probability, augmentation.crop_probability) == (0.3, 0.0)
