"""The command line: `bayesmix demo`, `bayesmix compare data.csv`, `bayesmix sweep data.csv`."""

import csv
import difflib
import shlex
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
ENGINES = {"em": "EM", "nuts": "NUTS", "advi": "ADVI", "laplace": "Laplace", "gibbs": "Gibbs"}
PICTURES = (".png", ".svg", ".pdf")
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
    _check_seed(seed)
    _check_output(output)
    _run(mixture, data, chosen, settings, seed, output, units=units, description=data.attrs["description"])


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="CSV file with a header; one row per observation.", show_default=False)],
    family: Annotated[
        str, typer.Option(help="Family of the components, such as normal, mvnormal, poisson, gamma.")
    ] = "mvnormal",
    components: Annotated[int, typer.Option("-k", "--components", help="Number of components.")] = 2,
    columns: Annotated[str | None, typer.Option(help="Columns to use, separated by commas; all if not given.")] = None,
    covariance: Annotated[
        str | None,
        typer.Option(
            help="Covariance of mvnormal: full, tied, diag, spherical or a name of mclust such as VEV.",
            show_default="full",
        ),
    ] = None,
    engines: Annotated[str, typer.Option(help="Engines to run, separated by commas.")] = "em,nuts,advi",
    output: Output = REPORT,
    draws: Annotated[int, typer.Option(help="Draws per chain.")] = 1000,
    seed: Seed = 1,
) -> None:
    """Fit a mixture to a CSV file by several methods, and compare."""
    chosen = _engines(engines)
    _check_seed(seed)
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


@app.command()
def sweep(
    data: Annotated[Path, typer.Argument(help="CSV file with a header; one row per observation.", show_default=False)],
    family: Annotated[
        str, typer.Option(help="Family of the components, such as normal, mvnormal, poisson, gamma.")
    ] = "mvnormal",
    components: Annotated[
        str, typer.Option("-k", "--components", help="Numbers of components: 1-8, or 1-4,6.")
    ] = "1-8",
    columns: Annotated[str | None, typer.Option(help="Columns to use, separated by commas; all if not given.")] = None,
    covariance: Annotated[
        str | None, typer.Option(help="Covariances of mvnormal, separated by commas: full,tied.", show_default="full")
    ] = None,
    engines: Annotated[str, typer.Option(help="Engines to run, separated by commas.")] = "em",
    draws: Annotated[int, typer.Option(help="Draws per chain; EM needs none.")] = 1000,
    evidence: Annotated[bool, typer.Option("--evidence", help="Find the log evidence of posteriors too.")] = False,
    seed: Seed = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw the criteria into this file: .png, .svg or .pdf.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")] = None,
) -> None:
    """Fit mixtures of several sizes and covariances to a CSV file, and rank them by BIC, ICL, AIC (elpd by nuts, advi)."""
    from rich.console import Console

    import bayesmix as bm

    chosen = _engines(engines)
    _check_seed(seed)
    for option, path in (("--plot", plot), ("--csv", table)):
        if path is not None:
            _check_output(path, option)
    if plot is not None and plot.suffix.lower() not in PICTURES:
        _fail(f"--plot {plot}, but a picture is written to a file whose name ends in {', '.join(PICTURES)}.")
    console, begin = Console(), time.perf_counter()
    try:
        structures = None if covariance is None else [part.strip() for part in covariance.split(",") if part.strip()]
        component = _component(family, structures)
        rows = _read(data, columns)
        result = bm.sweep(
            component,
            rows,
            _whole_numbers(components),
            engine={ENGINES[name]: getattr(bm, name) for name in chosen},
            evidence=evidence,
            random_seed=seed,
            progressbar=console.is_terminal,
            **({"draws": draws} if set(chosen) != {"em"} else {}),
        )
    except (TypeError, ValueError) as error:
        _fail(str(error))
    _show(console, result)
    if table is not None:
        _write(result.table.to_csv, table, "--csv")
        console.print(f"\nTable: {table.resolve()}", markup=False, highlight=False, soft_wrap=True)
    if plot is not None:
        _write(result.plot().savefig, plot, "--plot")
        console.print(f"\nPicture: {plot.resolve()}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{time.perf_counter() - begin:.0f} s in all", style="dim")


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
        name, start = ENGINES[engine], time.perf_counter()
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
    if engine != "em":
        return getattr(bm, engine)(mixture, data, random_seed=seed, progressbar=show)
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
            table.add_column(Text(textwrap.fill(str(column), 10)), no_wrap=bool(short))
        for label, row in zip(frame.index, frame.values.tolist(), strict=True):
            table.add_row(*(Text(str(cell)) for cell in (label, *row)))
        console.print()
        console.print(table)
        for name, words in dict(remarks).items():
            console.print(f"{name} rests on {words}.", style="dim", markup=False, highlight=False)
    for note in result.notes:
        console.print(Text(f"\nNote: {note}"))


