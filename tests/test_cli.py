"""The command line: what it writes, and that errors are one line and exit code 2."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.cli import app

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


def test_missing_values(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b\n1,2\n3,\n4,5\n6,1\n2,2\n")
    assert "b" in failure("compare", path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--family", "mvnorml"), "did you mean 'mvnormal'"),
        (("--engines", "em,nutz"), "did you mean 'nuts'"),
        (("--engines", ","), "names none"),
        (("--covariance", "round"), "one of full, diag, tied, spherical"),
        (("--family", "normal", "--covariance", "full"), "belongs to the family mvnormal"),
        (("--family", "normal"), "one column"),
        (("--family", "poisson", "--columns", "eruptions"), "Poisson is for counts"),
        (("-k", "0"), "at least 1 component"),
        (("--draws", "1"), "at least 2"),
        (("--output", "no/such/folder/report.html"), "there is no folder"),
    ],
)
def test_wrong_options(csv, options, words):
    assert words in failure("compare", csv, *options)


def test_output_is_a_folder(csv, tmp_path):
    assert "is a folder" in failure("compare", csv, "--output", tmp_path)
