r"""Contrastive-analysis variational autoencoders: two encoders, and a decoder whose salient input is 0 for controls.

Every term is a sum over voxels, dimensions and the participants of a batch, as in the released code of all four
methods; with means, the published weights would not apply. Batches hold one view of each volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from sepclr_neuro.config.methods.ca_vae import ConVAESettings, CVAESettings, MMcVAESettings, SepVAESettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.independence import Discriminator, squared_mmd
from sepclr_neuro.methods.losses import kl_to_standard_normal, outside_autocast, precise
from sepclr_neuro.methods.networks import build_decoder, build_encoder
from sepclr_neuro.methods.two_encoders import TwoEncoders

__all__ = ["CVAE", "Code", "ConVAE", "MMcVAE", "SepVAE"]

CONTROLS_LOG_VARIANCE = math.log(0.1)
"""Fixed log variance of controls' salient code in SepVAE, as released."""


class Code(NamedTuple):
    """Encoding of a batch: for each space the posterior's mean and log variance and a sample from it, each [B, d]."""

    common_mean: Tensor
    common_log_variance: Tensor
    common: Tensor
    salient_mean: Tensor
    salient_log_variance: Tensor
    salient: Tensor
    error: Tensor
    """Squared error of the reconstruction, summed over voxels, [B]."""


