"""`log_evidence`: the evidence of a mixture from draws of its posterior, by bridge sampling."""

from dataclasses import dataclass

import numpy as np

from .arrays import as_data
from .components.mvnormal import MvNormal
from .engines.laplace import decimals
from .engines.search import search
from .fit import Fit
from .likelihood.likelihood import Likelihood
from .posterior import posterior_of
from .posterior.batch import log_densities
from .posterior.direct import DirectPosterior
from .posterior.proposal import Proposal
from .posterior.symmetry import Symmetry
from .randomness import generator
from .tables import TRUSTED

SAMPLED = ("nuts", "gibbs", "laplace")  # engines whose draws are draws of the posterior
PARTS = (1, 2, 3, 4, 6, 8, 12)  # numbers of normal components that are tried for the proposal
STARTS = 4  # of EM for it: any good description of the draws serves
STEADY = 1e-10  # relative change of the estimate at which the iteration has converged
MOST_ITERATIONS = 1000
ACCURATE = 0.1  # nats: errors of this size are spoken of
MIXED = 1.05  # R-hat of label-free quantities up to which draws without clear labels are taken for converged
REFINED = 3  # times that the share of the draws is set by their effective number


@dataclass(frozen=True)
class LogEvidence:
    """The log evidence of a mixture, log p(x), and how well it is known.

    Attributes
    ----------
    value : float
        In nats: the log of the likelihood averaged over the prior.
    error : float
        Its Monte Carlo standard error, in nats.
    converged : bool
        Did the iteration converge, on draws that had? Draws whose labels mean nothing will do if they had otherwise.
    message : str
        How it went, in words.
    n_iterations : int
    n_proposals : int
        Number of draws from the proposal.
    n_parts : int
        Number of normal components of the proposal.
    """

    value: float
    error: float
    converged: bool
    message: str
    n_iterations: int
    n_proposals: int
    n_parts: int


def log_evidence(fit: Fit, *, random_seed=None) -> LogEvidence:
    r"""Estimate the log evidence log p(x) of a mixture from draws of its posterior, by bridge sampling.

    .. math:: p(x) = \frac{E_q[h(\theta)\, p(x, \theta)]}{E_{p(\theta \mid x)}[h(\theta)\, q(\theta)]}

    with the h of least error (Meng & Wong 1996, eq. 4.1), found by iteration as in Gronau et al. (2017). The proposal q is
    a mixture of normal distributions in free coordinates, fitted to the first half of every chain and made symmetric in
    the labels of the components: it is the average over all K! labellings (Frühwirth-Schnatter 2004). The estimate
    therefore counts every labelling, whether they are far apart or overlap, and it stands where there are more
    components than the data tell apart. It rests on the second half of the draws and on as many from q.

    The evidence depends on the prior much more than estimates do: a prior ten times as wide costs about log 10 nats for
    each parameter. Compare models by it only under priors that you mean.

    Parameters
    ----------
    fit : Fit
        By `bayesmix.nuts`, or another engine that draws from the posterior; with its data.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.

    Returns
    -------
    LogEvidence
        ``value`` and ``error`` in nats, and a ``message``. The error is that of Frühwirth-Schnatter (2004): it knows
        the autocorrelation of the draws, but nothing of modes that they have missed.

    Raises
    ------
    TypeError, ValueError
        If the fit has no draws of a posterior, no data, too few draws, or a prior that does not treat the components
        alike; if more than seven components overlap so much that their labellings cannot be added up.

    References
    ----------
    Frühwirth-Schnatter, S. (2004). Estimating marginal likelihoods for mixture and Markov switching models using bridge
    sampling techniques. Econometrics Journal 7, 143-167.
    Gronau, Q. F. et al. (2017). A tutorial on bridge sampling. J. Mathematical Psychology 81, 80-97.
    Meng, X.-L. & Wong, W. H. (1996). Simulating ratios of normalizing constants via a simple identity: a theoretical
    exploration. Statistica Sinica 6, 831-860.
    """
    _check(fit)
    rng = generator(random_seed)
    posterior = posterior_of(fit.mixture, fit.data)
    vectors = _vectors(posterior, fit)
    chains, length, n = vectors.shape
    half = length // 2
    if chains * half < (least := 20 + 5 * n):
        raise ValueError(
            f"the fit has {chains * length} draws of {n} coordinates; at least {2 * least} are needed, half of them for the "
            "proposal and half for the estimate. Draw more."
        )
    middle = vectors.reshape(-1, n)[int(np.argmax(log_densities(posterior, vectors.reshape(-1, n))))]
    proposal = _proposal(vectors[:, :half].reshape(-1, n), Symmetry.of(posterior, middle), rng)
    kept = vectors[:, half:]
    ours = kept.reshape(-1, n)
    theirs, _ = proposal.draw(len(ours), rng)
    ratios = []
    for places in (ours, theirs):
        log_q = proposal.log_density(places)
        if np.isnan(log_q).any():
            raise ValueError(
                f"{fit.mixture.n_components} components overlap so much that their "
                f"{fit.mixture.n_components}! labellings cannot be added up; with up to seven they always can. "
                "Use fewer components."
            )
        ratios.append(log_densities(posterior, places) - log_q)
    value, error, steady, n_iterations = bridge(ratios[0].reshape(kept.shape[:2]), ratios[1])
    sound = _sound(fit)
    message = _describe(fit, sound, value, error, steady, n_iterations, len(theirs), len(proposal.centres))
    good = steady and sound and bool(np.isfinite(value))
    return LogEvidence(value, error, good, message, n_iterations, len(theirs), len(proposal.centres))


