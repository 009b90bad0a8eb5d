r"""The ELBO from minibatches of rows, with control variates that leave little to chance.

A minibatch alone is a poor guide: in coordinates where the posterior has variance 1, the gradient of N rows estimated from
B of them has variance N / B. Near the mode :math:`\hat\theta` most of it can be taken away. With L the log-likelihood of all
rows, L_B that of the batch times N / B,

.. math:: \nabla L(\theta) \approx \nabla L(\hat\theta) + \nabla L_B(\theta) - \nabla L_B(\hat\theta)

is unbiased, and its variance no longer grows with N (Baker et al. 2019; Quiroz et al. 2019). In the same way the draws of
the variational distribution are compared with a quadratic whose expectation is known,
:math:`-\tfrac12 u' \Lambda u` with :math:`\Lambda` the curvature at the mode (Miller et al. 2017), so that only what is not
normal in the posterior needs sampling.

Baker, J., Fearnhead, P., Fox, E. B. & Nemeth, C. (2019). Control variates for stochastic gradient MCMC. Statistics and
Computing 29, 599-615.
Miller, A. C., Foti, N. J., D'Amour, A. & Adams, R. P. (2017). Reducing reparameterization gradient variance. NeurIPS.
Quiroz, M., Kohn, R., Villani, M. & Tran, M.-N. (2019). Speeding up MCMC by efficient data subsampling. JASA 114, 831-843.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

DRAWS = 8  # from the variational distribution in a step, in antithetic pairs
WINDOW = 25  # steps between two looks at the error
LEAST_WINDOWS = 8
MOST_STEPS = 20_000
NATS = 0.002  # of the ELBO for each coordinate, lost by the Monte Carlo error of the parameters: here it stops
FIRST_STEP, DECAY = 0.5, (50.0, 0.6)  # of a Newton step, and how it gets shorter: (1 + t / 50)^-0.6
SHORTEST = 1e-4  # first step, after halvings where the density is not finite
PARTS = 8  # of the steps averaged, whose averages are compared
FARTHEST = 0.5  # of one step, in standard deviations and logarithms


def batches_in_memory(posterior, batch_size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Posteriors of batches of rows: all rows in random order, over and over."""
    n = posterior.data.n_obs
    while True:
        order = rng.permutation(n)
        for start in range(0, n - batch_size + 1, batch_size):
            yield posterior.on_rows(np.sort(order[start : start + batch_size]), n / batch_size)


def batches_of_source(streamed, batch_size: int, pool_size: int, rng: np.random.Generator) -> Iterator[Any]:
    """Posteriors of batches of rows out of memory: from rows picked at random in one pass, then from others."""
    while True:
        pool = streamed.random_rows(max(batch_size, pool_size), rng)
        n = pool.data.n_obs
        for start in range(0, n - batch_size + 1, batch_size):
            yield pool.on_rows(np.arange(start, start + batch_size), streamed.n_obs / batch_size)


class Objective:
    """Unbiased ELBO and gradient from a batch, given value and gradient of the whole posterior at the mode.

    Attributes
    ----------
    curvature : ndarray (n, n)
        Minus the Hessian at the mode in the basis of the family. Any positive definite matrix is right, only less good.
    """

    def __init__(self, family, mode, value: float, gradient: np.ndarray):
        self.center, self.basis = family.center, family.basis
        self.value, self.gradient = value, gradient
        whitened = np.linalg.solve(mode.basis, family.basis)
        self.curvature = whitened.T @ whitened

    def estimate(self, part, family, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """ELBO, and its gradients in m (n,) and L (n, n), entropy included, from draws z (draws, n)."""
        mean, factor = family.mean, family.factor()
        u = mean + z @ factor.T
        values, gradients = np.empty(len(z)), np.empty_like(u)
        at_mode, slope = part.value_and_gradient(self.center)
        for i, shift in enumerate(u @ self.basis.T):
            value, gradient = part.value_and_gradient(self.center + shift)
            values[i], gradients[i] = value - at_mode - slope @ shift, gradient - slope
        drop = u @ self.curvature
        residual = gradients @ self.basis + drop  # of the quadratic
        start = self.gradient @ self.basis
        expected = self.value + start @ mean - 0.5 * (mean @ self.curvature @ mean)
        expected -= 0.5 * np.sum(factor * (self.curvature @ factor))
        elbo = expected + float(np.mean(values + 0.5 * np.sum(u * drop, axis=1))) + family.entropy()
        in_mean = start - self.curvature @ mean + residual.mean(axis=0)
        in_factor = -self.curvature @ factor + residual.T @ z / len(z)
        return elbo, in_mean, in_factor


def maximise_on_minibatches(objective: Objective, family, batches: Iterator[Any], rng, progress=None):
    """Maximise the ELBO by stochastic Newton steps that get shorter, and average where they lead (Polyak & Juditsky 1992).

    Parameters are averaged over the second half of the steps. How much the averages of parts of it differ tells their
    Monte Carlo error; when it costs less than 0.002 nats of the ELBO per coordinate the run ends.

    Returns
    -------
    family, trace, reason
        The reason why it did not converge, or nothing.
    """
    n, at, trace, total, windows = family.n_dim, family, [], 0.0, []
    curvature = family.curvature_of_parameters(objective.curvature)
    newton = np.linalg.inv(objective.curvature)
    task = None if progress is None else progress.add_task("ADVI", total=None)
    length, lost = FIRST_STEP, np.inf
    while len(trace) < MOST_STEPS:
        half = rng.standard_normal((DRAWS // 2, n))
        elbo, in_mean, in_factor = objective.estimate(next(batches), at, np.concatenate([half, -half]))
        if not (np.isfinite(elbo) and np.all(np.isfinite(in_mean)) and np.all(np.isfinite(in_factor))):
            length, at = 0.5 * length, family.at(windows[-1]) if windows else family
            if length < SHORTEST:
                return at, np.array(trace), "the density is not finite at draws of the approximation"
            continue
        gradient = at.in_parameters(in_mean, in_factor)
        move = np.concatenate([newton @ gradient[:n], gradient[n:] / curvature[n:]])
        move *= length * (1.0 + len(trace) / DECAY[0]) ** -DECAY[1]
        at = at.at(at.parameters + np.clip(move, -FARTHEST, FARTHEST))
        trace.append(elbo)
        total = total + at.parameters
        if len(trace) % WINDOW == 0:
            windows.append(total / WINDOW)
            total = 0.0
            if progress is not None:
                progress.update(task, advance=WINDOW, description=f"ADVI: ELBO {np.mean(trace[-WINDOW:]):.2f}")
            if len(windows) >= LEAST_WINDOWS:
                average, error = _average(windows[len(windows) // 2 :])
                lost = 0.5 * float(curvature @ error**2)
                if lost < NATS * n:
                    return family.at(average), np.array(trace), ""
    reason = f"after {MOST_STEPS} steps the Monte Carlo error of the parameters still costs {lost:.2g} nats"
    return family.at(_average(windows[len(windows) // 2 :])[0]), np.array(trace), reason


def _average(windows: list) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the averages of windows, and its standard error from parts that are longer than steps remember."""
    parts = np.array([np.mean(part, axis=0) for part in np.array_split(np.array(windows), min(len(windows), PARTS))])
    return np.mean(windows, axis=0), parts.std(axis=0, ddof=1) / np.sqrt(len(parts))
