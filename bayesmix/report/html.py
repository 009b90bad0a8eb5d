"""One HTML file that tells what was fitted, how the methods compare, and how to read that."""

import datetime
import inspect
import io
import platform
import re
import zlib
from html import escape
from importlib import metadata, resources
from pathlib import Path

import matplotlib
import numpy as np

from ..comparison import spoken
from ..plots.comparison import plot_densities, plot_intervals
from ..plots.style import STYLE, Picture
from ..tables import number

COLUMNS_SHOWN = 40  # rows of the table of columns
ROWS_SHOWN = 10  # rows of data that methods classify differently
MIXTURE = r"p(x) = \sum_{k=1}^{K} \pi_k \, p(x \mid \theta_k)"

GLOSSARY = {
    "EM": (
        "Maximum likelihood: the parameters under which the data are most probable, found by the EM "
        "algorithm. Its standard errors tell how much the estimate would vary if the data were collected "
        "again."
    ),
    "NUTS": (
        "The posterior distribution of the parameters given data and priors, sampled by a Markov chain (the "
        "No-U-Turn sampler). Exact but for sampling error, if the chains have converged."
    ),
    "ADVI": (
        "An approximation of the posterior by a normal distribution in transformed parameters. Fast; its "
        "k-hat tells how good it is: below 0.5 good, up to 0.7 usable, above that not to be trusted."
    ),
    "standard error, interval": (
        "Standard deviation of the sampling distribution (EM) or of the posterior (NUTS, ADVI). The interval "
        "leaves out the same share on either side."
    ),
    "components and labels": (
        "The components of a mixture have no natural order. They were matched between methods by the rows "
        "they claim, so that component 0 is the same group for all of them."
    ),
    "elpd": (
        "Expected log predictive density: how well a method predicts a row that it has not seen, estimated by "
        "leaving out one row at a time, summed over the rows, in nats. Higher is better; differences below "
        "about 4, or below twice their standard error, mean little."
    ),
    "stacking weight": (
        "Share that a method gets in the mixture of all methods' predictions that predicts best. For methods "
        "that predict alike the shares are arbitrary."
    ),
    "Pareto k": ("How hard it is to leave a row out by reweighting draws. Rows with a large k make elpd unreliable."),
    "R-hat, effective sample size": (
        "Whether the chains agree (R-hat close to 1, below about 1.01) and how many independent draws theirs "
        "are worth (some hundreds suffice). Draws as sampled may disagree merely because components changed "
        "names, so both are given after relabelling, and for quantities in which names do not appear."
    ),
    "BIC, AIC, ICL": (
        "Log-likelihood of the maximum-likelihood fit with a charge for its parameters, and for ICL for "
        "overlap of the components; smaller is better. They compare mixtures fitted by EM with each other."
    ),
    "overlap": ("Shared area of the distributions that two methods give for the same parameter: 1 the same, 0 apart."),
    "total variation, Hellinger": (
        "Distances between the fitted densities, 0 the same and 1 apart. A total variation of 0.02 means that "
        "no event's probability differs by more than 0.02."
    ),
    "adjusted Rand index": ("Agreement of two classifications of the rows: 1 the same, 0 no more than by chance."),
}


def write_report(comparison, path, *, title: str | None = None, units=None, description: str | None = None) -> Path:
    """Write a comparison as one HTML file that needs no other file, no network and no Python to read.

    Parameters
    ----------
    comparison : Comparison
    path : str or path-like
        Where to write; an existing file is replaced.
    title : str, optional
        Heading of the report.
    units : dict, optional
        Units of the columns: ``{"waiting": "min"}``.
    description : str, optional
        What the data are, in a sentence or two.

    Returns
    -------
    pathlib.Path
    """
    path = Path(path)
    path.write_text(render(comparison, title=title, units=units, description=description), encoding="utf-8")
    return path


def render(comparison, *, title=None, units=None, description=None) -> str:
    """HTML of the report; parameters as `write_report`."""
    fit = comparison.fits[comparison.reference]
    names = _listed(list(comparison.fits))
    title = title or f"Mixture of {_components(fit.mixture.n_components)}: {names}"
    tables = comparison.readable()
    parameters, *_ = tables.items()
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{fit.data.n_obs} rows, {_columns(fit.data)}; fitted by {escape(names)}.</p>',
        '<section class="conclusion"><h2>In short</h2>' + _paragraphs(comparison.conclusion) + "</section>",
        _notes(comparison.notes),
        _section("What was fitted", _specification(comparison)),
        _section("The data", _data(fit.data, units, description)),
        _section(
            "Fitted densities", _figure(plot_densities(comparison, units=units), "a", _density_caption(comparison))
        ),
        _section(
            "Estimates",
            _table(parameters[1], caption=parameters[0]),
            _figure(
                plot_intervals(comparison),
                "b",
                f"Estimates (dots) and {comparison.ci_prob:.0%} intervals (lines), each panel on its own scale.",
            ),
            _list(f"{name}: {basis}." for name, basis in _bases(comparison)),
        ),
        _section(
            "Predictive accuracy",
            _accuracy(comparison, tables),
        ),
        _section("Diagnostics", _verdicts(comparison), _table(tables["Diagnostics"], wide=True)),
        _section("Agreement", _agreement(comparison, tables)) if len(comparison.fits) > 1 else "",
        _section("How to read this", _glossary(comparison)),
        _section("Settings and versions", _settings(comparison)),
        f"<footer>Written by bayesmix on {datetime.date.today():%d %B %Y}.</footer>",
    ]
    css = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def fragment(comparison) -> str:
    """Conclusion, tables and notes as HTML without a head, for notebooks."""
    tables = (_table(table, caption=caption) for caption, table in comparison.readable().items())
    return f"<div>{_paragraphs(comparison.conclusion)}{''.join(tables)}{_notes(comparison.notes)}</div>"


