"""The command line: `bayesmix demo`, `bayesmix compare data.csv`."""

import difflib
import textwrap
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Mixture models by maximum likelihood and by Bayes, side by side.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
REPORT = Path("bayesmix-report.html")
ENGINES = ("em", "nuts", "advi")
QUICK = {"draws": 300, "chains": 2}

Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write the report, one HTML file.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same numbers.")]


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Mixture models by maximum likelihood and by Bayes, side by side."""
    if version:
        from . import __version__

        typer.echo(f"bayesmix {__version__}")
        raise typer.Exit()


@app.command()
def demo(
    output: Output = REPORT,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer draws: a first look in less time.")] = False,
    seed: Seed = 1,
    engines: Annotated[str, typer.Option(help="Engines to run, separated by commas.")] = "em,nuts,advi",
) -> None:
    """Fit the eruptions of the Old Faithful geyser by EM, NUTS and ADVI, and compare."""
    import bayesmix as bm

    data = bm.datasets.load("faithful")
    mixture = bm.Mixture(bm.MvNormal(), n_components=2)
    units = {str(name): variable.attrs["units"] for name, variable in data.data_vars.items()}
    settings = QUICK if quick else {"draws": 1000, "chains": 4}
    chosen = _engines(engines)
    _check_output(output)
    _run(mixture, data, chosen, settings, seed, output, units=units, description=data.attrs["description"])


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="CSV file with a header; one row per observation.", show_default=False)],
    family: Annotated[str, typer.Option(help="Family of the components: normal, mvnormal or poisson.")] = "mvnormal",
    components: Annotated[int, typer.Option("-k", "--components", help="Number of components.")] = 2,
    columns: Annotated[str | None, typer.Option(help="Columns to use, separated by commas; all if not given.")] = None,
    covariance: Annotated[
        str | None, typer.Option(help="Covariance of mvnormal: full, tied, diag or spherical.", show_default="full")
    ] = None,
    engines: Annotated[str, typer.Option(help="Engines to run, separated by commas.")] = "em,nuts,advi",
    output: Output = REPORT,
    draws: Annotated[int, typer.Option(help="Draws per chain.")] = 1000,
    seed: Seed = 1,
) -> None:
    """Fit a mixture to a CSV file by several methods, and compare."""
    chosen = _engines(engines)
    _check_output(output)
    if draws < 2:
        _fail(f"--draws {draws}, but at least 2 are needed, and 1000 are usual.")
    try:
        mixture = _mixture(family, components, covariance)
        table = _read(data, columns)
        mixture.check(table)
    except (TypeError, ValueError) as error:
        _fail(str(error))
    _run(mixture, table, chosen, {"draws": draws, "chains": 4}, seed, output)


# -- the job ----------------------------------------------------------------------------------------------------------
def _run(mixture, data, engines, settings, seed, output, **report) -> None:
    """Fit by each engine, print the comparison, write the report."""
    from rich.console import Console

    import bayesmix as bm

    console, begin = Console(), time.perf_counter()
    checked = mixture.check(data)
    columns = ", ".join(map(str, checked.feature)) if checked.named else str(checked.n_features)
    console.print(f"{checked.n_obs} rows; columns: {columns}", markup=False, highlight=False)
    console.print(str(mixture), markup=False, highlight=False, soft_wrap=True)
    if set(engines) - {"em"}:
        console.print(str(mixture.priors(checked)), markup=False, highlight=False, soft_wrap=True)
    fits = {}
    for engine in engines:
        name, start = engine.upper(), time.perf_counter()
        console.print(f"\n{name} ...", markup=False, highlight=False)
        try:
            fits[name] = _fit(bm, engine, mixture, data, settings, seed, console)
        except (TypeError, ValueError) as error:
            _fail(f"{name}: {error}")
        console.print(f"{name}: {fits[name].message}", markup=False, highlight=False)
        console.print(f"{time.perf_counter() - start:.1f} s", style="dim")
    console.print("\nComparing ...", markup=False)
    result = bm.compare(fits)
    _show(console, result)
    try:
        path = result.report(output, **report)
    except OSError as error:
        _fail(f"cannot write the report to {output}: {error.strerror or error}.")
    console.print(f"\nReport: {path.resolve()}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{time.perf_counter() - begin:.0f} s in all", style="dim")


def _fit(bm, engine, mixture, data, settings, seed, console):
    """Run one engine; where EM's Laplace approximation fails, go on without standard errors and say so."""
    show = console.is_terminal
    if engine == "nuts":
        return bm.nuts(mixture, data, random_seed=seed, progressbar=show, **settings)
    if engine == "advi":
        return bm.advi(mixture, data, random_seed=seed, progressbar=show)
    try:
        return bm.em(mixture, data, uncertainty="laplace", random_seed=seed, progressbar=show)
    except ValueError as error:
        console.print(f"No standard errors: {error}", markup=False, highlight=False)
        return bm.em(mixture, data, random_seed=seed, progressbar=show)


