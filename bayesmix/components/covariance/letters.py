r"""Covariance matrices by volume, shape and orientation, each equal or variable: mclust's structures of three letters.

:math:`\Sigma_k = \lambda_k D_k A_k D_k'` (Banfield & Raftery 1993): volume :math:`\lambda_k = |\Sigma_k|^{1/D}`, shape
:math:`A_k` diagonal with determinant 1, orientation :math:`D_k` orthogonal. A letter says of each whether all components
have the same (E), each its own (V), or it is the identity (I). Celeux & Govaert (1995) give the M-steps.

The free coordinates have three parts, each for all components together or for each one by itself:

- volume: the mean v of D logarithms :math:`a_i = v + s_i`;
- shape: D - 1 coordinates of :math:`s`, which sums to zero;
- orientation: D (D - 1) / 2 coordinates u.

Where shape and orientation are both shared or both free, the shape and orientation are one matrix with determinant 1,
and need no axes: :math:`P = \operatorname{diag}(e^{-a}) U`, U unit lower triangular with entries u. Otherwise a are logarithms
of the standard deviations along the axes D, and u the coordinates of `bayesmix.components.covariance.rotations`.
"""

from dataclasses import dataclass

import numpy as np

from ...priors import InverseWishart, Prior, ScaledInverseChiSquared
from ..normal import shared_scale
from . import rotations
from .base import Structure, diagonal_matrices, diagonal_of, precision_factor, volume_scale
from .full import same

STEP = 1e-3  # of differences of fourth order, in units of `coordinate_scale`: exact to 1e-11
_WEIGHTS = ((1, 8.0 / 12.0), (-1, -8.0 / 12.0), (2, -1.0 / 12.0), (-2, 1.0 / 12.0))