class CVAE(TwoEncoders):
    r"""cVAE: patients are decoded from [c, s], controls from [c, 0].

    .. math:: L = \sum_i \|x_i - \hat x_i\|^2 + \beta \Big(\sum_i KL_c(x_i) + \sum_{i: y_i=1} KL_s(x_i)\Big)

    Representations are the posteriors' means.

    Source: Abid and Zou, 2019, https://arxiv.org/abs/1902.04601; the squared error without a half, as released.
    """

    views: ClassVar[int] = 1

    def __init__(self, settings: CVAESettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__(input_shape)
        self.settings = settings
        self.common_encoder = build_encoder(network, input_shape, 2 * settings.common_dim)
        self.salient_encoder = build_encoder(network, input_shape, 2 * settings.salient_dim)
        self.decoder = build_decoder(network, input_shape, settings.common_dim + settings.salient_dim)

    def common_codes(self, volumes: Tensor) -> Tensor:
        return self.common_encoder(volumes).chunk(2, dim=1)[0]  # the mean; the other half is the log variance

    def salient_codes(self, volumes: Tensor) -> Tensor:
        return self.salient_encoder(volumes).chunk(2, dim=1)[0]

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self.salient_codes(self.adjust(volumes, covariates)).square().sum(dim=1)

    def codes(self, part: Batch) -> dict[str, Tensor]:
        volumes = part.views[0]
        c_mean, c_log_variance = precise(self.common_encoder(volumes)).chunk(2, dim=1)
        s_mean, s_log_variance = precise(self.salient_encoder(part.salient_views[0])).chunk(2, dim=1)
        s_log_variance = self.salient_log_variance(s_log_variance, part.target)
        noise = part.normal(c_mean.shape[1] + s_mean.shape[1]).to(c_mean)
        c_noise, s_noise = noise.tensor_split([c_mean.shape[1]], dim=1)
        c, s = (
            mean + (0.5 * log_variance).exp() * drawn
            for mean, log_variance, drawn in ((c_mean, c_log_variance, c_noise), (s_mean, s_log_variance, s_noise))
        )
        decoded = self.decoder(torch.cat([c, s * part.target[:, None]], dim=1))
        error = (precise(volumes) - precise(decoded)).square().flatten(start_dim=1).sum(dim=1)
        return Code(c_mean, c_log_variance, c, s_mean, s_log_variance, s, error)._asdict()

    def heads(self, codes: dict[str, Tensor], batch: Batch) -> Code:
        return Code(**codes)

    def salient_log_variance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Log variance of the salient posterior, [B, d], from the salient encoder's output for it."""
        return predicted

    @outside_autocast
    def losses(self, encoded: Code, batch: Batch) -> dict[str, Tensor]:
        terms, weights = self.terms(encoded, batch)
        loss = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        return {"loss": loss, **terms}

    def terms(self, code: Code, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The value of each term, a scalar, and its weight in the loss."""
        c_divergence = kl_to_standard_normal(code.common_mean, code.common_log_variance)
        s_divergence = kl_to_standard_normal(code.salient_mean, code.salient_log_variance)
        terms = {
            "reconstruction": code.error.sum(),
            "common_divergence": c_divergence.sum(),
            "salient_divergence": s_divergence[batch.patients].sum(),
        }
        beta = self.settings.beta
        return terms, {"reconstruction": 1.0, "common_divergence": beta, "salient_divergence": beta}


class ConVAE(CVAE):
    r"""conVAE: cVAE with a penalty on the total correlation between the two spaces of patients.

    .. math:: + \kappa \sum_{i: y_i=1} \max\Big(0, \log \frac{D}{1-D}(c_i, s_i)\Big)

    The density ratio is that of a discriminator D of true pairs (c_i, s_i) against pairs shuffled between patients.

    Source: Aglinskas et al., Science 2022, https://doi.org/10.1126/science.abm2461; Abid and Zou name the term too.
    """

    settings: ConVAESettings

    def __init__(self, settings: ConVAESettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__(settings, network, input_shape)
        self.discriminator = Discriminator(settings.common_dim + settings.salient_dim, settings.estimator_width)
        self.estimator_steps = settings.estimator_steps
        self.estimator_learning_rate = settings.estimator_learning_rate

    def terms(self, code: Code, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        terms, weights = super().terms(code, batch)
        ratio = self.discriminator.log_ratio(code.common[batch.patients], code.salient[batch.patients])
        terms["total_correlation"] = functional.relu(ratio).sum()
        return terms, weights | {"total_correlation": self.settings.kappa}

    @outside_autocast
    def estimator_loss(self, encoded: Code, batch: Batch) -> Tensor | None:
        if len(batch.patients) < 2:
            return None
        common, salient = encoded.common[batch.patients], encoded.salient[batch.patients]
        return self.discriminator.classification_loss(common.detach(), salient.detach())

    def estimator_parameters(self) -> list[nn.Parameter]:
        return list(self.discriminator.parameters())


class MMcVAE(CVAE):
    r"""MM-cVAE: cVAE that matches the common codes of both groups, and controls' salient codes to 0, by MMD.

    .. math:: + \lambda_1 MMD^2(c|y{=}0,\; c|y{=}1) + \lambda_2 MMD^2(s|y{=}0,\; 0)

    The released code clips a negative estimate at 0 and includes the pairs (i, i) in the mean; here the estimate is
    unbiased and not clipped, so that it always has a gradient.

    Source: Weinberger et al., AISTATS 2022, https://arxiv.org/abs/2202.10560.
    """

    settings: MMcVAESettings

    def terms(self, code: Code, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        terms, weights = super().terms(code, batch)
        controls = code.salient[batch.controls]
        terms["common_matching"] = squared_mmd(code.common[batch.controls], code.common[batch.patients])
        terms["salient_matching"] = squared_mmd(controls, torch.zeros_like(controls))
        matching = {
            "common_matching": self.settings.common_matching,
            "salient_matching": self.settings.salient_matching,
        }
        return terms, weights | matching


class SepVAE(ConVAE):
    r"""SepVAE: conVAE with a narrow salient prior for controls and a classifier of the groups on the salient code.

    .. math:: + \beta_s \frac{\alpha}{2} \sum_{i: y_i=0} \|\mu_s(x_i)\|^2 + \gamma \sum_i BCE(y_i, g(s_i))

    Controls' salient posterior has the fixed variance 0.1, so that its divergence from the prior is the squared mean up
    to a constant. The classifier is trained in the same step as the encoders.

    Source: Louiset et al., 2023, https://arxiv.org/abs/2307.06206.
    """

    settings: SepVAESettings

    def __init__(self, settings: SepVAESettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__(settings, network, input_shape)
        self.classifier = nn.Linear(settings.salient_dim, 1)

    def salient_log_variance(self, predicted: Tensor, target: Tensor) -> Tensor:
        return torch.where(target[:, None], predicted, CONTROLS_LOG_VARIANCE)

    def terms(self, code: Code, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        terms, weights = super().terms(code, batch)
        settings = self.settings
        terms["controls_divergence"] = 0.5 * settings.alpha * code.salient_mean[batch.controls].square().sum()
        logits = self.classifier(code.salient)[:, 0]
        terms["classification"] = functional.binary_cross_entropy_with_logits(
            logits, batch.target.to(logits.dtype), reduction="sum"
        )
        own = {
            "salient_divergence": settings.salient_beta,
            "controls_divergence": settings.salient_beta,
            "classification": settings.gamma,
        }
        return terms, weights | own
