"""The page: complete, self-contained, safe, and with the numbers of the files."""

import re

import pandas as pd
import pytest

from ich import comparison, figures
from ich.cohort import counts
from ich.report import Picture, render
from tests.unit import results


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "one"
    metrics, curves = results.evaluated()
    figures.save(figures.roc(curves, metrics, title="one", synthetic=True), folder / "roc.svg", folder / "roc.png")
    table = comparison.comparison({"one": metrics}, {"one": results.facts()})
    sizes = {"slices": 1234, "series": 40, "patients": 33}
    return {
        "comparison": comparison.to_html(table, "Head"),
        "verdict": "One & only.",
        "classes": comparison.by_class({"one": metrics}),
        "counts": counts(results.cohort()),
        "flow": {
            "slices": 4321,
            "labels": 4322,
            "slices without label": 3,
            "labels of slices in quarantine": 2,
            "labels without slice": 4,
        }
        | dict.fromkeys(("cohort", "train", "validation", "test"), sizes),
        "quarantine": pd.DataFrame(
            [
                ["ID_1", "/exports/Doe^Jane/1.dcm", "headers", "truncated"],
                ["ID_2", "/exports/Doe^Jane/2.dcm", "headers", "truncated"],
                ["ID_3", "/exports/3.dcm", "cache", "constant image"],
            ],
            columns=["image_id", "location", "stage", "reason"],
        ),
        "models": {"one": results.facts()},
        "sections": {
            "cohort": [],
            "results": [Picture(folder / "roc.svg", "one: ROC", "A <caption>.")],
            "training": [Picture(folder / "roc.png", "one: history", "Another.")],
        },
        "configuration": {"data": {"root": "<root>"}},
        "synthetic": True,
    }


@pytest.fixture(scope="module")
def page(inputs):
    return render(**inputs)


def test_equal_inputs_give_an_equal_page(inputs, page):
    assert render(**inputs) == page


def test_the_page_needs_no_other_file_and_no_network(page):
    addresses = re.findall(r"""(?:\s(?:src|href)=|url\()["']?([^"')\s>]+)""", page)
    assert len(addresses) > 5
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in page
    assert "fetch(" not in page


def test_the_table_comes_first(page):
    assert page.index('id="comparison"') < page.index('id="classes"') < page.index('id="cohort"')


def test_every_value_of_every_class_is_on_the_page(inputs, page):
    rows = re.findall(r"<tr><td>one</td><td>(\w+)</td><td>(\w+)</td>\s*<td class=\"value\">([^<]+)</td>", page)
    expected = [
        (row["class"], row["metric"], "–" if pd.isna(row["value"]) else f"{row['value']:.3f}")
        for row in inputs["classes"].to_dict("records")
    ]
    assert rows == expected


def test_what_was_left_out_is_counted_without_names(page):
    assert re.search(r"<td>headers</td><td>truncated</td><td class=\"value\">2</td>", page)
    assert re.search(r"<td>cache</td><td>constant image</td><td class=\"value\">1</td>", page)
    assert "Doe^Jane" not in page


def test_the_flow_is_on_the_page(page):
    assert "<b>4,321</b> usable slices" in page
    assert "<b>1,234</b> slices of <b>33</b> patients" in page


def test_text_is_escaped(page):
    assert "A &lt;caption&gt;." in page
    assert "&lt;root&gt;" in page
    assert "One &amp; only." in page


def test_synthetic_data_is_said_on_top_and_real_data_is_not_called_so(inputs, page):
    assert "Synthetic data." in page
    assert "ynthetic" not in render(**inputs | {"synthetic": False})


def test_every_figure_has_a_text_and_a_caption(page):
    images = re.findall(r"<img [^>]*alt=\"([^\"]*)\"", page)
    assert images == ["one: ROC", "one: history"]
    assert page.count("<figcaption>") == 2


def test_the_use_is_limited(page):
    assert "not for diagnosis" in page
    assert "not a medical device" in page


def test_nothing_left_out_is_said(inputs):
    assert "Nothing was left out." in render(**inputs | {"quarantine": inputs["quarantine"].iloc[:0]})
