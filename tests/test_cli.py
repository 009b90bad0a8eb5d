"""The command line: what it writes, and that errors are one line and exit code 2."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.cli import _read, app

RUNNER = CliRunner()
FAITHFUL = bm.datasets.load("faithful")


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "faithful.csv"
    FAITHFUL.to_dataframe().to_csv(path, index=False)
    return path


def failure(*arguments):
    """The one line that a wrong call prints."""
    run = RUNNER.invoke(app, list(map(str, arguments)))
    assert run.exit_code == 2, run.output
    (line,) = run.stderr.strip().splitlines()
    return line


def test_version():
    run = RUNNER.invoke(app, ["--version"])
    assert run.exit_code == 0
    assert run.stdout.strip() == f"bayesmix {bm.__version__}"


def test_help_names_the_commands_and_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from bayesmix.cli import app; "
        "run = CliRunner().invoke(app, ['--help']); assert 'demo' in run.output and 'compare' in run.output; "
        "print({'xarray', 'pandas', 'pymc', 'arviz', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_module_is_the_command_line():
    run = subprocess.run([sys.executable, "-m", "bayesmix", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"bayesmix {bm.__version__}"


def test_demo_prints_and_writes(tmp_path):
    output = tmp_path / "demo.html"
    run = RUNNER.invoke(app, ["demo", "--engines", "em", "--output", str(output)])
    assert run.exit_code == 0, run.output
    assert "Mixture of 2 MvNormal() components" in run.stdout
    assert "mu[0, eruptions]" in run.stdout  # not swallowed as markup
    assert "demo.html" in run.stdout.replace("\n", "")
    assert "Old Faithful" in output.read_text(encoding="utf-8")


def test_compare_reads_a_file(csv, tmp_path):
    output = tmp_path / "report.html"
    call = ["compare", csv, "--family", "normal", "-k", 2, "--columns", "waiting", "--engines", "em", "-o", output]
    run = RUNNER.invoke(app, list(map(str, call)))
    assert run.exit_code == 0, run.output
    assert "272 rows; columns: waiting" in run.stdout
    assert output.exists()


def test_compare_with_semicolons_and_another_covariance(tmp_path):
    path = tmp_path / "semicolons.csv"
    FAITHFUL.to_dataframe().to_csv(path, index=False, sep=";", decimal=",")
    call = ["compare", path, "--covariance", "tied", "--engines", "em", "-o", tmp_path / "report.html"]
    run = RUNNER.invoke(app, list(map(str, call)))
    assert run.exit_code == 0, run.output
    assert "covariance='tied'" in run.stdout


def test_too_many_components_lose_their_standard_errors_not_the_run(tmp_path):
    path = tmp_path / "counts.csv"
    np.savetxt(path, np.repeat([0, 1, 2, 3], [30, 20, 9, 4]), header="n", comments="", fmt="%d")
    call = ["compare", path, "--family", "poisson", "-k", 3, "--engines", "em", "-o", tmp_path / "report.html"]
    run = RUNNER.invoke(app, list(map(str, call)))
    assert run.exit_code == 0, run.output


def test_missing_file(csv):
    line = failure("compare", csv.parent / "faithfull.csv")
    assert "there is no file" in line and "did you mean 'faithful.csv'" in line


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\xff", b'a,b\n1,2\n1,2,3,"4\n'])
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    assert "cannot read" in failure("compare", path)


def test_folder_instead_of_a_file(tmp_path):
    assert "cannot read" in failure("compare", tmp_path)


def test_unknown_column(csv):
    line = failure("compare", csv, "--columns", "eruption,waiting")
    assert "no column 'eruption' (did you mean 'eruptions'?); the columns are eruptions, waiting" in line


def test_text_in_a_column(tmp_path):
    path = tmp_path / "iris.csv"
    bm.datasets.load("iris").to_dataframe().to_csv(path, index=False)
    line = failure("compare", path)
    assert "column 'species' is not numeric (it holds 'setosa'); choose others with --columns sepal_length," in line


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        (None, ["length, cm", "width", "kind"], """choose others with --columns '"length, cm",width'."""),
        ("kind", ["length, cm", "a b", "kind"], """choose others with --columns '"length, cm",a b'."""),
        (
            "length",
            ["length, cm", "width", "kind"],
            "did you mean 'length, cm'?); the columns are \"length, cm\", width",
        ),
    ],
)
def test_names_with_commas_are_quoted(tmp_path, columns, names, words):
    path = tmp_path / "data.csv"
    pd.DataFrame({names[0]: [1.5, 2.5], names[1]: [2, 7], names[2]: ["x", "y"]}).to_csv(path, index=False)
    assert words in failure("compare", path, *(["--columns", columns] if columns else []))


def test_names_with_commas_can_be_given(tmp_path):
    path = tmp_path / "data.csv"
    FAITHFUL.to_dataframe().set_axis(["eruptions, min", "waiting"], axis=1).to_csv(path, index=False)
    for columns, shown in (
        ('"eruptions, min",waiting', "eruptions, min, waiting"),
        ("eruptions, min", "eruptions, min"),
    ):
        call = ["compare", path, "--columns", columns, "--engines", "em", "-k", 1, "-o", tmp_path / "report.html"]
        run = RUNNER.invoke(app, list(map(str, call)))
        assert run.exit_code == 0, run.output
        assert f"columns: {shown}\n" in run.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("n,kind\n1.5,x\n2,7?\n", "column 'kind' is not numeric (it holds 'x'); choose another with --columns n."),
        ("n,m\n1.5,x\n?,7\n", "column 'n' is not numeric (it holds '?'); nor is any other column"),
        ("a b\n1 2\n3 4\n", "it is the only column: separate columns by commas, semicolons or tabs."),
        ("a,b\n", "has a header, but no rows"),
    ],
)
def test_what_to_do_without_other_numeric_columns(tmp_path, content, words):
    path = tmp_path / "data.csv"
    path.write_text(content)
    assert words in failure("compare", path)


@pytest.mark.parametrize(
    ("content", "numbers", "example"),
    [
        ("3.6,79\n1.8,54\n", "3.6, 79", "x1,x2"),
        ("3,6;79\n1,8;54\n", "3,6; 79", "x1;x2"),
        ("3.6\n1.8\n", "3.6", "x1"),
        (",1,-2e3,.5\n0,1,2,3\n", "1, -2e3, .5", "x1,x2,x3,..."),
    ],
)
def test_file_without_a_header(tmp_path, content, numbers, example):
    path = tmp_path / "data.csv"
    path.write_text(content)
    line = failure("compare", path)
    assert f"data.csv holds numbers ({numbers}): a header with column names is needed" in line
    assert f"add a first line such as {example!r}." in line


def test_a_column_without_a_name_is_not_fitted_unasked(tmp_path):
    """pandas and R write the row numbers as a first column without a name."""
    path = tmp_path / "data.csv"
    FAITHFUL.to_dataframe().to_csv(path)
    path.write_text(path.read_text().replace("obs,", ",", 1))
    line = failure("compare", path)
    assert "column 1 of" in line and "--columns eruptions,waiting" in line


def test_rows_longer_than_the_header(tmp_path):
    """Decimal commas between commas: the first fields are not row labels."""
    path = tmp_path / "data.csv"
    path.write_text("a,b\n3,6,79,5\n1,8,54,5\n")
    line = failure("compare", path)
    assert "has 2 names, but rows hold more fields, for example '3,6,79,5'" in line and "semicolons" in line


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_decimal_signs(tmp_path, separator, decimal, suffix):
    path = tmp_path / f"data.{suffix}"
    frame = FAITHFUL.to_dataframe().astype(float)
    frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else separator, decimal=decimal)
    pd.testing.assert_frame_equal(_read(path, None), frame.reset_index(drop=True), check_dtype=False)


def test_decimal_commas_in_a_single_column(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a\n3,6\n1,8\n")
    assert _read(path, None)["a"].tolist() == [3.6, 1.8]


def test_header_that_two_separators_split(tmp_path):
    """The one that splits the rows alike counts."""
    path = tmp_path / "data.csv"
    for content in ("length, cm;width\n3,6;1\n1,8;2\n", "length; cm,width\n3.6,1\n1.8,2\n"):
        path.write_text(content)
        assert _read(path, None).to_numpy().tolist() == [[3.6, 1.0], [1.8, 2.0]]


def test_a_column_without_values(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b\n1,\n3,\n4,\n6,\n2,\n")
    assert "'b' has no value" in failure("compare", path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--family", "mvnorml"), "did you mean 'mvnormal'"),
        (("--engines", "em,nutz"), "did you mean 'nuts'"),
        (("--engines", ","), "names none"),
        (("--covariance", "round"), "one of full, diag, tied, spherical"),
        (("--family", "normal", "--covariance", "full"), "belongs to the family mvnormal"),
        (("--family", "Binomial"), "needs the number of trials, which only Python can say"),
        (("--family", "normal"), "one column"),
        (("--family", "poisson", "--columns", "eruptions"), "Poisson is for counts"),
        (("-k", "0"), "at least 1 component"),
        (("--draws", "1"), "at least 2"),
        (("--seed", "-1"), "--seed -1, but a seed must be 0 or more"),
        (("--output", "no/such/folder/report.html"), "there is no folder"),
    ],
)
def test_wrong_options(csv, options, words):
    assert words in failure("compare", csv, *options)


def test_output_is_a_folder(csv, tmp_path):
    assert "is a folder" in failure("compare", csv, "--output", tmp_path)