@dataclass(frozen=True)
class Lettered(Structure):
    """The structure of three letters; see the module."""

    letters: str

    # -- what it is ----------------------------------------------------------------------------------------------------
    @property
    def name(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The three letters."""
        return self.letters

    @property
    def kernel(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The pass with independent features where axes are those of the data, that with full matrices elsewhere."""
        return "diagonal" if self.letters[2] == "I" else "full"

    @property
    def has_axes(self) -> bool:
        """Are there axes of its own, as one of shape and orientation is shared and the other free?"""
        return self.letters[1:] in ("EV", "VE")

    def parts(self, n_components: int, n_features: int) -> tuple:
        """How many there are of volume, shape and orientation, and how many coordinates each has."""
        sizes = 1, n_features - 1, n_features * (n_features - 1) // 2
        counts = {"E": 1, "V": n_components, "I": 0}
        return tuple((counts[letter], size) for letter, size in zip(self.letters, sizes, strict=True))

    def n_free(self, n_components, n_features):
        """Of volume 1 or K, of shape D - 1 each, of orientation D (D - 1) / 2 each; as in mclust."""
        return sum(count * size for count, size in self.parts(n_components, n_features))

    def belongs(self, cov):
        """Are they what their coordinates say?"""
        try:
            return same(cov, self.from_vector(self.to_vector(cov), *cov.shape[:2]))
        except np.linalg.LinAlgError:
            return False

    def expand(self, value, n_components, n_features):
        """Variances: (), (cluster,), (feature,) or (cluster, feature), whichever letters leave free."""
        if self.kernel == "full":
            return None
        forms = {"EI": (), "EE": (n_features,), "VV": (n_components, n_features), "VI": (n_components,)}
        form = forms.get(self.letters[:2], (n_components, n_features))
        if value.shape != form:
            return None
        full = value if self.letters[1] != "I" else value[..., None]
        return diagonal_matrices(np.broadcast_to(full, (n_components, n_features)))

    def factor(self, cov):
        """P (cluster, feature, feature), or 1 / sigma (cluster, feature)."""
        return precision_factor(cov) if self.kernel == "full" else 1.0 / np.sqrt(diagonal_of(cov))

    # -- M-step --------------------------------------------------------------------------------------------------------
    def m_step(self, scatter, n, guard, before=None):
        """Celeux & Govaert (1995), with iterations to convergence where there is no formula.

        Common axes start from those of `before`, the covariances so far, of which a component without rows keeps what is
        its own. NaN where a matrix is singular.
        """
        rows = n if guard is None else n + guard.n
        scatter = scatter if guard is None else scatter + guard.second
        live = rows > 0
        with np.errstate(all="ignore"):
            try:
                cov = self._maximise(scatter[live], rows[live], before)
                return cov if live.all() else self._keep(cov, live, before)
            except np.linalg.LinAlgError:
                return np.full((len(n), scatter.shape[1], scatter.shape[1]), np.nan)

    def _maximise(self, scatter, rows, before):
        if self.kernel == "diagonal":
            return diagonal_matrices(self._variances(scatter, rows))
        if not self.has_axes:
            return self._matrices(scatter, rows)
        if self.letters[2] == "V":
            along, axes = np.linalg.eigh(scatter)
        else:
            axes = _axes_near(scatter, before)
            along = self._turn(scatter, rows, axes)
        root = axes * np.sqrt(self._variances(along, rows))[:, None, :]
        return root @ root.swapaxes(-1, -2)

    def _turn(self, scatter, rows, axes):
        """Turn the common axes to where they are best, in place; returns the scatter along them, (cluster, feature)."""
        from .maximise import common_axes

        along = np.ascontiguousarray(axes.T @ scatter @ axes)
        common_axes(along, rows, self.letters[0] == "E", axes)
        return diagonal_of(axes.T @ scatter @ axes)

    def _variances(self, along, rows):
        """Variances (cluster, feature) along axes that are known, from the scatter along them."""
        from .maximise import proportional_variances

        k, d = along.shape
        match self.letters[:2]:
            case "EI":
                return np.full((k, d), along.sum() / (d * rows.sum()))
            case "VI":
                return np.repeat(along.sum(axis=1) / (d * rows), d).reshape(k, d)
            case "EE":
                return np.repeat(along.sum(axis=0)[None] / rows.sum(), k, axis=0)
            case "VE":
                out = np.empty((k, d))
                proportional_variances(np.ascontiguousarray(along), rows, out)
                return out
            case "EV":
                size = np.exp(np.log(along).mean(axis=1))
                return along / size[:, None] * size.sum() / rows.sum()
        return along / rows[:, None]

    def _matrices(self, scatter, rows):
        """Covariances whose shape and orientation are one matrix."""
        from .maximise import proportional_matrices

        match self.letters:
            case "EEE":
                return np.repeat(scatter.sum(axis=0)[None] / rows.sum(), len(rows), axis=0)
            case "VEE":
                out = np.empty_like(scatter)
                proportional_matrices(np.ascontiguousarray(scatter), rows, out)
                return out
            case "EVV":
                size = np.exp(np.linalg.slogdet(scatter)[1] / scatter.shape[1])
                return scatter * (size.sum() / (size * rows.sum()))[:, None, None]
        return scatter / rows[:, None, None]

    def _keep(self, cov, live, before):
        """Covariances of all components: of those without rows, what is not shared stays as it was."""
        k, d = before.shape[:2]
        new, old, at = self.to_vector(cov), self.to_vector(before), 0
        out = np.empty_like(old)
        for (count, size), letter in zip(self.parts(k, d), self.letters, strict=True):
            length = count * size
            part = old[at : at + length].reshape(count, size).copy()
            found = int(live.sum()) if letter == "V" else count
            part[live if letter == "V" else slice(None)] = new[: found * size].reshape(found, size)
            new, out[at : at + length] = new[found * size :], part.ravel()
            at += length
        return self.from_vector(out, k, d)

    # -- free coordinates ----------------------------------------------------------------------------------------------
    def to_vector(self, cov):
        """Volume, shape, orientation; see the module. Axes come in order of the mean logarithm along them."""
        logs, u = self._logs_and_orientation(cov)
        return self._joined(logs, u)

    def _logs_and_orientation(self, cov):
        """Find a (cluster, feature) and u (cluster or 1 or 0, D (D - 1) / 2)."""
        k, d = cov.shape[:2]
        if self.kernel == "diagonal":
            return 0.5 * np.log(diagonal_of(cov)), np.empty((0, 0))
        if not self.has_axes:
            factor = precision_factor(cov)
            logs = -np.log(diagonal_of(factor))
            rows, columns = np.tril_indices(d, -1)
            unit = (factor * np.exp(logs)[:, :, None])[:, rows, columns]
            return logs, unit if self.letters[2] == "V" else unit[:1]
        if self.letters[2] == "V":
            along, axes = np.linalg.eigh(cov)
        else:
            scaled = cov / np.exp(np.linalg.slogdet(cov)[1] / d)[:, None, None]
            axes = _axes_near(scaled, cov)
            along = Lettered("VVE")._turn(scaled, np.ones(k), axes) * (cov[:, 0, 0] / scaled[:, 0, 0])[:, None]
            axes = axes[None]
        logs = 0.5 * np.log(along)
        order = np.argsort(-logs.mean(axis=0), kind="stable")
        return logs[:, order], rotations.coordinates_of(axes[:, :, order])

    def _joined(self, logs, u):
        """Coordinates of a and u."""
        volume, shape = logs.mean(axis=1), logs @ contrasts(logs.shape[1])
        own = {"V": lambda part: part.ravel(), "E": lambda part: part.mean(axis=0).ravel(), "I": lambda part: []}
        return np.concatenate([own[self.letters[0]](volume), own[self.letters[1]](shape), u.ravel()])

    def _split(self, vector, n_components, n_features):
        """Read a (..., cluster, feature) and u (..., cluster or 1, D (D - 1) / 2) at coordinates (..., n_free)."""
        lead, at, parts = vector.shape[:-1], 0, []
        for count, size in self.parts(n_components, n_features):
            parts.append(vector[..., at : at + count * size].reshape(*lead, count, size))
            at += count * size
        volume, shape, u = parts
        logs = volume + (shape @ contrasts(n_features).T if self.letters[1] != "I" else 0.0)
        return np.broadcast_to(logs, (*lead, n_components, n_features)), u

    def root(self, vector, n_components, n_features):
        """R with Sigma = R R', (..., cluster, feature, feature), whose columns point along axes or are those of P^-1."""
        logs, u = self._split(vector, n_components, n_features)
        sd = np.exp(logs)
        if self.kernel == "diagonal":
            return diagonal_matrices(sd)
        if self.has_axes:
            return rotations.rotation(u, n_features)[0] * sd[..., None, :]
        return np.tril(np.linalg.inv(self._unit(u, n_features))) * sd[..., None, :]

    def _unit(self, u, d):
        rows, columns = np.tril_indices(d, -1)
        unit = np.zeros((*u.shape[:-1], d, d)) + np.eye(d)
        unit[..., rows, columns] = u
        return unit

    def from_vector(self, vector, n_components, n_features):
        """Covariances at these coordinates."""
        root = self.root(vector, n_components, n_features)
        return root @ root.swapaxes(-1, -2)

    # -- derivatives ---------------------------------------------------------------------------------------------------
    def vector_gradient(self, cov, d_b):
        """At the coordinates that `to_vector` gives."""
        return self.gradient_at(self.to_vector(cov), cov, d_b)

    def gradient_at(self, vector, cov, d_b):
        """At these coordinates, whose covariances are `cov`."""
        k, d = cov.shape[:2]
        logs, u = self._split(vector, k, d)
        if self.kernel == "diagonal":
            return self._chain(-d_b * np.exp(-logs), np.empty((k, 0)))
        rows, columns = np.tril_indices(d, -1)
        if not self.has_axes:
            shrink = np.exp(-logs)
            factor = shrink[:, :, None] * self._unit(u, d)
            return self._chain(-(factor * d_b).sum(axis=2), (shrink[:, :, None] * d_b)[:, rows, columns])
        factor = precision_factor(cov)
        half = (np.tri(d) - 0.5 * np.eye(d)) * (d_b @ factor.swapaxes(1, 2))
        d_cov = -0.5 * factor.swapaxes(1, 2) @ (half + half.swapaxes(1, 2)) @ factor
        axes, t = rotations.rotation(u, d)
        along = axes.swapaxes(1, 2) @ d_cov @ axes
        variance = np.exp(2.0 * logs)
        turned = t @ ((variance[:, :, None] - variance[:, None, :]) * along) @ t.swapaxes(1, 2)
        return self._chain(2.0 * variance * diagonal_of(along), -2.0 * turned[:, rows, columns])

    def _chain(self, d_logs, d_u):
        """Gradient in the coordinates, from those in a (cluster, feature) and in each component's u."""
        own = {"V": lambda part: part.ravel(), "E": lambda part: part.sum(axis=0).ravel(), "I": lambda part: []}
        parts = d_logs.sum(axis=1), d_logs @ contrasts(d_logs.shape[1]), d_u
        return np.concatenate([own[letter](part) for letter, part in zip(self.letters, parts, strict=True)])

    def vector_curvature(self, cov, d_b):
        """At the coordinates that `to_vector` gives."""
        return self.curvature_at(self.to_vector(cov), cov, d_b)

    def curvature_at(self, vector, cov, d_b):
        """Second derivatives of b in the coordinates, times the gradient in b: (n_free, n_free)."""
        k, d = cov.shape[:2]
        scale = self.coordinate_scale(cov)
        curvature = np.empty((len(vector), len(vector)))
        for i in range(len(vector)):
            total = 0.0
            for times, weight in _WEIGHTS:
                moved = vector.copy()
                moved[i] += times * STEP * scale[i]
                total = total + weight * self.gradient_at(moved, self.from_vector(moved, k, d), d_b)
            curvature[i] = total / (STEP * scale[i])
        return 0.5 * (curvature + curvature.T)

    def jacobian(self, cov):
        """Derivatives of the covariances: 2 R_i R_i' in a_i, and those of axes or of U."""
        k, d = cov.shape[:2]
        vector = self.to_vector(cov)
        u = self._split(vector, k, d)[1]
        root = self.root(vector, k, d)
        in_logs = 2.0 * root[:, :, None, :] * root[:, None, :, :]
        in_u = np.zeros((k, d, d, 0)) if self.kernel == "diagonal" else self._in_orientation(root, u)
        return self._spread([in_logs.sum(axis=-1, keepdims=True), in_logs @ contrasts(d), in_u])

    def _in_orientation(self, root, u):
        """Derivatives of each component's covariance in its own u, (cluster, feature, feature, D (D - 1) / 2)."""
        k, d, _ = root.shape
        rows, columns = np.tril_indices(d, -1)
        if not self.has_axes:
            cov = root @ root.swapaxes(1, 2)
            inverse = np.tril(np.linalg.inv(self._unit(u, d)))
            half = -inverse[..., :, None, rows] * cov[..., None, :, columns]
            return half + half.swapaxes(1, 2)
        axes, t = rotations.rotation(u, d)
        basis = np.zeros((len(rows), d, d))
        basis[np.arange(len(rows)), rows, columns], basis[np.arange(len(rows)), columns, rows] = 1.0, -1.0
        turn = t.swapaxes(1, 2)[:, None] @ basis @ t[:, None]  # Omega: dD = D Omega
        sd = np.sqrt((root**2).sum(axis=1))
        half = axes[:, None] @ (turn * (sd**2)[:, None, None, :]) @ axes.swapaxes(1, 2)[:, None]
        return np.moveaxis(half + half.swapaxes(2, 3), 1, -1)

    def _spread(self, parts):
        """Put derivatives in each component's own parts into the places of the free coordinates."""
        k, d = parts[0].shape[:2]
        columns = []
        for (count, _), part in zip(self.parts(k, d), parts, strict=True):
            if count == 1 and k > 1:
                columns.append(part)
            elif count:
                own = part[..., None, :] * np.eye(k)[:, None, None, :, None]
                columns.append(own.reshape(k, d, d, -1))
        return np.concatenate(columns, axis=-1)

    def coordinate_scale(self, cov):
        """1 for logarithms; for angles less where two axes differ much, for entries of U their standard deviations."""
        k, d = cov.shape[:2]
        n_u = self.parts(k, d)[2][0]
        ones = np.ones(self.n_free(k, d) - n_u * (d * (d - 1) // 2))
        if n_u == 0:
            return ones
        logs = self._logs_and_orientation(cov)[0]
        rows, columns = np.tril_indices(d, -1)
        if self.has_axes:
            information = (2.0 * np.sinh(logs[:, rows] - logs[:, columns])) ** 2
        else:
            information = (np.sqrt(diagonal_of(cov))[:, columns] * np.exp(-logs[:, rows])) ** 2
        of_u = information if self.letters[2] == "V" else information.mean(axis=0)
        least = 1.0 if self.has_axes else 0.0
        return np.concatenate([ones, 1.0 / np.sqrt(np.maximum(of_u, least)).ravel()])

    # -- priors --------------------------------------------------------------------------------------------------------
    prior_on = "sigma"

    @property
    def takes(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Sigma is of the volume; cov of shape and orientation where these are one matrix, shape elsewhere."""
        if self.kernel == "full" and not self.has_axes:
            return "sigma", "cov"
        return ("sigma", "shape") if self.letters[1] != "I" else ("sigma",)

    def default_prior(self, variance_matrix, n_components):
        """Scaled inverse chi-squared with 3 degrees of freedom, from the data's volume shared out over K components."""
        variance = self._variances_of(variance_matrix)
        mean = variance.mean() if self.letters[1] == "I" else np.exp(np.log(variance).mean())
        return ScaledInverseChiSquared(3.0, np.sqrt(mean * volume_scale(n_components, len(variance)) / 3.0))

    def further_priors(self, variance_matrix):
        """Shape: normal about that of the data with standard deviation 1; or inverse Wishart, D + 2 degrees of freedom."""
        if "cov" in self.takes:
            return {"cov": InverseWishart(len(variance_matrix) + 2.0, variance_matrix)}
        if "shape" not in self.takes:
            return {}
        logs = 0.5 * np.log(self._variances_of(variance_matrix))
        return {"shape": Prior.of("Normal", mu=logs - logs.mean(), sigma=1.0)}

    def _variances_of(self, variance_matrix):
        """Variances of the columns, or along the axes, largest first."""
        if self.kernel == "diagonal":
            return diagonal_of(variance_matrix)
        return np.linalg.eigvalsh(variance_matrix)[::-1]

    def shared_prior(self, width):
        """Richardson & Green's (1997), for the geometric mean of the ranges."""
        return shared_scale(float(np.exp(np.log(width).mean())))

    def pymc_variable(self, priors, n_components, n_features, name="cov"):
        """Covariances from the priors of volume, shape and orientation."""
        from .lettered_variable import lettered

        return lettered(self, priors, n_components, n_features, name)


def contrasts(d: int) -> np.ndarray:
    """Orthonormal columns that sum to zero, (D, D - 1): Helmert's."""
    columns = -np.triu(np.ones((d, d - 1)))
    every = np.arange(1, d)
    columns[every, every - 1] = every
    return columns / np.sqrt(every * (every + 1.0))


def _axes_near(matrices, like):
    """Eigenvectors of a sum of matrices, or, where there are some, the common axes of `like`, to start from."""
    chosen = matrices if like is None else like
    scale = np.arange(2.0, 2.0 + len(chosen)) ** 0.5  # no two matrices alike, lest equal ones cancel
    total = (chosen / np.trace(chosen, axis1=1, axis2=2)[:, None, None] * scale[:, None, None]).sum(axis=0)
    return np.ascontiguousarray(np.linalg.eigh(total)[1])