# -- parts -----------------------------------------------------------------------------------------------------------
def _specification(comparison) -> str:
    """Describe the mixtures in words and formulas, and the priors."""
    groups: dict[str, list] = {}
    for name, fit in comparison.fits.items():
        groups.setdefault(str(fit.mixture), []).append(name)
    parts = []
    for said, names in groups.items():
        fit = comparison.fits[names[0]]
        mixture, family = fit.mixture, type(fit.mixture.component)
        who = "" if len(groups) == 1 else f"<h3>{escape(_listed(names))}</h3>"
        first, own = _described(family)
        parts += [
            who,
            f"<p>The rows are taken to come from {_components(mixture.n_components)}, each a group with a distribution "
            "of its own. A row belongs to one of them, and which one is not known. The weights &pi; say how common the "
            "components are:</p>",
            formula(MIXTURE),
            f"<p>Family of the components: <b>{escape(family.__name__)}</b>. {escape(first)}</p>",
            formula(own) if own else "",
            f"<p>As specified: <code>{escape(said)}</code>. It has {fit.n_parameters} free parameters.</p>",
        ]
        if any(comparison.fits[name].engine in ("nuts", "gibbs", "laplace", "advi") for name in names):
            priors = mixture.priors(fit.data)
            rows = [(name, str(prior), priors.notes.get(name, "")) for name, prior in priors.items()]
            parts.append("<h3>Priors of the Bayesian methods</h3>")
            parts.append(_rows_table(("parameter", "prior", "where it comes from"), rows))
    return "".join(parts)


def _described(family) -> tuple[str, str]:
    """First sentence and first formula of a family's documentation."""
    text = inspect.getdoc(family) or ""
    found = re.search(r":math:`([^`]+)`", text)
    return text.partition("\n")[0], " ".join(found[1].split()) if found else ""


def _data(data, units, description) -> str:
    x = data.values
    quartiles, ddof = np.nanquantile(x, [0.25, 0.5, 0.75], axis=0), min(1, len(x) - 1)
    columns = [np.nanmin(x, 0), *quartiles, np.nanmax(x, 0), np.nanmean(x, 0), np.nanstd(x, 0, ddof=ddof)]
    names = [f"{name}" if data.named else f"column {name}" for name in data.feature]
    names = [
        f"{said} ({units[name]})" if (units or {}).get(name) else said
        for said, name in zip(names, data.feature, strict=True)
    ]
    rows = [(said, *(number(c[j], 4) for c in columns)) for j, said in enumerate(names[:COLUMNS_SHOWN])]
    head = ("column", "least", "lower quartile", "median", "upper quartile", "largest", "mean", "standard deviation")
    more = len(names) - COLUMNS_SHOWN
    weights = "" if data.weights is None else f" The rows carry weights, {number(data.total_weight, 4)} in all."
    return (
        (f"<p>{escape(description)}</p>" if description else "")
        + f"<p>{data.n_obs} rows and {_columns(data)}.{weights}</p>"
        + _rows_table(head, rows)
        + (f"<p>And {more} more columns.</p>" if more > 0 else "")
    )


def _density_caption(comparison) -> str:
    d = comparison.fits[comparison.reference].data.n_features
    if d == 1:
        return "Bars are the data, curves the fitted densities; where methods agree, the curves cover each other."
    if d == 2:
        return (
            "Points are the rows, coloured by the component that they probably come from. Ellipses hold 50% and 95% of "
            "each component; the number at the centre is its label."
        )
    return "Pairs of columns, with ellipses that hold 95% of each component; on the diagonal the density of one column."


def _bases(comparison):
    shown = comparison.parameters["basis"]
    return [(name, str(shown.sel({"fit": name}).item())) for name in comparison.fits]


def _accuracy(comparison, tables) -> str:
    caption = next((caption for caption in tables if caption.startswith("Expected")), None)
    if caption is None:
        return "<p>No method has draws of its parameters, which elpd needs.</p>"
    rests = _list(f"{name} rests on {words}." for name, words in comparison.elpd["basis"].items())
    return _table(tables[caption].drop(columns="rests on"), caption=caption) + rests


def _verdicts(comparison) -> str:
    return _list(f"{name}: {spoken(fit)}" for name, fit in comparison.fits.items())


