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


@pytest.mark.parametrize("name", ["em", "Mixture", "Fit"])
def test_maximum_likelihood_needs_no_pymc(name):
    assert packages_after(f"import bayesmix as bm; bm.{name}") & {"pymc", "nutpie", "arviz"} == set()


def test_dir_lists_every_public_name():
    missing = in_new_python("import bayesmix as bm; answer = sorted(set(bm.__all__) - set(dir(bm)))")
    assert missing == []


def test_every_public_name_resolves():
    missing = in_new_python(
        "import bayesmix as bm; answer = [name for name in bm.__all__ if getattr(bm, name, None) is None]"
    )
    assert missing == []


def test_submodules_do_not_hide_public_names():
    """`bm.compare` is the function even after `import bayesmix.compare`, which binds that name to the module."""
    modules = "answer = [name for name in bm.__all__ if inspect.ismodule(getattr(bm, name))]"
    import_all = """
for name in bm.__all__:
    if importlib.util.find_spec(f"bayesmix.{name}"):
        importlib.import_module(f"bayesmix.{name}")
"""
    preamble = "import importlib.util, inspect, bayesmix as bm\n"
    assert in_new_python(preamble + import_all + modules) == in_new_python(preamble + modules)