def bridge(at_draws: np.ndarray, at_proposals: np.ndarray) -> tuple[float, float, bool, int]:
    r"""Log of the ratio of two normalising constants, by the optimal bridge (Meng & Wong 1996).

    With l = p / q the ratio of the densities, p known up to r, and the shares :math:`s_1, s_2` of the draws from p and q,

    .. math:: r = \frac{\frac{1}{N_2} \sum_j l_j / (s_1 l_j + s_2 r)}{\frac{1}{N_1} \sum_i 1 / (s_1 l_i + s_2 r)}.

    Draws from p count with their effective number in the shares.

    Parameters
    ----------
    at_draws : ndarray (chain, draw)
        log p - log q at draws from p.
    at_proposals : ndarray (proposal,)
        ... at draws from q, which is normalised.

    Returns
    -------
    log_ratio, error : float
        In nats; the error is the square root of the relative mean squared error (Frühwirth-Schnatter 2004, eq. 16).
    converged : bool
    n_iterations : int
    """
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    n_draws, n_proposals = at_draws.size, len(at_proposals)
    log_r = float(np.median(at_draws))
    effective, steady, steps = float(n_draws), False, 0
    for _ in range(REFINED):
        log_r, steady, took = _iterate(at_draws.ravel(), at_proposals, effective, log_r)
        steps += took
        # f1 = p / (s1 p + s2 q) at proposals, f2 = q / (s1 p + s2 q) at draws, p and q both normalised
        share = np.log(effective / (effective + n_proposals)), np.log(n_proposals / (effective + n_proposals))
        f1 = np.exp(at_proposals - log_r - np.logaddexp(share[0] + at_proposals - log_r, share[1]))
        f2 = np.exp(-np.logaddexp(share[0] + at_draws - log_r, share[1]))
        found = (
            float(np.asarray(array_stats.ess(f2, chain_axis=0, draw_axis=1, method="mean")))
            if np.ptp(f2) > 0
            else n_draws
        )
        effective = float(np.clip(found, 1.0, n_draws)) if np.isfinite(found) else effective
    relative = np.var(f1) / np.mean(f1) ** 2 / n_proposals + np.var(f2) / np.mean(f2) ** 2 / effective
    return log_r, float(np.sqrt(relative)), steady, steps


def _iterate(at_draws, at_proposals, effective, log_r):
    """Iterate the equation of `bridge` to its fixed point."""
    n_draws, n_proposals = len(at_draws), len(at_proposals)
    s1 = np.log(effective / (effective + n_proposals))
    s2 = np.log(n_proposals / (effective + n_proposals))
    for step in range(1, MOST_ITERATIONS + 1):
        above = np.logaddexp.reduce(at_proposals - np.logaddexp(s1 + at_proposals, s2 + log_r)) - np.log(n_proposals)
        below = np.logaddexp.reduce(-np.logaddexp(s1 + at_draws, s2 + log_r)) - np.log(n_draws)
        log_r, before = float(above - below), log_r
        if not np.isfinite(log_r):
            return log_r, False, step
        if abs(log_r - before) <= STEADY * max(1.0, abs(log_r)):
            return log_r, True, step
    return log_r, False, MOST_ITERATIONS