# -- what was asked for -----------------------------------------------------------------------------------------------
NEED_MORE = {
    "product": "a family for each column",
    "pareto": "its smallest value",
} | dict.fromkeys(("binomial", "zeroinflatedbinomial", "hurdlebinomial"), "the number of trials")


def _mixture(family: str, components: int, covariance: str | None):
    import bayesmix as bm

    return bm.Mixture(_component(family, covariance), n_components=components)


def _component(family: str, covariance):
    from .components import FAMILIES

    known = {name.lower(): made for name, made in FAMILIES.items()}
    if family.lower() in NEED_MORE:
        _fail(f"{family} needs {NEED_MORE[family.lower()]}, which only Python can say: see docs/families.md.")
    if family.lower() not in known:
        _fail(f"family {family!r} is not known{_close(family.lower(), known)}; the families are {', '.join(known)}.")
    if covariance is not None and family.lower() != "mvnormal":
        _fail(f"--covariance belongs to the family mvnormal, not to {family.lower()}.")
    return known[family.lower()](**({} if covariance is None else {"covariance": covariance}))


def _whole_numbers(text: str) -> list[int]:
    """Read "1-4,6" as 1, 2, 3, 4, 6."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not (first.strip().isdecimal() and (last.strip().isdecimal() or not dash)):
            _fail(f"-k {text}: {part!r} is not a number of components; write for example 1-8, or 1-4,6.")
        found += range(int(first), int(last if dash else first) + 1)
    if not found:
        _fail(f"-k {text} holds no number of components; write for example 1-8, or 1-4,6.")
    return found


def _engines(text: str) -> list[str]:
    chosen = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in chosen:
        if name not in ENGINES:
            _fail(f"engine {name!r} is not known{_close(name, list(ENGINES))}; the engines are {', '.join(ENGINES)}.")
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
        separator, header, row = _layout(path)
        table = pd.read_csv(path, sep=separator, skipinitialspace=True)
        if not all(map(pd.api.types.is_numeric_dtype, table.dtypes)):
            other = pd.read_csv(path, sep=separator, skipinitialspace=True, decimal=",")
            if _n_numeric(other) > _n_numeric(table):
                table = other
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        _fail(f"cannot read {path} as a CSV file: {' '.join(str(error).split())}")
    _check_header(path, separator, header)
    if len(row) > len(header):  # pandas would take the first ones for labels of the rows
        _fail(
            f"the header of {path} has {len(header)} name{'s' * (len(header) != 1)}, but rows hold more fields, for "
            f"example {separator.join(row)!r}; name every column, and where numbers have decimal commas, separate columns by "
            "semicolons."
        )
    if table.empty:
        _fail(f"{path} has a header, but no rows.")
    if columns is None and "" in header:
        named = shlex.quote(",".join(name for name in header if name))
        _fail(
            f"column {header.index('') + 1} of {path} has no name (row numbers?); name it, or leave it out: --columns {named}."
        )
    table.columns = names = [str(name).strip() for name in table.columns]
    numeric = [name for name, kind in zip(names, table.dtypes, strict=True) if pd.api.types.is_numeric_dtype(kind)]
    if columns is not None:
        table = table[_wanted(columns, names)]
    text = [name for name in table.columns if name not in numeric]
    if text:
        odd = next((str(cell) for cell in table[text[0]] if not (pd.isna(cell) or _is_number(str(cell), "."))), None)
        shown = "" if odd is None else f" (it holds {odd!r})"
        _fail(f"column {text[0]!r} is not numeric{shown}; {_instead(names, numeric)}.")
    return table


def _layout(path: Path) -> tuple[str, list[str], list[str]]:
    """The separator of a CSV file, the fields of its header and of its first row.

    Of semicolon, tab and comma it is the first that splits the header, and the first row into as many fields; a header
    that none of them splits is one name, and commas below it are decimal commas.
    """
    import bz2
    import gzip
    import lzma

    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)  # as pandas does
    found = {}
    for separator in ("\t",) if ".tsv" in path.suffixes else (";", "\t", ","):
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = (row for row in csv.reader(file, delimiter=separator, skipinitialspace=True) if row)
            header, row = ([field.strip() for field in next(rows, [])] for _ in range(2))
        found[separator] = separator, header, row
    split = [layout for layout in found.values() if len(layout[1]) > 1]
    even = [layout for layout in split if len(layout[1]) == len(layout[2])]
    return (even or split or list(found.values()))[0]


def _check_header(path: Path, separator: str, header: list[str]) -> None:
    """Fail if the first line holds numbers: it would be lost as names of columns."""
    given = [name for name in header if name]
    if given and all(map(_is_number, given)):
        shown = ("; " if "," in "".join(given) else ", ").join(given[:6]) + ", ..." * (len(given) > 6)
        example = separator.join(f"x{i + 1}" for i in range(min(len(header), 3)))
        example += f"{separator}..." * (len(header) > 3)
        _fail(
            f"the first line of {path} holds numbers ({shown}): a header with column names is needed; "
            f"add a first line such as {example!r}."
        )


def _is_number(text: str, decimal: str = ",") -> bool:
    try:
        float(text.replace(decimal, "."))
    except ValueError:
        return False
    return any(sign.isdigit() for sign in text)  # "nan" and "inf" may well be names


def _n_numeric(table) -> int:
    from pandas.api.types import is_numeric_dtype

    return sum(map(is_numeric_dtype, table.dtypes))


def _wanted(columns: str, names: list[str]) -> list[str]:
    """The columns that ``--columns`` names."""
    if columns.strip() in names:
        return [columns.strip()]
    (parts,) = csv.reader([columns], skipinitialspace=True)
    wanted = [part.strip() for part in parts if part.strip()]
    for name in wanted:
        if name not in names:
            hint = "; a name with a comma goes in double quotes" if any("," in known for known in names) else ""
            listed = ", ".join(map(_quoted, names))
            _fail(f"there is no column {name!r}{_close(name, names)}; the columns are {listed}{hint}.")
    if not wanted:
        _fail(f"--columns names none; the columns are {', '.join(map(_quoted, names))}.")
    return wanted


def _instead(names: list[str], numeric: list[str]) -> str:
    """What to do about a column that is not numeric."""
    if numeric:
        option = shlex.quote(",".join(map(_quoted, numeric)))
        return f"choose {'others' if len(numeric) > 1 else 'another'} with --columns {option}"
    if len(names) > 1:
        return "nor is any other column, and a mixture needs numbers"
    return "it is the only column: separate columns by commas, semicolons or tabs"


def _quoted(name: str) -> str:
    """A name as ``--columns`` takes it: in double quotes if it holds a comma or a double quote."""
    return '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name


def _check_seed(seed: int) -> None:
    if seed < 0:
        _fail(f"--seed {seed}, but a seed must be 0 or more, for example 1.")


def _check_output(path: Path, option: str = "--output") -> None:
    """Fail before the work rather than after it."""
    if path.is_dir():
        _fail(
            f"{option} {path} is a folder; name a file{f', for example {path / REPORT.name}' * (option == '--output')}."
        )
    if not path.parent.is_dir():
        _fail(f"{option} {path}: there is no folder {path.parent}.")


def _write(write, path: Path, option: str) -> None:
    try:
        write(path)
    except OSError as error:
        _fail(f"{option}: cannot write {path}: {error.strerror or error}.")


def _close(name: str, known) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _fail(message: str):
    """Say what is wrong in one line and stop with exit code 2."""
    typer.echo(f"bayesmix: {message}", err=True)
    raise typer.Exit(2)
