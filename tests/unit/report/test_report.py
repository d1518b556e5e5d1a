"""The page: complete, self-contained, safe, accessible, and with the numbers of the files."""

import html
import html.parser
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from ich.base.classes import CLASSES
from ich.cohort.characteristics import characteristics
from ich.cohort.cohort import counts
from ich.evaluation import comparison, paper
from ich.report import tables
from ich.report.checklist import checklist
from ich.report.figures import curves as curves_figures
from ich.report.figures import frame as style
from ich.report.figures import training
from ich.report.page import render
from ich.report.pictures import Picture, gallery, picture, without_paths
from tests.unit import results

ROOT = Path(__file__).parents[3]
HOSTILE = "<script>alert(\"x\")</script> & 'y' {{ 7 * 7 }}"


class Page(html.parser.HTMLParser):
    """All elements with their attributes, and the rows of cells of all tables by the heading above them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.heading, self.inside = [], {}, "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("h2", "h3"):
            self.inside, self.heading = "heading", ""
        elif tag == "table":
            self.rows = self.tables.setdefault(self.heading, [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.inside = "cell"
            self.rows[-1].append({"text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h2", "h3"):
            self.inside = ""

    def handle_data(self, data):
        if self.inside == "heading":
            self.heading += data
        elif self.inside == "cell":
            self.rows[-1][-1]["text"] += data

    def all(self, tag):
        return [attributes for each, attributes in self.elements if each == tag]

    def values(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def inputs(folder, experiments, synthetic=True, frame=None):
    """All that a page is made of; the experiments have the same results."""
    metrics, curves = results.evaluated(frame=frame)
    roc = curves_figures.roc(curves, metrics, title="one", synthetic=True)
    origin = {"source": folder / "evaluation/one/curves.parquet", "code": "fedcba9876543210"}
    style.save(roc, folder / "evaluation/one/roc.svg", **origin)
    course = training.history(results.history(), 2, title="one", synthetic=True)
    style.save(course, folder / "history.png", source=folder / "models/one/history.csv", code="0" * 16)
    points = results.points({"batch_size": [16, 32], "optimizer.learning_rate": [1e-5, 1e-4]})
    keys = ["batch_size", "optimizer.learning_rate"]
    style.save(training.search(points, keys, title="one", synthetic=True), folder / "search/one/search.svg")
    by_name, facts = dict.fromkeys(experiments, metrics), {name: results.facts() for name in experiments}
    return {
        "comparison": tables.to_html(comparison.comparison(by_name, facts), "Head"),
        "verdict": "One & only.",
        "classes": comparison.by_class(by_name),
        "counts": counts(results.cohort()),
        "described": characteristics(results.cohort(), results.manifest()),
        "flow": {
            "slices": 4351,
            "labels": 4322,
            "slices without label": 3,
            "slices of series without label": 30,
            "labels of slices in quarantine": 2,
            "labels without slice": 5,
            "cohort": {"slices": 4318, "series": 140, "patients": 133},
            "train": {"slices": 2806, "series": 91, "patients": 86},
            "validation": {"slices": 648, "series": 21, "patients": 20},
            "test": {"slices": 864, "series": 28, "patients": 27},
        },
        "quarantine": pd.DataFrame(
            [
                ["ID_1", "/exports/Doe^Jane/1.dcm", "headers", "truncated"],
                ["ID_2", "/exports/Doe^Jane/2.dcm", "headers", "truncated"],
                ["ID_3", "/exports/3.dcm", "headers", "not DICOM"],
                ["ID_4", "/exports/4.dcm", "slices", "duplicate SOPInstanceUID"],
                ["ID_5", "/exports/5.dcm", "cohort", "no label"],
                ["ID_6", "/exports/6.dcm", "cache", "constant image"],
            ],
            columns=["image_id", "location", "stage", "reason"],
        ),
        "models": facts,
        "evaluations": dict.fromkeys(experiments, results.evaluations(frame=frame)),
        "pairs": results.pairs(experiments, frame=frame),
        "sections": {
            "cohort": [],
            "results": [Picture(folder / "evaluation/one/roc.svg", "ROC of one", "A <caption>.")],
            "scans": [],
            "differences": [],
            "operating_points": [],
            "calibration": [],
            "subgroups": [],
            "cases": [],
            "training": [Picture(folder / "history.png", "History of one", "Another.")],
        },
        "cases": {experiments[0]: gallery(cases(folder), hash_ids=False)},
        "searches": {"one": (points, Picture(folder / "search/one/search.svg", "Points of one", "A third."))},
        "resources": results.resources(),
        "configuration": {
            "evaluation": {"confidence": 0.95, "prevalence": 0.1, "scan": "maximum", "threshold": "accuracy"},
            "data": {"root": "<root>"},
        },
        "results": folder,
        "version": "0.2.0",
        "commit": None,
        "synthetic": synthetic,
    }


def cases(folder):
    """A folder of two cases."""
    rows = [
        {"class": "any", "kind": "false positive", "image_id": f"SLICE_{number}", "alias": f"a{number}" * 6,
         "number": 3, "of": 30, "millimetres": 10.0,
         "probability": 0.91, "threshold": 0.4, **dict.fromkeys(CLASSES, 0), "picture": f"{number}.jpg"}
        for number in range(2)
    ]  # fmt: skip
    (folder / "cases").mkdir()
    pd.DataFrame(rows).to_csv(folder / "cases/cases.csv", index=False)
    for row in rows:
        path = folder / "cases" / row["picture"]
        comment = style.origin(path, folder / "predictions/one/test.parquet", "a & b")
        Image.new("RGB", (896, 224), "grey").save(path, comment=comment)
    return folder / "cases"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("results"), ["one", "two"])


@pytest.fixture(scope="module")
def page(given):
    return render(**given)


def test_equal_inputs_give_an_equal_page(given, page):
    assert render(**given) == page


def test_the_page_needs_no_other_file_and_no_network(page):
    addresses = Page(page).values("src") + Page(page).values("href")
    assert len(addresses) > 20
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|srcset", page)


def test_the_order_of_the_sections_is_that_of_the_navigation(page):
    sections = [each["id"] for each in Page(page).all("section")]
    links = [each["href"][1:] for each in Page(page).all("a") if each["href"][1:] in sections]
    assert sections == links[: len(sections)]
    assert sections[:5] == ["comparison", "classes", "scans", "differences", "cohort"]
    assert page.index("<table") > page.index('<section id="comparison"')


def test_the_baseline_has_its_reasons_too(tmp_path):
    given = inputs(tmp_path, ["one"])
    classes = given["classes"]
    classes.loc[(classes["metric"] == "prior_log_loss") & (classes["class"] == "any"), "reason"] = "Hardly varies."
    assert "Hardly varies." in render(**given)


@pytest.mark.parametrize(
    ("rule", "said"),
    [("accuracy", "the most right calls"), ("youden", "the same as the next"), (0.3, "the probability 0.3")],
)
def test_the_page_says_what_the_decision_is_and_where_cases_are_called(tmp_path, rule, said):
    given = inputs(tmp_path, ["one"])
    given["configuration"]["evaluation"]["threshold"] = rule
    text = " ".join(render(**given).split())
    assert f"<code>evaluation.threshold</code>, here {said}" in text
    assert "at the operating point <code>youden</code>" in text


# ---- numbers


TITLES = {
    "ROC AUC": "roc_auc",
    "Average precision": "average_precision",
    "Brier score": "brier",
    "PR AUC (trapezoid)": "pr_auc_trapezoid",
    "Log loss": "log_loss",
    "Accuracy": "accuracy",
    "Threshold": "threshold",
}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_value_of_every_class_is_on_the_page_in_full(count, tmp_path):
    given = inputs(tmp_path, [f"experiment{number}" for number in range(count)])
    tables = Page(render(**given)).tables
    seen = 0
    for title, metric in TITLES.items():
        rows = [row for row in tables[title] if "data-value" in row[-1]]
        mine = given["classes"][given["classes"]["metric"] == metric]
        expected = mine.pivot(index="class", columns="experiment", values="value")
        groups = ["any counted twice" if name == "kaggle" else name for name in mine["class"].unique()]
        assert [row[0]["text"] for row in rows] == groups
        for row in rows:
            name = "kaggle" if row[0]["text"] == "any counted twice" else row[0]["text"]
            assert [float(each["data-value"]) for each in row[2 : 2 + count]] == expected.loc[name].tolist()
            seen += count
    assert seen == given["classes"]["metric"].isin(TITLES.values()).sum()


def test_values_are_shown_with_their_intervals_counts_and_baselines(given, page):
    classes = given["classes"]
    row = classes.query("experiment == 'one' and metric == 'log_loss' and `class` == 'subdural'").iloc[0]
    prior = classes.query("experiment == 'one' and metric == 'prior_log_loss' and `class` == 'subdural'").iloc[0]
    [shown] = [each for each in Page(page).tables["Log loss"] if each[0]["text"] == "subdural"]
    assert shown[1]["text"] == str(row["positive"])
    assert shown[2]["text"] == f"{row['value']:.3f} ({row['lower']:.3f} to {row['upper']:.3f})"
    assert shown[4]["text"] == f"{prior['value']:.3f} ({prior['lower']:.3f} to {prior['upper']:.3f})"


def test_the_papers_numbers_stand_beside_with_their_notes(page):
    tables = Page(page).tables
    for title, attribute in {"ROC AUC": "roc_auc", "Log loss": "log_loss", "Accuracy": "accuracy"}.items():
        rows = {row[0]["text"]: row for row in tables[title]}
        for place, name in enumerate(CLASSES):
            found = [float(each["data-value"]) for each in rows[name][-2:]]
            assert found == [getattr(result, attribute)[place] for result in paper.RESULTS.values()]
    [accuracy] = [row for row in tables["Accuracy"] if row[0]["text"] == "any"]
    number = paper.note_number("accuracy")
    assert accuracy[-2]["text"].startswith(f"0.949{number}")
    assert "Published, RSNA 2019 test set: another data set" in page


def test_the_cohort_is_that_of_the_files(given, page):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for said in (
        "4,355 files found",  # 4,351 usable, 3 without a good header, 1 twice
        "3 left out when headers were read not DICOM: 1 truncated: 2",
        "1 left out of the manifest duplicate SOPInstanceUID: 1",
        "4,351 usable slices",
        "1 slices or labels without their counterpart no label: 1",
        "30 in series without any label, which stay in the manifest and the caches",
        "4,318 slices with labels, in 140 series of 133 patients",
        "1 without an image, found when caches were made constant image: 1",
        "2,806 train 91 series, 86 patients",
        "labels of 4,322 slices, 2 of them of slices that were left out and 5 without a slice",
    ):
        assert said in text
    rows = {row[0]["text"]: [each["text"] for each in row[1:]] for row in Page(page).tables["From files to parts"][2:]}
    for name, group in given["counts"].groupby("class"):
        ours = [f"{row['positive']} ({row['prevalence']:.1%})" for row in group.to_dict("records")]
        place = CLASSES.index(name)
        assert rows[f"slices with {name}"] == ours + [f"{shares[place]:.1%}" for shares in paper.PREVALENCE.values()]
    for title, found in given["described"].groupby("characteristic"):
        for group, cells in found.fillna({"group": ""}).groupby("group"):
            for shown, cell in zip(rows[f"{title} {group}".strip()], cells.to_dict("records"), strict=False):
                n, share, *quartiles = (
                    cell[key] for key in ("n", "share", "median", "lower_quartile", "upper_quartile")
                )
                parts = [n, 100 * share] if share == share else quartiles
                assert [float(each) for each in re.findall(r"[\d.]+", shown.replace(",", ""))] == [
                    pytest.approx(each, abs=0.05001) for each in parts
                ]


def test_training_and_environment_are_those_of_model_json(page):
    training = {row[0]["text"]: [each["text"] for each in row[1:]] for row in Page(page).tables["Training"]}
    assert training["architecture"] == ["resnet18", "resnet18"]
    assert training["initial weights"] == ["resnet18.safetensors"] * 2
    assert training["optimiser"] == ["adam, learning rate 0.0001, exponential schedule"] * 2
    assert training["epoch kept"] == ["2 of 3", "2 of 3"]
    assert training["time"] == ["1 min 15 s"] * 2
    assert training["channels"][0] == "bone (600, 2800) · subdural (80, 200) · soft tissue (40, 380)"
    environment = {row[0]["text"]: [each["text"] for each in row[1:]] for row in Page(page).tables["Environment"]}
    assert environment["torch"] == ["2.14.1"] * 2
    assert environment["code"] == ["0123456789abcdef"] * 2
    assert environment["ich"] == ["0.2.0"] * 2


def test_experiments_may_have_run_on_different_machines(given):
    models = {"one": results.facts(), "two": results.facts() | {"hardware": {"device": "a card"}}}
    environment = {row[0]["text"]: row[1:] for row in Page(render(**given | {"models": models})).tables["Environment"]}
    assert [each["text"] for each in environment["device"]] == ["a processor", "a card"]
    assert [each["text"] for each in environment["threads"]] == ["2", "–"]


def test_the_configuration_can_be_read_back(given, page):
    shown = re.search(r"<pre[^>]*>(.*?)</pre>", page, flags=re.DOTALL)[1]
    assert yaml.safe_load(html.unescape(shown)) == given["configuration"]


# ---- missing values


def test_missing_values_have_their_reasons(tmp_path):
    frame = results.cohort()
    frame.loc[frame["part"] != "train", "epidural"] = 0
    page = render(**inputs(tmp_path, ["one"], frame=frame))
    [row] = [each for each in Page(page).tables["ROC AUC"] if each[0]["text"] == "epidural"]
    assert (row[2]["text"], row[2]["data-value"]) == ("–a", "")
    assert re.search(r'<li id="roc_auc-a"><b>a</b> no positive slice</li>', page)
    assert "no value for epidural" in page


def test_classes_read_from_a_file_give_the_same_page(given, page, tmp_path):
    given["classes"].to_csv(tmp_path / "classes.csv", index=False)
    assert render(**given | {"classes": pd.read_csv(tmp_path / "classes.csv")}) == page


def test_nothing_left_out_leaves_no_box(given):
    flow = given["flow"] | {"slices of series without label": 0}
    page = render(**given | {"quarantine": given["quarantine"].iloc[:0], "flow": flow})
    assert 'class="excluded"' not in page
    assert "<b>4,351</b> files found" in page


# ---- safety


def test_text_is_escaped(page):
    assert "A &lt;caption&gt;." in page
    assert "&lt;root&gt;" in page
    assert "One &amp; only." in page


def test_hostile_names_stay_text(tmp_path):
    page = render(**inputs(tmp_path, [HOSTILE]))
    assert len(Page(page).all("script")) == 1
    assert "{{ 7 * 7 }}" in html.unescape(page)
    assert any(cell["text"].startswith(HOSTILE) for row in Page(page).tables["ROC AUC"] for cell in row)


def test_no_name_in_a_path_reaches_the_page(page):
    for secret in ("Doe^Jane", "exports", "ID_1"):
        assert secret not in page


def test_synthetic_data_is_said_on_top_and_real_data_is_not_called_so(given, page):
    assert page.index("Synthetic data.</strong>") < page.index("<nav")
    assert "ynthetic" not in render(**given | {"synthetic": False})


def test_every_item_of_the_checklists_is_answered_at_a_place_that_exists_or_said_not_to_be(page):
    sections = {each["id"] for each in Page(page).all("section")} | {"top"}
    for guideline, items, last in (("CLAIM 2024", 44, "44"), ("TRIPOD+AI", 52, "27c")):
        rows = checklist().query("guideline == @guideline")
        assert (len(rows), rows["item"].iloc[-1]) == (items, last)
        assert f"{guideline}: {(rows['place'] != '').sum()} of {items} items answered" in page
    for place in filter(None, checklist()["place"]):
        assert place[5:] in sections if place.startswith("page#") else (ROOT / place).is_file(), place
    assert page.count("<em>not answered</em>") == (checklist()["place"] == "").sum()


def test_a_case_tells_what_is_known_of_it(page):
    for text in (
        "False positive, any",
        "Probability 0.910, threshold 0.400. Labelled no haemorrhage.",
        "Slice 3 of 30",
    ):
        assert text in page
    assert "10 mm from the first. SLICE_1" in page
    assert page.count("data:image/jpeg") == 2


def test_ids_are_hashed_on_request(given, tmp_path):
    hidden = render(**given | {"cases": {"one": gallery(cases(tmp_path), hash_ids=True)}})
    assert "SLICE_1" not in hidden
    assert "10 mm from the first. a1a1a1a1a1a1" in hidden


def test_no_path_is_left_where_ids_are_hidden():
    configuration = {
        "results": "/export/St. Mary/results",
        "data": {"root": "/export/St. Mary", "labels": "labels.csv", "dicom": ["Mary.zip", "b"], "synthetic": None},
        "experiments": {"one": {"weights": "/home/jane/w.safetensors", "model": "resnet18", "epochs": 3}},
        "seeds": [0, 1],
    }
    assert without_paths(configuration) == {
        "results": "hidden",
        "data": {"root": "hidden", "labels": "hidden", "dicom": "hidden", "synthetic": None},
        "experiments": {"one": {"weights": "hidden", "model": "resnet18", "epochs": 3}},
        "seeds": [0, 1],
    }


def test_the_commit_is_named(given):
    assert "0123abcd-dirty" in render(**given | {"commit": "0123abcd-dirty"})


def test_the_version_is_named_with_a_commit_and_without(given):
    assert "Made by ich 9.8.7.</p>" in render(**given | {"version": "9.8.7"})
    assert "Made by ich 9.8.7, commit <code>0123abcd</code>" in render(
        **given | {"version": "9.8.7", "commit": "0123abcd"}
    )


def test_one_experiment_has_no_differences(given):
    text = render(**given | {"pairs": given["pairs"].iloc[:0]})
    assert 'id="differences"' not in text and 'href="#differences"' not in text


def test_the_use_is_limited(page):
    assert page.count("Research only, not for diagnosis.") >= 3
    assert "medical device" in page


def cells(page, heading):
    return [[cell["text"] for cell in row] for row in Page(page).tables[heading]]


def test_a_search_has_its_points_best_first(page):
    head, best, *others = cells(page, "Search")
    assert head[:4] == ["batch_size", "optimizer.learning_rate", "epochs", "best epoch"]
    assert head[4:] == ["ROC AUC", "loss", "time", "choice"]
    assert best == ["32", "1e-05", "3", "2", "0.900", "0.300", "1 min 03 s", "chosen"]
    assert [row[4] for row in others] == ["0.850", "0.850", "0.800"]
    assert not any(row[-1] for row in others)


def test_without_a_search_there_is_no_such_section(given):
    assert "Search" not in Page(render(**given | {"searches": {}})).tables
    assert 'id="search"' not in render(**given | {"searches": {}})


def test_resources_by_rule_and_in_all(page):
    assert cells(page, "Time and memory") == [
        ["rule", "jobs", "time of all jobs", "of the longest", "of processors", "peak memory"],
        ["train", "2", "3 h 30 min", "2 h 00 min", "20 h 15 min", "5,120 MB"],
        ["compare", "1", "1.8 s", "1.8 s", "–", "–"],  # over before it was looked at
        ["all", "3", "3 h 30 min", "2 h 00 min", "20 h 15 min", "5,120 MB"],
    ]


def test_a_spread_over_seeds_is_shown_and_explained(given, page):
    classes = given["classes"].assign(seeds=3, sd=0.0125)
    seeded = render(**given | {"classes": classes})
    assert any("; SD 0.013)" in text or "; SD 0.012)" in text for row in cells(seeded, "ROC AUC") for text in row)
    assert "standard deviation over the seeds" in seeded
    assert "SD" not in re.sub(r"<script.*|data:[^\"]*", "", page, flags=re.DOTALL)


# ---- accessibility


def test_landmarks_headings_and_labels(page):
    parsed = Page(page)
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert len(parsed.all(tag)) == 1
    assert parsed.all("html") == [{"lang": "en"}]
    assert parsed.all("a")[0] == {"class": "skip", "href": "#main"}
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 10
    assert all("scope" in each for each in parsed.all("th"))
    assert all(each.get("aria-label") or each.get("aria-labelledby") for each in parsed.all("section"))


def test_every_link_within_the_page_has_its_target(page):
    ids = Page(page).values("id")
    assert len(ids) == len(set(ids))
    targets = [each["href"][1:] for each in Page(page).all("a")]
    targets += Page(page).values("aria-labelledby")
    assert set(targets) <= set(ids)


def test_every_figure_has_a_text_a_caption_and_its_shape(page):
    figures_shown = [each for each in Page(page).all("img") if "src" in each]
    case = "False positive, any"
    assert [each["alt"] for each in figures_shown] == ["ROC of one", case, case, "History of one", "Points of one"]
    assert len(Page(page).all("figcaption")) == 5
    (roc, strip, _, history, _) = ((int(each["width"]), int(each["height"])) for each in figures_shown)
    assert roc == (403, 446)  # 5.6 by 6.2 inches, in points
    assert strip == (896, 224)
    assert history == (1425, 570)  # 9.5 by 3.8 inches, at 150 dots an inch
    assert [each.get("class") for each in Page(page).all("figure")] == [None, "wide", "wide", "wide", None]
    assert re.findall(r'data-name="([^"]+)"', page)[0] == "one_roc.svg"


def test_each_figure_names_its_file_the_code_and_the_commit(given):
    commit = "0123456789abcdef0123456789abcdef01234567-dirty"
    page = render(**given | {"commit": commit})
    footers = [re.sub("<.*?>", "", each) for each in re.findall("<small>(From .*?)</small>", page)]
    end = ", commit 0123456789ab-dirty"
    assert footers == [
        f"From evaluation/one/curves.parquet; code fedcba9876543210{end}",
        f"From models/one/history.csv; code {'0' * 16}{end}",
    ]
    of_cases = [re.sub("<.*?>", "", each) for each in re.findall(r'<p class="source">\s*(From .*?; code .*)', page)]
    assert of_cases == [f"From predictions/one/test.parquet; code a &amp; b{end}"]  # once a gallery
    assert "</code>, commit" not in render(**given)  # of a folder that is no checkout


def test_pictures_that_would_pass_the_limit_are_named_instead(given, page, monkeypatch):
    first, second = (each for _, each in given["cases"]["one"][0:1] for each in each)
    size = len(page.encode())
    monkeypatch.setattr("ich.report.page.LIMIT", size - 1)
    smaller = render(**given)
    assert len(smaller.encode()) < size
    left_out = re.findall('<p class="absent">.*<code>(.*)</code>', smaller)
    assert left_out == [str(Path(second.path).relative_to(given["results"]))]
    assert first.data in smaller
    assert len(Page(smaller).all("figcaption")) == len(Page(page).all("figcaption"))
    monkeypatch.setattr("ich.report.page.LIMIT", 0)
    assert not Page(render(**given)).all("img")[:-1]  # the viewer's own is empty


def test_a_figure_of_the_results_gets_its_title_and_caption(tmp_path):
    (tmp_path / "roc.rst").write_text("Two\nlines of `any`.\n")
    (tmp_path / "metrics.rst").write_text("One.")
    found = picture("results/evaluation/resnet18/roc.svg", tmp_path)
    assert (found.title, found.caption) == ("ROC curves of resnet18", "Two lines of any.")
    assert picture("results/comparison/metrics.svg", tmp_path).title == "Accuracy and log loss by class"
