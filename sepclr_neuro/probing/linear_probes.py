"""The linear probes with every penalty at once: ridge, and logistic regression.

A run fits thousands of them on tens of participants. scikit-learn takes 5 ms to check one and to get ready, these 0.3
ms, and they end at the optimum itself, where its solver stops at a tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, softmax

__all__ = ["logistic_path", "logistic_scores", "ridge_path", "ridge_predictions", "scaling", "softmax_path"]

_Floats = NDArray[np.float64]
_MOST_STEPS = 100
_REFIT_STEPS = 20
_AT_ONCE = 4_000_000  # scores that are held in memory


def scaling(x: _Floats) -> tuple[_Floats, _Floats]:
    """Mean and SD of each column of x [N, d]; 1 for the SD of a column that is constant but for rounding."""
    mean, variance = x.mean(0), x.var(0)
    rounding = np.finfo(np.float64).eps * len(x)
    constant = variance <= rounding * variance + (rounding * mean) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def ridge_path(x: _Floats, y: _Floats, penalties: Sequence[float]) -> tuple[_Floats, _Floats]:
    r"""Ridge regression by the principal axes of x, for each penalty :math:`\alpha`.

    .. math:: \min_{w, b} \lVert y - Xw - b \rVert^2 + \alpha \lVert w \rVert^2

    Args:
        x: [N, d].
        y: [N].
        penalties: K of them.

    Returns:
        Weights [K, d] and intercepts [K].
    """
    mean, level = x.mean(0), y.mean()
    squares, axes = _axes(x - mean)
    along = axes @ ((x - mean).T @ (y - level))
    weights = along / (squares + np.asarray(penalties)[:, None]) @ axes
    return weights, level - weights @ mean


def ridge_predictions(x: _Floats, answers: _Floats, x_test: _Floats, penalty: float) -> _Floats:
    """Predictions of ridge regressions of one penalty, one for each row of values.

    Args:
        x: [N, d].
        answers: [P, N].
        x_test: [M, d].

    Returns:
        [P, M].
    """
    mean, level = x.mean(0), answers.mean(1, keepdims=True)
    squares, axes = _axes(x - mean)
    along = (answers - level) @ (x - mean) @ axes.T
    return level + along / (squares + penalty) @ (axes @ (x_test - mean).T)


def _axes(x: _Floats) -> tuple[_Floats, _Floats]:
    """Squares of the singular values of x [N, d], and the axes that they belong to, [r, d].

    Of more participants than dimensions from their d x d matrix, several times as fast as from x. That leaves of
    singular values half the digits, and all that a penalty does not hide.
    """
    if len(x) < x.shape[1]:
        _, singular, axes = np.linalg.svd(x, full_matrices=False)
        return singular**2, axes
    squares, axes = np.linalg.eigh(x.T @ x)
    return np.maximum(squares, 0), axes.T


def logistic_path(x: _Floats, y: NDArray[np.int64], penalties: Sequence[float]) -> tuple[_Floats, _Floats]:
    r"""Logistic regression whose classes weigh the same, by Newton's method, for each inverse penalty :math:`C`.

    .. math:: \min_{w, b} \tfrac12 \lVert w \rVert^2 +
        C \sum_i \frac{N}{2 N_{y_i}} \log\left(1 + e^{-(2 y_i - 1)(w^\top x_i + b)}\right)

    Args:
        x: [N, d].
        y: [N], 0 or 1, both present.
        penalties: K inverse penalties; each one starts where the one before ended.

    Returns:
        Weights [K, d] and intercepts [K].
    """
    sign = 2.0 * y - 1
    share = (len(y) / (2 * np.bincount(y, minlength=2)))[y]
    # Weights lie in the span of the rows, since whatever is beside it costs and adds nothing.
    span = np.linalg.qr(x.T).Q if len(x) < x.shape[1] else np.eye(x.shape[1])
    rows = np.column_stack([x @ span, np.ones(len(x))])
    found, at = [], np.zeros(rows.shape[1])
    for penalty in penalties:
        at = _newton(rows * sign[:, None], penalty * share, at)
        found.append(at)
    all_of_them = np.array(found)
    return all_of_them[:, :-1] @ span.T, all_of_them[:, -1]


def softmax_path(x: _Floats, y: NDArray[np.int64], penalties: Sequence[float]) -> tuple[_Floats, _Floats]:
    r"""As :func:`logistic_path` for :math:`K > 2` classes, by L-BFGS.

    .. math:: \min_{W, b} \tfrac12 \lVert W \rVert^2 - C \sum_i \frac{N}{K N_{y_i}} \log p_{y_i}(W x_i + b)

    Steps are taken along the principal axes of x, each in units of the curvature that it has where all classes are
    equally likely: of codes that are correlated, scikit-learn's solver takes five times as long and ends farther away.

    Args:
        x: [N, d].
        y: [N], 0 to K - 1, all present.
        penalties: P inverse penalties; each one starts where the one before ended.

    Returns:
        Weights [P, K, d] and intercepts [P, K].
    """
    counts = np.bincount(y)
    classes, share = len(counts), (len(y) / (len(counts) * counts))[y]
    squares, axes = _axes(x)
    rows = np.column_stack([x @ axes.T, np.ones(len(x))])
    curvature, cost = np.append(squares, len(x)) / classes, np.append(np.ones(len(axes)), 0)
    at, found = np.zeros((classes, rows.shape[1])), []
    for penalty in penalties:
        unit = 1 / np.sqrt(penalty * curvature + cost)

        def value_and_gradient(point: _Floats, penalty: float = penalty, unit: _Floats = unit) -> tuple[float, _Floats]:
            w = point.reshape(classes, -1) * unit
            wrong = softmax(rows @ w.T, axis=1)
            value = -penalty * share @ np.log(np.maximum(wrong[np.arange(len(y)), y], 1e-300)) + (cost * w**2).sum() / 2
            wrong[np.arange(len(y)), y] -= 1
            return float(value), (((penalty * share[:, None] * wrong).T @ rows + cost * w) * unit).ravel()

        options = {"maxiter": 1000, "gtol": 1e-5, "ftol": 0}
        at = minimize(value_and_gradient, (at / unit).ravel(), jac=True, method="L-BFGS-B", options=options).x
        at = at.reshape(classes, -1) * unit
        found.append(at)
    all_of_them = np.array(found)
    return all_of_them[..., :-1] @ axes, all_of_them[..., -1]


def logistic_scores(
    x: _Floats, answers: NDArray[np.int64], x_test: _Floats, penalty: float, balanced: bool = True
) -> NDArray[np.float32]:
    r"""Logistic regressions of one penalty, one of each row of answers, and what they score others with.

    All rows of answers are fitted at once by accelerated gradient steps, preconditioned with a bound of the curvature.
    Twenty steps name the class that the optimum names for 98 to 100 in 100, 87 where a weak penalty (C = 10) meets
    hardly more participants than dimensions: enough for a null, not for a probe.

    Source of the bound: Böhning, Annals of the Institute of Statistical Mathematics 1992,
    https://doi.org/10.1007/BF00048682.

    Args:
        x: [N, d].
        answers: [P, N], classes 0 to K - 1.
        x_test: [M, d].
        penalty: the inverse penalty :math:`C`, as of :func:`logistic_path`.
        balanced: whether classes weigh the same.

    Returns:
        [P, M, K]: the class of the highest score is predicted. For two classes the second score is the log-odds.
    """
    rows, others = (np.column_stack([part, np.ones(len(part))]).astype(np.float32) for part in (x, x_test))
    cost = np.ones((rows.shape[1], 1), np.float32)
    cost[-1] = 0
    classes = max(2, int(answers.max()) + 1)
    # One score of two classes, with the curvature of a sigmoid; one a class of more.
    own, bound = (1, 0.25) if classes == 2 else (classes, 0.5)
    counts = np.stack([(answers == label).sum(1) for label in range(classes)], axis=1)
    share = np.ones(answers.shape)
    if balanced:
        share = np.take_along_axis(len(x) / np.maximum(counts * (counts > 0).sum(1, keepdims=True), 1), answers, 1)
    curvature = penalty * share.max() * bound * rows.astype(np.float64).T @ rows + np.diag(cost[:, 0])
    step = np.linalg.inv(curvature).astype(np.float32)
    found = np.empty((len(answers), len(x_test), classes), np.float32)
    size = max(1, _AT_ONCE // (len(x) * own))
    for start in range(0, len(answers), size):
        chunk = answers[start : start + size]
        shape = (len(x), own, len(chunk))  # sums over classes are those of long rows
        labels = np.arange(classes) if own > 1 else np.ones(1, int)
        target = (chunk.T[:, None] == labels[:, None]).astype(np.float32)
        weight = (penalty * share[start : start + size].T[:, None]).astype(np.float32)
        at = before = np.zeros((rows.shape[1], own * len(chunk)), np.float32)
        for number in range(1, _REFIT_STEPS + 1):
            ahead = at + (number - 1) / (number + 2) * (at - before)
            predicted = _probabilities((rows @ ahead).reshape(shape))
            wrong = (weight * (predicted - target)).reshape(len(x), -1)
            before, at = at, ahead - step @ (rows.T @ wrong + cost * ahead)
        scores = np.moveaxis((others @ at).reshape(len(x_test), own, len(chunk)), -1, 0)
        found[start : start + size] = scores if own > 1 else np.concatenate([np.zeros_like(scores), scores], axis=-1)
    return found


def _probabilities(scores: Any) -> Any:
    """Of the classes along the second axis [N, K, P], in place of their scores; of the second of two where K is 1."""
    if scores.shape[1] == 1:
        return expit(scores)
    np.exp(np.subtract(scores, scores.max(1, keepdims=True), out=scores), out=scores)
    return np.divide(scores, scores.sum(1, keepdims=True), out=scores)


def _newton(rows: _Floats, share: _Floats, at: _Floats) -> _Floats:
    """Where the weighted sum of log(1 + exp(-rows @ at)), and half the square of all but the last of it, is least."""
    cost = np.ones(len(at))
    cost[-1] = 0

    def value(point: _Floats) -> float:
        return float(share @ np.logaddexp(0, -rows @ point) + cost @ point**2 / 2)

    now = value(at)
    for _ in range(_MOST_STEPS):
        wrong = expit(-rows @ at)
        gradient = cost * at - rows.T @ (share * wrong)
        # The product of a matrix with itself takes half the time of one of two.
        bent = rows * np.sqrt(share * wrong * (1 - wrong))[:, None]
        step = np.linalg.solve(bent.T @ bent + np.diag(cost), gradient)
        gain = gradient @ step
        # Far from the least value a whole step may go beyond it.
        while (then := value(at - step)) > now + 1e-12 * abs(now):
            step = step / 2
        at, now = at - step, then
        if gain <= 1e-12 * abs(now):
            break
    return at