def _agreement(comparison, tables) -> str:
    rows = comparison.agreement.rows
    unsure = rows[rows["largest_difference"] > 0.01].sort_values("largest_difference", ascending=False).head(ROWS_SHOWN)
    if len(unsure) == 0:
        apart = "<p>No row's probabilities of belonging to the components differ by more than 0.01 between methods.</p>"
    else:
        head = ("row", *map(str, comparison.fits), "largest difference in probability")
        listed = [(obs, *map(int, row[:-1]), f"{row[-1]:.3f}") for obs, *row in unsure.itertuples(name=None)]
        apart = "<h3>Rows on which methods differ most</h3>" + _rows_table(head, listed)
        apart += '<p class="caption">The most probable component of each row, by method.</p>'
    return _table(tables["Agreement"]) + apart


def _glossary(comparison) -> str:
    engines = {fit.engine.upper() for fit in comparison.fits.values()}
    left_out = {"EM", "NUTS", "ADVI"} - engines
    if len(comparison.fits) == 1:
        left_out |= {"overlap", "total variation, Hellinger", "adjusted Rand index", "stacking weight"}
    if not len(comparison.elpd):
        left_out |= {"elpd", "stacking weight", "Pareto k"}
    if "NUTS" not in engines:
        left_out.add("R-hat, effective sample size")
    if "EM" not in engines:
        left_out.add("BIC, AIC, ICL")
    terms = (f"<dt>{escape(t)}</dt><dd>{escape(said)}</dd>" for t, said in GLOSSARY.items() if t not in left_out)
    return f"<dl>{''.join(terms)}</dl>"


def _settings(comparison) -> str:
    rows = []
    for name, fit in comparison.fits.items():
        posterior = fit.tree["posterior"].sizes if fit.has_draws else {}
        drawn = f"{posterior['chain']} x {posterior['draw']} draws; " if posterior else ""
        known = ("uncertainty", "guard", "method", "sampler", "n_passes", "created_by")
        said = (f"{key.replace('_', ' ')} {fit.tree.attrs[key]}" for key in known if key in fit.tree.attrs)
        rows.append((name, fit.engine, drawn + "; ".join(said)))
    versions = []
    for package in ("bayesmix", "pymc", "arviz", "nutpie", "numpy", "scipy", "xarray"):
        try:
            versions.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    versions.append(("Python", platform.python_version()))
    return _rows_table(("name", "engine", "settings"), rows) + _rows_table(("package", "version"), versions)


# -- HTML ------------------------------------------------------------------------------------------------------------
def _section(heading, *content) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(content)}</section>"


def _paragraphs(sentences) -> str:
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _list(items) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _notes(notes) -> str:
    return f'<section class="notes">{_paragraphs(notes)}</section>' if notes else ""


def _table(table, caption: str = "", wide: bool = False) -> str:
    """Write a data frame of text; its index becomes the first column."""
    head = (table.index.name or "", *table.columns)
    rows = [(str(label), *row) for label, row in zip(table.index, table.values.tolist(), strict=True)]
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return said + _rows_table(head, rows, wide=wide)


def _rows_table(head, rows, wide: bool = False) -> str:
    def cell(text):
        text = str(text)
        return f"<td{' class=number' if len(text) < 40 else ''}>{escape(text)}</td>"

    titles = "".join(f'<th scope="col">{escape(str(title))}</th>' for title in head)
    first = ' class="wide"' if wide else ""
    lines = (
        f'<tr><th scope="row"{first}>{escape(str(label))}</th>{"".join(map(cell, cells))}</tr>'
        for label, *cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _figure(figure, name: str, caption: str) -> str:
    drawn = svg(figure, name, caption)
    return f'<figure class="broad">{drawn}<figcaption>{escape(caption)}</figcaption></figure>'


def svg(figure, name: str, words: str, **settings) -> str:
    """Write a matplotlib figure as SVG to stand inside HTML: no prolog, no metadata, ids that begin with `name`."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, **settings)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\b(id=")|(href="#)|(url\(#)', lambda match: f"{match[0]}{name}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1).strip()


def formula(tex: str) -> str:
    """Draw a formula as a picture, with its TeX for those who cannot see it; as TeX where it cannot be drawn."""
    with matplotlib.rc_context(STYLE | {"mathtext.fontset": "stix"}):
        figure = Picture(figsize=(0.1, 0.1))
        figure.text(0, 0, f"${tex}$", fontsize=14)
        name = f"f{zlib.crc32(tex.encode())}"
        try:
            drawn = svg(figure, name, tex, bbox_inches="tight", pad_inches=0.04, transparent=True)
        except ValueError:
            return f'<p class="formula"><code>{escape(tex)}</code></p>'
    return f'<div class="formula">{drawn}</div>'


def _columns(data) -> str:
    return f"{data.n_features} column{'s' * (data.n_features != 1)}"


def _components(k: int) -> str:
    return f"{k} component{'s' * (k != 1)}"


def _listed(names) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
