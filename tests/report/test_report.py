"""The report: one file, nothing outside it, every section, names as they are."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from fits import three

import bayesmix as bm
from bayesmix.report.html import formula

FAITHFUL = bm.datasets.load("faithful")
SECTIONS = (
    "In short",
    "What was fitted",
    "The data",
    "Fitted densities",
    "Estimates",
    "Predictive accuracy",
    "Diagnostics",
    "Agreement",
    "How to read this",
    "Settings and versions",
)
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects headings and the values of attributes, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.headings, self.tags, self.text = [], [], [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def result():
    return bm.compare(three(bm.Mixture(bm.MvNormal(), 2), FAITHFUL))


@pytest.fixture(scope="module")
def html(result, tmp_path_factory):
    path = result.report(
        tmp_path_factory.mktemp("report") / "report.html", units={"waiting": "min"}, title="Old Faithful"
    )
    return path.read_text(encoding="utf-8")


def test_every_section_is_there(html):
    assert read(html).headings == list(SECTIONS)


def test_nothing_outside_the_file_is_referred_to(html):
    reader = read(html)
    assert reader.tags & {"script", "link", "iframe", "img"} == set()
    for name, value in reader.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#"), (name, value)
    assert "http" not in re.sub(r"<text.*?</text>", "", html)
    assert "@import" not in html and "url(http" not in html


def test_ids_are_unique_so_that_pictures_do_not_mix(html):
    ids = [value for name, value in read(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_it_holds_the_conclusion_and_the_numbers(result, html):
    text = "".join(read(html).text)
    for sentence in result.conclusion + result.notes:
        assert sentence in text
    for row in result.table().itertuples():
        assert all(cell in text for cell in row)
    assert "waiting (min)" in text
    assert "Old Faithful" in text


def test_names_are_escaped(tmp_path):
    frame = pd.DataFrame({"<b>x</b>": FAITHFUL["eruptions"], "a & b": FAITHFUL["waiting"]})
    fit = bm.em(
        bm.Mixture(bm.MvNormal(), 2), frame, uncertainty="laplace", draws=50, n_init=2, random_seed=1, progressbar=False
    )
    result = bm.compare({"<script>alert(1)</script>": fit, "other": fit})
    html = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>x</b>" not in html and "&lt;b&gt;x&lt;/b&gt;" in html
    assert "<script" not in html
    assert "<b>x</b>" not in result._repr_html_() and "<script" not in result._repr_html_()
    read(html)


@pytest.mark.parametrize("family", [bm.Normal(), bm.Poisson()])
def test_a_single_fit_without_draws_has_a_report(family, tmp_path):
    fit = bm.em(bm.Mixture(family, 2), FAITHFUL["waiting"], n_init=2, random_seed=1, progressbar=False)
    headings = read(bm.compare([fit]).report(tmp_path / "one.html").read_text(encoding="utf-8")).headings
    assert headings == [section for section in SECTIONS if section != "Agreement"]


def test_formulas_of_families_are_drawn():
    for family in (bm.Normal, bm.MvNormal, bm.Poisson):
        tex = re.search(r":math:`([^`]+)`", family.__doc__)[1]
        assert "<svg" in formula(" ".join(tex.split())), family


def test_a_formula_that_cannot_be_drawn_is_shown_as_text():
    assert "<code>" in formula(r"\unknowncommand{x} <")