def _show(console, result) -> None:
    """Print conclusion, tables and notes."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Panel(Text("\n".join(result.conclusion)), title="In short", title_align="left"))
    for title, frame in result.readable().items():
        remarks = frame.pop("rests on") if "rests on" in frame else {}
        table = Table(
            title=Text(title, style="bold"), title_justify="left", header_style="bold", box=None, pad_edge=False
        )
        narrow = len(frame.to_string().partition("\n")[0]) > console.width
        table.add_column(Text(frame.index.name or ""), no_wrap=max(map(len, frame.index)) <= 40)
        for column in frame.columns:
            if narrow:  # the interval goes below the estimate
                frame[column] = frame[column].str.replace(" [", "\n[", regex=False)
            short = frame[column].str.split("\n").explode().str.len().max() <= 16
            table.add_column(Text(textwrap.fill(str(column), 14)), no_wrap=bool(short))
        for label, row in zip(frame.index, frame.values.tolist(), strict=True):
            table.add_row(*(Text(str(cell)) for cell in (label, *row)))
        console.print()
        console.print(table)
        for name, words in dict(remarks).items():
            console.print(f"{name} rests on {words}.", style="dim", markup=False, highlight=False)
    for note in result.notes:
        console.print(Text(f"\nNote: {note}"))


# -- what was asked for -----------------------------------------------------------------------------------------------
def _mixture(family: str, components: int, covariance: str | None):
    import bayesmix as bm

    from .components import FAMILIES

    known = {name.lower(): made for name, made in FAMILIES.items()}
    if family.lower() not in known:
        _fail(f"family {family!r} is not known{_close(family.lower(), known)}; the families are {', '.join(known)}.")
    if covariance is not None and family.lower() != "mvnormal":
        _fail(f"--covariance belongs to the family mvnormal, not to {family.lower()}.")
    settings = {} if covariance is None else {"covariance": covariance}
    return bm.Mixture(known[family.lower()](**settings), n_components=components)


def _engines(text: str) -> list[str]:
    chosen = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in chosen:
        if name not in ENGINES:
            _fail(f"engine {name!r} is not known{_close(name, ENGINES)}; the engines are {', '.join(ENGINES)}.")
    if not chosen:
        _fail(f"--engines names none; the engines are {', '.join(ENGINES)}.")
    return chosen


def _read(path: Path, columns: str | None):
    """Read the wanted columns of a CSV file, as a data frame of numbers."""
    import pandas as pd

    if not path.exists():
        beside = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        _fail(f"there is no file {path}{_close(path.name, beside)}.")
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
        if table.shape[1] == 1 and ";" in str(table.columns[0]):
            table = pd.read_csv(path, sep=";", decimal=",")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        _fail(f"cannot read {path} as a CSV file: {' '.join(str(error).split())}")
    names = [str(name) for name in table.columns]
    table.columns = names
    if columns is not None:
        wanted = [part.strip() for part in columns.split(",") if part.strip()]
        for name in wanted:
            if name not in names:
                _fail(f"there is no column {name!r}{_close(name, names)}; the columns are {', '.join(names)}.")
        if not wanted:
            _fail(f"--columns names none; the columns are {', '.join(names)}.")
        table = table[wanted]
    numeric = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    text = [name for name in table.columns if name not in numeric]
    if text:
        example = next((str(cell) for cell in table[text[0]] if not pd.isna(cell)), None)
        shown = f" (it holds {example!r})" if example else ""
        advice = f"choose others with --columns {','.join(numeric)}" if numeric else "there are no others"
        _fail(f"column {text[0]!r} is not numeric{shown}; {advice}.")
    return table


def _check_output(path: Path) -> None:
    """Fail before the work rather than after it."""
    if path.is_dir():
        _fail(f"--output {path} is a folder; name a file, for example {path / REPORT.name}.")
    if not path.parent.is_dir():
        _fail(f"--output {path}: there is no folder {path.parent}.")


def _close(name: str, known) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _fail(message: str):
    """Say what is wrong in one line and stop with exit code 2."""
    typer.echo(f"bayesmix: {message}", err=True)
    raise typer.Exit(2)
