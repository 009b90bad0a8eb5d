"""Every Python block of README.md and docs/*.md runs: in order, one namespace per page, in an empty folder."""

import re
from pathlib import Path

import matplotlib
import pytest

import bayesmix as bm

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Python blocks of a page, each with the number of lines before it."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in BLOCK.finditer(text)]


PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if blocks(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for lines_before, code in blocks(page):
        exec(compile("\n" * lines_before + code, page, "exec"), namespace)


def test_every_public_name_has_an_example():
    code = "\n".join(code for page in PAGES for _, code in blocks(page))
    public = {name for name in bm.__all__ if not name.startswith("__")}
    assert {name for name in public if not re.search(rf"\bbm\.{name}\b", code)} == set()