def _check(fit):
    if not isinstance(fit, Fit):
        raise TypeError(f"log_evidence takes a Fit, for example by bm.nuts, but got {type(fit).__name__}.")
    why = {
        "em": "draws of its estimate's sampling distribution at best",
        "online_em": "no draws of a posterior",
        "advi": "draws of an approximation; its ELBO is a lower bound of the log evidence",
        "parameters": "no draws",
    }
    if fit.engine not in SAMPLED or not fit.has_draws:
        raise ValueError(
            f"the evidence is found from draws of the posterior, but this fit by {fit.engine} has "
            f"{why.get(fit.engine, 'none')}. Use bm.nuts or bm.laplace."
        )
    if fit.data.n_obs == 0:
        raise ValueError(f"the evidence needs the rows of the data, but {fit.why_no_data}.")
    if not fit.mixture.weights.fixed_n_components:
        raise ValueError(
            f"under {fit.mixture.weights} the number of components is random: the evidence is that of a mixture with "
            "a fixed number, for example under bm.Dirichlet(1.0)."
        )


def _vectors(posterior, fit) -> np.ndarray:
    """Free coordinates (chain, draw, n) of the draws of a fit."""
    group = fit.tree["posterior"].dataset
    chains, length = group.sizes["chain"], group.sizes["draw"]
    names = {*fit._names} if isinstance(posterior, DirectPosterior) else {rv.name for rv in posterior.model.free_RVs}
    if missing := names - set(map(str, group.data_vars)):
        raise ValueError(
            f"the fit has no draws of {', '.join(sorted(missing))}, which the prior has beside the parameters: without them "
            "the evidence is not found. Use priors without parameters of their own."
        )
    params = {name: group[name].values.reshape(chains * length, *group[name].shape[2:]) for name in names}
    if "weights" in params:
        params["weights"] = np.maximum(params["weights"], 1e-300)
    if isinstance(posterior, DirectPosterior):
        draws = ({name: value[i] for name, value in params.items()} for i in range(chains * length))
        flat = np.array([posterior.to_vector(draw) for draw in draws])
    else:
        transform = _transform(posterior.model)
        flat = np.array([transform({name: value[i] for name, value in params.items()}) for i in range(chains * length)])
    return flat.reshape(chains, length, -1)


def _transform(model):
    """Compile the function from parameters to the unconstrained coordinates of a PyMC model."""
    import pytensor.tensor as pt

    given = {rv.name: rv.type() for rv in model.free_RVs}
    parts = []
    for rv in model.free_RVs:
        transform = model.rvs_to_transforms[rv]
        value = given[rv.name]
        parts.append(pt.as_tensor(value if transform is None else transform.forward(value, *rv.owner.inputs)).ravel())
    compiled = model.compile_fn([pt.concatenate(parts)], inputs=list(given.values()), point_fn=False)
    return lambda params: compiled(*(np.asarray(params[name], dtype=float) for name in given))[0]


def _proposal(vectors: np.ndarray, symmetry: Symmetry, rng) -> Proposal:
    """Normal mixture of least BIC for draws (draw, n) that carry the same labels, made symmetric in the labels."""
    n_draws, n = vectors.shape
    middle, spread = np.median(vectors, axis=0), vectors.std(axis=0)
    scaled = as_data((vectors - middle) / spread)
    best, least = {}, np.inf
    for parts in PARTS:
        if parts > 1 and n_draws < 10 * parts * (n + 1):
            break
        likelihood = Likelihood(MvNormal(), scaled, parts)
        guard = likelihood.component.guard(scaled, 2.0 / np.sqrt(n_draws))
        run = {"guard": guard, "max_iter": 200, "tol": 1e-3, "accelerate": True}
        found = search(likelihood, "auto", STARTS, rng, run).optima[0]
        bic = -2.0 * found.log_likelihood + likelihood.n_parameters * np.log(n_draws)
        if bic > least:
            break
        best, least = found.params, bic
    scales = spread[:, None] * np.linalg.cholesky(best["cov"])
    return Proposal(symmetry, middle + spread * best["mu"], scales, np.log(best["weights"]), 0.0)


def _sound(fit) -> bool:
    """Have the draws converged, but for the labels?"""
    unlabelled = fit.verdict.startswith("not identified")
    return fit.verdict in TRUSTED or (unlabelled and not float(fit.tree.attrs["rhat_invariant"]) > MIXED)


def _describe(fit, sound, value, error, steady, n_iterations, n_proposals, n_parts):
    how = "converged" if steady else "did not converge"
    sentences = [
        f"The log evidence is {value:.{decimals(error)}f} nats (Monte Carlo error {error:.1g}). Bridge sampling {how} in "
        f"{n_iterations} iterations on {n_proposals} draws of the posterior and as many of a proposal of {n_parts} "
        f"normal component{'s' * (n_parts != 1)}, averaged over all labellings."
    ]
    if error > ACCURATE:
        sentences.append("The proposal overlaps little with the posterior: take more draws.")
    if not sound:
        sentences.append(f"Mind that the draws themselves have not converged: {fit.message}")
    return " ".join(sentences)
