r"""The observed information of a mixture, exact, and the derivatives that carry it over to named parameters.

Louis (1982): what the data inform about the parameters is what they would inform with known labels, less what the
missing labels take away. With :math:`s_{nk}` and :math:`h_{nk}` the gradient and Hessian of
:math:`\log \pi_k + \log p(x_n \mid \theta_k)`, responsibilities :math:`r_{nk}` and row weights :math:`w_n`,

.. math:: -\nabla^2 L = \sum_n w_n \Big\{ \sum_k r_{nk} (-h_{nk} - s_{nk} s_{nk}') + s_n s_n' \Big\},
          \qquad s_n = \sum_k r_{nk} s_{nk}.

No term presumes an optimum, so this holds at any parameters. The sum is taken in coordinates phi in which each component
has its own, so that the block of components k and j is
:math:`-\delta_{kj} \sum_n w_n r_{nk} h_{nk} - \sum_n w_n r_{nk} (\delta_{kj} - r_{nj}) s_{nk} s_{nj}'`, and then
carried over to the free coordinates theta by the chain rule, second derivatives of phi included. These coordinates are
log pi_k and, with P the component's precision factor,

- kernels ``full`` and ``diagonal``: u and V about zero, where :math:`z = (I + V) (P (x - \mu) - u)`. In units of the
  component itself, so that neither the units of the data nor its offset cost digits;
- kernels ``student_full`` and ``student_diagonal``: u and V again, and nu;
- kernel ``linear``: eta and A;
- kernels written from a formula: the parameters.

A density with a kink, such as Laplace's, has scores but no Hessian that says anything: the information in a kinked
parameter sits in the kinks. There the outer products of the scores, :math:`\sum_n w_n s_n s_n'`, stand for it (Berndt,
Hall, Hall & Hausman 1974), which estimate the Fisher information wherever the scores have second moments (van der Vaart
1998, *Asymptotic Statistics*, sec. 7.2).
"""

from typing import Any

import numpy as np

from ..arrays import NUMPY
from ..components.base import Component, Guard, Rows, Statistics
from .formula import log_of_weights
from .generate import functions_of
from .student import log_gamma_ratio

CELLS = 2**17  # doubles of the scores of a block of rows (1 MB), unless that is few rows


# -- in free coordinates -------------------------------------------------------------------------------------------------
def observed_information(
    component: Component, rows: Rows, params: dict, guard: Guard | None = None, vector: np.ndarray | None = None
) -> np.ndarray:
    """Minus the Hessian of the log-likelihood and the guard in free coordinates, in nats: (parameter, parameter).

    The coordinates are those of `Likelihood.to_vector`: log ratios to the last weight, then the family's, at `vector` where
    the parameters have several. Exact at any parameters whose free coordinates are finite. One pass over the data, in
    blocks of rows.
    """
    weights = params["weights"]
    own = {name: value for name, value in params.items() if name != "weights"}
    a, b = component.kernel_arguments(own)
    view = _view(component, rows, params, a, b)
    gradient, missing = _one_pass(view, rows, log_of_weights(weights), component.smooth)
    gradient = view.with_guard(gradient, guard)
    k, m = gradient.shape
    hessian = missing.reshape(k, m, k, m)
    hessian[range(k), :, range(k), :] += view.complete_hessian(gradient, guard)

    vector = component.to_vector(own) if vector is None else vector
    size = len(vector)
    chain = np.zeros((k, m, k - 1 + size))  # d phi / d theta
    chain[:, 0, : k - 1] = (np.eye(k) - weights)[:, : k - 1]
    for at in np.ndindex(k, m - 1):
        one = np.zeros((k, m - 1))
        one[at] = 1.0
        chain[at[0], 1 + at[1], k - 1 :] = component.gradient_at(vector, own, *view.in_arguments(one))
    chain = chain.reshape(k * m, -1)
    information = -chain.T @ hessian.reshape(k * m, k * m) @ chain
    among_weights = np.diag(weights) - np.outer(weights, weights)
    information[: k - 1, : k - 1] += gradient[:, 0].sum() * among_weights[: k - 1, : k - 1]
    information[k - 1 :, k - 1 :] -= component.curvature_at(vector, own, *view.in_arguments(gradient[:, 1:]))
    return 0.5 * (information + information.T)


