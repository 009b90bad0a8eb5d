"""Importing bayesmix is light, and every public name is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"pymc", "pytensor", "arviz", "matplotlib", "numba", "nutpie", "preliz"}


def in_new_python(code: str):
    """Run `code` in a new interpreter; return what it assigned to `answer`."""
    code = f"{code}\nimport json; print(json.dumps(answer))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def packages_after(code: str) -> set[str]:
    """Top-level packages in `sys.modules` once `code` has run in a new interpreter."""
    return set(in_new_python(f"{code}\nimport sys; answer = sorted({{name.split('.')[0] for name in sys.modules}})"))


def test_import_loads_no_heavy_package():
    assert packages_after("import bayesmix") & HEAVY == set()


def test_maximum_likelihood_needs_no_pymc():
    assert packages_after("import bayesmix as bm; bm.em; bm.Mixture; bm.Fit") & {"pymc", "nutpie", "arviz"} == set()


MODULES = "[name for name in bm.__all__ if inspect.ismodule(getattr(bm, name))]"


@pytest.fixture(scope="module")
def names():
    """Public names that are not there, and those that are modules, in a new interpreter."""
    missing = "[name for name in bm.__all__ if name not in dir(bm) or getattr(bm, name, None) is None]"
    return in_new_python(f"import inspect, bayesmix as bm; answer = [{missing}, {MODULES}]")


def test_every_public_name_is_listed_and_resolves(names):
    assert names[0] == []


def test_submodules_do_not_hide_public_names(names):
    """`bm.compare` is the function even after `import bayesmix.compare`, which binds that name to the module."""
    import_all = """
import importlib.util, inspect, bayesmix as bm
for name in bm.__all__:
    if importlib.util.find_spec(f"bayesmix.{name}"):
        importlib.import_module(f"bayesmix.{name}")
"""
    assert in_new_python(f"{import_all}answer = {MODULES}") == names[1]
