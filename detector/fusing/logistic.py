"""Logistic regression with an L2 penalty and, where asked, no negative weight; Newton's method in NumPy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["fit_logistic", "sigmoid"]

Array = NDArray[np.float64]

_MAX_STEPS = 200
# Largest projected gradient that counts as zero, for each picture of the fit.
_TOLERANCE = 1e-10
# A step must gain this share of what its slope promises (Armijo's rule), or it is halved.
_ARMIJO, _HALVINGS = 1e-4, 50


def fit_logistic(
    x: Array, y: NDArray[np.bool_], *, l2: float = 1.0, non_negative: bool = True, start: Array | None = None
) -> Array:
    """Return the intercept and the weights that minimise the log-loss plus l2 / 2 times the sum of squared weights.

    The sum of squares is over the weights only, and keeps them finite where the labels are separable. With
    `non_negative` the minimum is that over weights >= 0.

    Args:
        x: (N, F) features, about unit scale.
        y: (N,) whether each is of the second kind; both kinds must be there.
        l2: strength of the penalty, over 0; scikit-learn's `C` is 1 / l2.
        non_negative: hold every weight at 0 or above; the intercept is free.
        start: (1 + F,) where to begin.

    Returns:
        (1 + F,) intercept, then weights.

    Raises:
        UsageError: when `l2` is not over 0, a label is missing, a number is not finite, or the minimum is not reached.

    Source:
        Bertsekas, Projected Newton methods for optimization problems with simple constraints (SIAM J. Control
        Optim. 20(2), 1982): weights that stand at 0 and are pushed below stay out of the Newton step.
    """
    if not (np.isfinite(l2) and l2 > 0):
        raise UsageError(f"l2 must be over 0, or separable labels have no finite fit; got {l2}")
    if not np.isfinite(x).all() or not y.any() or y.all():
        raise UsageError("a fit must have finite features and both labels; it has not")
    design = np.hstack([np.ones((len(x), 1)), x])
    sign = np.where(y, 1.0, -1.0)
    penalty = np.full(design.shape[1], float(l2))
    penalty[0] = 0.0
    lower = np.full(design.shape[1], 0.0 if non_negative else -np.inf)
    lower[0] = -np.inf
    share = float(y.mean())
    theta = np.zeros(design.shape[1]) if start is None else np.maximum(start, lower)
    if start is None:
        theta[0] = np.log(share / (1 - share))

    def loss(at: Array) -> float:
        return float(np.logaddexp(0, -sign * (design @ at)).sum() + 0.5 * (penalty * at**2).sum())

    value = loss(theta)
    for _ in range(_MAX_STEPS):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - y) + penalty * theta
        if np.abs(np.maximum(theta - gradient, lower) - theta).max() <= _TOLERANCE * len(x):
            return theta
        free = ~((theta <= lower) & (gradient > 0))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.zeros_like(theta)
        # The tiny ridge matters only where every probability is 0 or 1 and the intercept's curvature vanishes.
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)] + 1e-12 * np.eye(free.sum()), gradient[free])
        theta, value, moved = _step(loss, theta, value, gradient, step, lower)
        if not moved:
            return theta  # no step gains anything in float64: this is the minimum
    raise UsageError(f"the fit must reach its minimum in {_MAX_STEPS} steps; it has not; raise --l2")


def _step(
    loss: Callable[[Array], float], theta: Array, value: float, gradient: Array, step: Array, lower: Array
) -> tuple[Array, float, bool]:
    """Walk along the projected Newton step, half as far until it gains enough."""
    for halvings in range(_HALVINGS):
        candidate = np.maximum(theta - step * 0.5**halvings, lower)
        found = loss(candidate)
        if found <= value - _ARMIJO * float(gradient @ (theta - candidate)) and not np.array_equal(candidate, theta):
            return candidate, found, True
    return theta, value, False


def sigmoid(odds: Array) -> Array:
    """Return the probability of log-odds, without overflow."""
    e = np.exp(-np.abs(odds))
    return np.where(odds >= 0, 1 / (1 + e), e / (1 + e))
