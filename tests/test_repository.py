"""What the repository promises: no address of an index, no path of a machine, pinned dependencies."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import bayesmix

ROOT = Path(__file__).resolve().parent.parent
# Written with brackets so that this file does not match itself.
INDEX = re.compile(
    r"pypi[.]org|pythonhosted[.]org|://[^\s\"']+/simple[/]?\b"
    r"|(?<!no-emit-)(index[-_]url|find[-_]links)\b|tool[.]uv[.]index",
    re.IGNORECASE,
)
MACHINE = re.compile(r"/root[/]|/home[/]\w|/Users[/]\w|[.]pyenv[/]versions|[A-Z]:\\Users[\\]")
PIN = re.compile(r"([\w.-]+)==[\w.+!]+( ; .+)?")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        pytest.skip(f"git cannot read this checkout: {run.stderr.strip()}")
    return [path for name in run.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:200]}"
        for path in tracked_files()
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def project_name(requirement: str) -> str:
    """Name of a requirement as indexes spell it: lower case, hyphens."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_no_file_names_a_package_index():
    assert lines_matching(INDEX) == []


def test_no_file_names_a_path_of_one_machine():
    assert lines_matching(MACHINE) == []


def test_no_lock_file_or_python_version_is_committed():
    # A lock records the address of its index; a Python version hides a uv that pyenv installed.
    assert {path.name for path in tracked_files()} & {"uv.lock", ".python-version"} == set()


def test_constraints_are_pins_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = project["project"]["dependencies"] + [
        requirement for group in project["dependency-groups"].values() for requirement in group
    ]
    named = {project_name(requirement) for requirement in requirements if isinstance(requirement, str)}
    pinned = {project_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert named - pinned == set()


def test_docs_list_exactly_the_public_names():
    listed = set(re.findall(r"^   (\w[\w.]*)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    public = {name for name in bayesmix.__all__ if not name.startswith("__")}
    # A public module is listed by its members: `datasets` as `datasets.load`.
    assert {name.split(".")[0] for name in listed} == public