def parameter_jacobian(component: Component, params: dict) -> dict:
    """Derivatives of weights and parameters by name in all free coordinates, each (cluster, ..., parameter)."""
    weights = params["weights"]
    own = component.vector_jacobian({name: value for name, value in params.items() if name != "weights"})
    ratios = (weights[:, None] * (np.eye(len(weights)) - weights))[:, :-1]
    size = next(iter(own.values())).shape[-1]
    jacobian = {"weights": np.concatenate([ratios, np.zeros((len(weights), size))], axis=1)}
    for name, value in own.items():
        jacobian[name] = np.concatenate([np.zeros((*value.shape[:-1], len(weights) - 1)), value], axis=-1)
    return jacobian


# -- in coordinates of each component ------------------------------------------------------------------------------------
def _one_pass(view, rows: Rows, log_weights: np.ndarray, smooth: bool):
    """Gradient (K, M) in phi, and the part of the Hessian that comes from the scores alone, (K M, K M).

    For families that are not smooth: zero, and minus the sum of outer products of the scores of rows.
    """
    k, m = len(log_weights), view.size
    gradient, between, within = np.zeros((k, m)), np.zeros((k * m, k * m)), np.zeros((k, m, m))
    step = max(256, CELLS // (k * m))
    for start in range(0, len(rows.x), step):
        log_density, scores = view.scores(rows.x[start : start + step].T)
        joint = log_weights[:, None] + log_density
        r = _shares(joint)
        w = rows.weights[start : start + step] if rows.weights.size else 1.0
        gradient += np.matmul(scores, (w * r)[:, :, None])[:, :, 0]
        within += np.matmul(scores * (w * r * (1.0 - r))[:, None], scores.transpose(0, 2, 1))
        scores *= (np.sqrt(w) * r)[:, None]
        flat = scores.reshape(k * m, -1)
        between -= flat @ flat.T
    if not smooth:
        return np.zeros_like(gradient), between
    missing = between.reshape(k, m, k, m)
    missing[range(k), :, range(k), :] = within  # with 1 - r taken first: no difference of large sums
    return gradient, between


def _shares(joint):
    """Responsibilities (K, obs) from log weights plus log densities."""
    r = np.exp(joint - joint.max(axis=0))
    return r / r.sum(axis=0)


def _view(component, rows, params, a, b):
    """The coordinates of a component that suit its kernel."""
    second = None
    if component.numeric:
        run = component.expected_statistics()
        second = run(rows.x, rows.weights, log_of_weights(params["weights"]), np.ascontiguousarray(a), b)[3]
        if not component.smooth:  # its scores alone count
            second = np.zeros_like(second)
    view = _view_of(component, params, a, b, second)
    if students := list(_students(view)):
        _add_curvature(students, view, rows, log_of_weights(params["weights"]))
    return view


def _students(view, clusters: slice | list = slice(None), first_column: int = 0):
    """Views of t distributions inside a view, with their components and their columns of the rows."""
    if isinstance(view, _Student):
        yield view, clusters, slice(first_column, first_column + view.d)
    elif isinstance(view, _Product):
        for part, columns in zip(view.views, view.columns, strict=True):
            yield from _students(part, clusters, first_column + columns.start)
    elif isinstance(view, _Kinds):
        for group, own, columns in zip(view.views, view.clusters, view.columns, strict=True):
            yield from _students(group, own, columns.start)


def _add_curvature(students, view, rows, log_weights):
    """Give t distributions their Hessian, which the sums of scores do not tell."""
    step = max(256, CELLS // (len(log_weights) * view.size))
    for start in range(0, len(rows.x), step):
        x = rows.x[start : start + step].T
        r = _shares(view.scores(x)[0] + log_weights[:, None])
        r *= rows.weights[start : start + step] if rows.weights.size else 1.0
        for student, clusters, columns in students:
            student.add_curvature(r[clusters], x[columns])


def _view_of(component, params, a, b, second):
    if hasattr(component, "kinds"):
        return _Kinds(component, params, a, b, second)
    if component.multivariate and component.numeric:
        return _Product(component, params, a, b, second)
    if component.numeric:
        return _Formula(component, params, a, second)
    if component.kernel.startswith("student"):
        return _Student(a, b)
    return _Linear(component, params, a, b) if component.kernel == "linear" else _Gaussian(a, b)


class _Formula:
    """Families by their formula: phi_k = (log pi_k, parameters), with derivatives from the written pass."""

    def __init__(self, component, params, a, second):
        component.expected_statistics()  # so that its pass is written
        self.component, self.params, self.second = component, params, second
        self.a = np.ascontiguousarray(a, dtype=float)
        self.size = 1 + a.shape[1]

    def scores(self, x):
        """Log density (K, obs) of prepared rows (column, obs), and the scores (K, M, obs)."""
        log_density, own = functions_of(self.component.kernel).pointwise(np.ascontiguousarray(x.T), self.a)
        scores = np.empty((len(self.a), self.size, x.shape[1]))
        scores[:, 0], scores[:, 1:] = 1.0, own
        return log_density, scores

    def with_guard(self, gradient, guard):
        """Add the gradient of the guard."""
        if guard is None:
            return gradient
        found = self._guarded(np.zeros_like(self.a), np.zeros_like(self.second), guard)
        return gradient + np.concatenate([np.zeros((len(self.a), 1)), found.first], axis=1)

    def complete_hessian(self, gradient, guard):
        """Sum of r h, (K, M, M)."""
        second = self.second if guard is None else self._guarded(np.zeros_like(self.a), self.second, guard).second
        hessian = np.zeros((len(self.a), self.size, self.size))
        hessian[:, 1:, 1:] = second
        return hessian

    def in_arguments(self, gradient):
        """The gradient in the parameters as it is."""
        return gradient, np.zeros((len(self.a), 0))

    def _guarded(self, first, second, guard):
        own = {name: value for name, value in self.params.items() if name != "weights"}
        return self.component.with_guard(own, Statistics(0.0, np.zeros(len(self.a)), first, second), guard)


class _Product:
    """Parts side by side: phi_k = (log pi_k, what each part has behind it)."""

    def __init__(self, component, params, a, b, second):
        self.component, joined = component, component.joined
        split = zip(*(joined.split(n, v) for n, v in (("a", a), ("b", b), ("second", second))), strict=True)
        pairs = zip(component.each(params), split, strict=True)
        self.views = [_view_of(part.component, own, *pieces) for (part, own), pieces in pairs]
        self.columns = [own["x"] for own in joined.slices]
        stops = np.cumsum([1, *(view.size - 1 for view in self.views)]).tolist()
        self.own, self.size = [slice(i, j) for i, j in zip(stops, stops[1:], strict=False)], stops[-1]

    def scores(self, x):
        """Log density (K, obs) of prepared rows (column, obs), and the scores (K, M, obs)."""
        parts = [view.scores(x[columns]) for view, columns in zip(self.views, self.columns, strict=True)]
        scores = np.concatenate([parts[0][1][:, :1], *(found[:, 1:] for _, found in parts)], axis=1)
        return np.sum([value for value, _ in parts], axis=0), scores

    def with_guard(self, gradient, guard):
        """Add the gradients of the parts' guards."""
        out = gradient.copy()
        for view, own, g in zip(self.views, self.own, self.component._guards(guard), strict=True):
            if g is not None:
                out[:, own] = view.with_guard(self._with_rows(gradient, own), g)[:, 1:]
        return out

    def complete_hessian(self, gradient, guard):
        """Sum of r h, in blocks."""
        hessian = np.zeros((len(gradient), self.size, self.size))
        for view, own, g in zip(self.views, self.own, self.component._guards(guard), strict=True):
            found: Any = view.complete_hessian(self._with_rows(gradient, own), g)
            if np.ndim(found):
                hessian[:, own, own] = found[:, 1:, 1:]
        return hessian

    def in_arguments(self, gradient):
        """The gradient in the parts' a and b, behind one another."""
        moved = [slice(own.start - 1, own.stop - 1) for own in self.own]
        pairs = [view.in_arguments(gradient[:, own]) for view, own in zip(self.views, moved, strict=True)]
        joined = self.component.joined
        return tuple(joined.flat(name, [pair[i] for pair in pairs]) for i, name in enumerate("ab"))

    def _with_rows(self, gradient, own):
        """A part's own columns of a gradient, those of log pi in front."""
        return np.concatenate([gradient[:, :1], gradient[:, own]], axis=1)


def _left_out(view) -> float:
    """What minus the log density of normal components has besides what `scores` finds: log(2 pi) / 2 for each column."""
    if isinstance(view, _Product):
        return sum(_left_out(part) for part in view.views)
    return 0.5 * np.log(2.0 * np.pi) * view.mu.shape[1] if isinstance(view, _Gaussian) else 0.0


class _Kinds:
    """Components of several kinds: phi_k = (log pi_k, what the family of k has behind it), zero where others have more."""

    def __init__(self, component, params, a, b, second):
        self.component, self.n_components = component, len(a)
        flat = (("a", a), ("b", b), ("second", second))
        pieces = zip(component._each(params), *(component.shaped(*pair) for pair in flat), strict=True)
        self.views = [_view_of(group.component, own, *rest) for (group, own), *rest in pieces]
        self.clusters = [list(group.clusters) for group in component.groups]
        self.columns, self.with_base = component.kinds.columns, component.kinds.with_base
        self.size = max(view.size for view in self.views)

    def scores(self, x):
        """Log density (K, obs) of prepared rows (column, obs), and the scores (K, M, obs)."""
        n_obs = x.shape[1]
        log_density, scores = np.empty((self.n_components, n_obs)), np.zeros((self.n_components, self.size, n_obs))
        for view, own, columns, base in zip(self.views, self.clusters, self.columns, self.with_base, strict=True):
            rows = x[columns]
            log_density[own], scores[own, : view.size] = view.scores(rows[:-1] if base else rows)
            log_density[own] += (rows[-1] if base else 0.0) - _left_out(view)
        return log_density, scores

    def with_guard(self, gradient, guard):
        """Add the gradients of the families' guards."""
        out = gradient.copy()
        for view, own, g in zip(self.views, self.clusters, self.component._guards(guard), strict=True):
            if g is not None:
                out[own, : view.size] = view.with_guard(gradient[own, : view.size], g)
        return out

    def complete_hessian(self, gradient, guard):
        """Sum of r h, (K, M, M)."""
        hessian = np.zeros((self.n_components, self.size, self.size))
        for view, own, g in zip(self.views, self.clusters, self.component._guards(guard), strict=True):
            hessian[own, : view.size, : view.size] = view.complete_hessian(gradient[own, : view.size], g)
        return hessian

    def in_arguments(self, gradient):
        """The gradient in the families' a and b."""
        pairs = [
            view.in_arguments(gradient[own, : view.size - 1])
            for view, own in zip(self.views, self.clusters, strict=True)
        ]
        return tuple(self.component.kinds.together(name, [pair[i] for pair in pairs]) for i, name in enumerate("ab"))


class _Gaussian:
    """Normal components: phi_k = (log pi_k, u, V), V lower triangular (full) or diagonal.

    At u = 0 and V = 0 the scores are (1, z, I - zz'), with z = P (x - mu).
    """

    def __init__(self, mu, b):
        self.mu, self.b = mu, b
        d = mu.shape[1]
        self.factor = b if b.ndim == 3 else b[:, :, None] * np.eye(d)
        self.root = np.linalg.inv(self.factor)
        self.row, self.column = np.tril_indices(d) if b.ndim == 3 else (np.arange(d), np.arange(d))
        self.trace = (self.row == self.column).astype(float)  # I, at the entries of V
        self.size = 1 + d + len(self.row)

    def scores(self, x):
        """Log density (K, obs) of x (feature, obs), and the scores (K, M, obs)."""
        k, d = self.mu.shape
        scores = np.empty((k, self.size, x.shape[1]))
        z = scores[:, 1 : 1 + d]
        centred = x - self.mu[:, :, None]
        z[:] = self.factor @ centred if self.b.ndim == 3 else centred * self.b[:, :, None]
        log_det = np.log(np.diagonal(self.factor, axis1=1, axis2=2)).sum(axis=1)
        scores[:, 0] = 1.0
        for p, (i, j) in enumerate(zip(self.row, self.column, strict=True)):
            np.multiply(z[:, i], z[:, j], out=scores[:, 1 + d + p])
        square = scores[:, 1 + d :]
        log_density = log_det[:, None] - 0.5 * square[:, self.trace == 1.0].sum(axis=1)
        np.subtract(self.trace[:, None], square, out=square)
        return log_density, scores

    def with_guard(self, gradient, guard):
        """Add the gradient of the guard's rows, whose second statistics are about each component's own mean."""
        if guard is None:
            return gradient
        gradient = gradient.copy()
        gradient[:, 1 + self.mu.shape[1] :] += guard.n * self.trace - self._entries(self._whitened(guard))
        return gradient

    def complete_hessian(self, gradient, guard):
        """Sum of r h, (K, M, M): h is linear in z and zz', whose sums are read off the gradient."""
        k, d = self.mu.shape
        i, j, one = self.row, self.column, np.eye(d)
        rows = gradient[:, 0, None] + (0.0 if guard is None else guard.n)  # those that V sees
        first = gradient[:, 1 : 1 + d]
        second = np.zeros((k, d, d))
        second[:, i, j] = second[:, j, i] = rows * self.trace - gradient[:, 1 + d :]
        hessian = np.zeros((k, self.size, self.size))
        hessian[:, 1 : 1 + d, 1 : 1 + d] = -gradient[:, 0, None, None] * one
        mixed = one[:, i] * first[:, None, j] + one[:, j] * first[:, None, i]
        hessian[:, 1 : 1 + d, 1 + d :], hessian[:, 1 + d :, 1 : 1 + d] = mixed, mixed.transpose(0, 2, 1)
        same_row = (i[:, None] == i) * second[:, j[:, None], j]
        hessian[:, 1 + d :, 1 + d :] = -same_row - rows[:, :, None] * np.diag(self.trace)
        return hessian

    def in_arguments(self, gradient):
        """Gradient in mu and P (or 1 / sigma) from that in u and V: u = P d mu, V = dP P^-1."""
        k, d = self.mu.shape
        of_mu = np.matmul(gradient[:, None, :d], self.factor)[:, 0]
        if self.b.ndim == 2:
            return of_mu, gradient[:, d:] / self.b
        of_v = np.zeros((k, d, d))
        of_v[:, self.row, self.column] = gradient[:, d:]
        return of_mu, np.tril(of_v @ self.root.transpose(0, 2, 1))

    def _whitened(self, guard):
        second = guard.second if guard.second.ndim == 2 else np.diag(guard.second)
        return self.factor @ second @ self.factor.transpose(0, 2, 1)

    def _entries(self, matrices):
        return matrices[:, self.row, self.column]


class _Student:
    r"""Components of t distributions: phi_k = (log pi_k, u, V, nu), u and V as of normal ones.

    With :math:`w = (\nu + D) / (\nu + |z|^2)` the scores are 1, w z, I - w zz' and that of nu. The Hessian is that of normal
    components whose rows count w times, but for :math:`2 w^2 / (\nu + D) q q'`, with :math:`q = (-z, zz')`, and what
    involves nu: there the derivative of w is :math:`w (1 - w) / (\nu + D)`.
    """

    def __init__(self, a, b):
        self.d = a.shape[1] - 1
        self.normal, self.nu = _Gaussian(a[:, : self.d], b), a[:, self.d]
        self.size = self.normal.size + 1
        k, m = len(a), self.normal.size - 1
        self.counted = np.zeros(k)  # sum of r (1 - w)
        self.further = np.zeros((k, m + 1, m + 1))  # of the Hessian in u, V and nu

    def _at(self, x):
        """Log density (K, obs), w, |z|^2, and (z, zz'), (K, M, obs)."""
        _, scores = self.normal.scores(x)
        moments = scores[:, 1:]
        moments[:, self.d :] = self.normal.trace[:, None] - moments[:, self.d :]
        squared = (moments[:, : self.d] ** 2).sum(axis=1)
        nu = self.nu[:, None]
        log_det = np.log(np.diagonal(self.normal.factor, axis1=1, axis2=2)).sum(axis=1)
        constant = (
            log_gamma_ratio(NUMPY, 0.5 * self.nu, 0.5 * self.d) - 0.5 * self.d * np.log(np.pi * self.nu) + log_det
        )
        log_density = constant[:, None] - 0.5 * (nu + self.d) * np.log1p(squared / nu)
        return log_density, (nu + self.d) / (nu + squared), squared, moments

    def scores(self, x):
        """Log density (K, obs) of x (feature, obs), and the scores (K, M, obs)."""
        from scipy.special import psi

        log_density, w, squared, moments = self._at(x)
        nu = self.nu[:, None]
        scores = np.empty((len(nu), self.size, x.shape[1]))
        scores[:, 0] = 1.0
        scores[:, 1:-1] = w[:, None] * moments
        scores[:, 1 + self.d : -1] = self.normal.trace[:, None] - scores[:, 1 + self.d : -1]
        slope = psi(0.5 * (nu + self.d)) - psi(0.5 * nu) - self.d / nu
        scores[:, -1] = 0.5 * (slope + w * squared / nu - np.log1p(squared / nu))
        return log_density, scores

    def add_curvature(self, r, x):
        """Add the Hessian's parts that are not of normal components, of rows with responsibilities r (K, obs)."""
        from scipy.special import polygamma

        _, w, squared, moments = self._at(x)
        nu = self.nu[:, None]
        moments[:, : self.d] *= -1.0
        weighted = (2.0 * r * w**2 / (nu + self.d))[:, None] * moments
        self.further[:, :-1, :-1] += np.matmul(weighted, moments.transpose(0, 2, 1))
        bend = w * (1.0 - w) / (nu + self.d)
        mixed = -np.matmul(moments, (r * bend)[:, :, None])[:, :, 0]
        self.further[:, -1, :-1] += mixed
        self.further[:, :-1, -1] += mixed
        own = (
            0.5 * (polygamma(1, 0.5 * (nu + self.d)) - polygamma(1, 0.5 * nu)) + 1.0 / nu - 1.0 / (nu + squared) - bend
        )
        self.further[:, -1, -1] += 0.5 * (r * own).sum(axis=1)
        self.counted += (r * (1.0 - w)).sum(axis=1)

    def with_guard(self, gradient, guard):
        """Add the gradient of the guard, which does not see nu."""
        return np.concatenate([self.normal.with_guard(gradient[:, :-1], guard), gradient[:, -1:]], axis=1)

    def complete_hessian(self, gradient, guard):
        """Sum of r h, (K, M, M)."""
        hessian = np.zeros((len(self.nu), self.size, self.size))
        hessian[:, :-1, :-1] = self.normal.complete_hessian(gradient[:, :-1], guard)
        every = np.arange(1, 1 + self.d)
        hessian[:, every, every] += self.counted[:, None]
        hessian[:, 1:, 1:] += self.further
        return hessian

    def in_arguments(self, gradient):
        """Gradient in mu and nu, and in P or 1 / sigma."""
        of_mu, of_b = self.normal.in_arguments(gradient[:, :-1])
        return np.concatenate([of_mu, gradient[:, -1:]], axis=1), of_b


class _Linear:
    """Exponential families: phi_k = (log pi_k, eta, A), and the scores are (1, T, -1)."""

    def __init__(self, component, params, eta, log_partition):
        self.component, self.params = component, params
        self.eta, self.log_partition = np.maximum(eta, -1e300), log_partition  # 0 times -inf counts as 0
        self.size = 2 + eta.shape[1]

    def scores(self, t):
        """Log density (K, obs) without its base measure, of statistics (P, obs), and the scores (K, M, obs)."""
        scores = np.empty((len(self.eta), self.size, t.shape[1]))
        scores[:, 0], scores[:, 1:-1], scores[:, -1] = 1.0, t, -1.0
        return self.eta @ t - self.log_partition[:, None], scores

    def with_guard(self, gradient, guard):
        """Add the gradient of the guard, where there is one."""
        if guard is None:
            return gradient
        gradient = gradient.copy()
        gradient[:, 1:-1] += self.component.guard_score(self.params, guard)[0]
        return gradient

    def complete_hessian(self, gradient, guard):
        """That of the guard alone: the log density is linear in eta and A."""
        if guard is None:
            return 0.0
        hessian = np.zeros((len(self.eta), self.size, self.size))
        hessian[:, 1:-1, 1:-1] = self.component.guard_curvature(self.params, guard)
        return hessian

    def in_arguments(self, gradient):
        """The gradient in eta and A as it is."""
        return gradient[:, :-1], gradient[:, -1]
