"""Every number of the page, as the browser shows it, against the file that it comes from.

The files are read with pandas, json and yaml, and shown numbers as numbers: the page's own formatter has no part in it.
What was compared is marked in the page, and `Shown.left` finds the digits that nothing was compared with.
"""

import html
import json
import math
import re
from decimal import Decimal
from pathlib import Path

import pandas as pd
import yaml
from PIL import Image

from ich.base.classes import CLASSES
from ich.base.settings import merged
from ich.base.version import version
from ich.config.parsing import parse
from ich.config.section import canonical
from ich.evaluation import paper
from ich.report.checklist import SOURCES

VERSION = version()
ROOT = Path(__file__).parents[2]
PARTS = ("train", "validation", "test")
NONE = {"value": math.nan, "lower": math.nan, "upper": math.nan, "sd": math.nan, "reason": ""}
METRICS = {
    "ROC AUC": "roc_auc",
    "average precision": "average_precision",
    "log loss": "log_loss",
    "Brier score": "brier",
}
RATES = {name: name for name in ("sensitivity", "specificity", "accuracy")}
COUNTS = ("n", "positive", "patients")

# All of a table, in one call of the browser. A note is the text that a mark in the cell leads to.
READ = """table => {
    const plain = (element, without) => {
        const copy = element.cloneNode(true);
        copy.querySelectorAll(without).forEach(each => each.remove());
        return copy.textContent.replace(/\\s+/g, " ").trim();
    };
    const note = link => {
        const line = document.getElementById(link.getAttribute("href").slice(1));
        if (line.querySelector("b").textContent !== link.textContent) throw new Error("mark " + link.textContent);
        line.dataset.compared = "";
        return plain(line, "b");
    };
    const cell = each => ({
        text: plain(each, "sup"),
        notes: [...each.querySelectorAll("sup a")].map(note),
        sort: each.dataset.value,
        few: each.classList.contains("few"),
    });
    const rows = part => [...part.rows].map(row => [...row.cells].map(cell));
    const heads = table.tHead.rows[table.tHead.rows.length - 1];
    for (const part of [heads, ...table.tBodies]) part.dataset.compared = "";
    return { head: [...heads.cells].map(cell), rows: rows(table.tBodies[0]) };
}"""

LEFT = """names => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const left = [];
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.replace(/\\s+/g, " ").trim();
        const bare = names.reduce((rest, name) => rest.replaceAll(name, ""), text);
        if (/\\d/.test(bare) && !walker.currentNode.parentElement.closest("script, style, [data-compared]"))
            left.push(text);
    }
    return left;
}"""


class Shown:
    """The page of a run in the browser, all its details open.

    Parameters
    ----------
    page : playwright Page
    project : Project
    """

    def __init__(self, page, project):
        self.page, self.results = page, project.folder / project.config["results"]
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        base = yaml.safe_load((project.folder / "config.yaml").read_text())
        self.configuration = canonical(parse(merged(base, project.config)))
        self.experiments = list(self.configuration["experiments"])

    def csv(self, name):
        """Read a table of the results."""
        return pd.read_csv(self.results / name)

    def json(self, name):
        """Read a file of the results."""
        return json.loads((self.results / name).read_text())

    def section(self, name):
        """Find a section."""
        return self.page.locator(f"section#{name}")

    def table(self, locator):
        """Give the heads and the rows of a table, and mark them as compared."""
        found = locator.evaluate(READ)
        return [cell["text"] for cell in found["head"]], found["rows"]

    def text(self, locator):
        """Give a text, and mark it as compared."""
        return " ".join(locator.evaluate("each => { each.dataset.compared = ''; return each.textContent }").split())

    def left(self):
        """Give what nothing was compared with: tables, captions, and texts with digits that the template has not."""
        whole = "table:not(:has(tbody[data-compared])), figcaption:not([data-compared]), .verdict:not([data-compared])"
        source = " ".join((ROOT / "ich/report/page.html").read_text().split())
        fixed = {text.strip() for text in re.findall(r">([^<>{}]+)<", source)}
        names = sorted({*self.experiments, *self.csv("comparison/classes.csv")["experiment"]}, key=len, reverse=True)
        left = [text for text in self.page.evaluate(LEFT, names) if text not in fixed]
        return [*self.page.locator(whole).all_text_contents(), *left]


# ---- numbers


def number(shown, decimals):
    """Give the number that a text of so many decimals shows, and half a unit of the last of them."""
    digits = shown.replace(",", "").removesuffix("%")
    assert len(digits.partition(".")[2]) == decimals, f"{shown!r} has not {decimals} decimals"
    return Decimal(digits), Decimal(5).scaleb(-decimals - 1)


def check_number(shown, value, decimals=3):
    """Compare a shown number with a value: a dash for none, a percentage for a share, a bound for what is less."""
    if math.isnan(value):
        assert shown == "–"
    elif math.isinf(value):
        assert shown == ("∞" if value > 0 else "-∞")
    elif shown.startswith("<"):
        assert 0 <= value < float(shown[1:])
    else:
        found, half = number(shown, decimals)
        exact = Decimal(repr(float(value))) * (100 if shown.endswith("%") else 1)
        assert abs(found - exact) <= half, f"{shown} stands for {value}"


def check_measured(shown, row, decimals=3):
    """Compare `value (lower to upper; SD sd)`, of which only those stand there that the row has."""
    found = re.fullmatch(r"([^ ]+)(?: \((?:([^ ]+) to ([^ ;]+))?(?:; )?(?:SD ([^ ]+))?\))?", shown)
    assert found, shown
    for text, name in zip(found.groups(), ("value", "lower", "upper", "sd"), strict=True):
        value = row.get(name, math.nan)
        if name == "value" or text is not None:
            check_number(text, value, decimals)
        else:
            assert math.isnan(value), f"{shown!r} has no {name}, which is {value}"


def check_cell(cell, row, decimals=3):
    """Compare a cell that can be sorted: what it shows, what it is sorted by, and why it is empty."""
    check_measured(cell["text"], row, decimals)
    assert cell["text"].startswith("<") == (row.get("test") is True and row["value"] < 0.001)
    if math.isnan(row["value"]):
        assert cell["sort"] == ""
    else:
        assert float(cell["sort"]) == row["value"]
    assert cell["notes"] == [row["reason"]] * (isinstance(row["reason"], str) and row["reason"] != "")


def seconds(shown):
    """Give the seconds that a duration shows, and half a unit of its last part."""
    hours, minutes, rest = re.fullmatch(r"(?:(\d+) h )?(?:(\d+) min ?)?(?:([\d.]+) s)?", shown).groups()
    half = 30 if rest is None else 0.05 if "." in rest else 0.5
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0), half


def check_duration(shown, value):
    """Compare a duration with seconds."""
    if math.isnan(value):
        assert shown == "–"
    else:
        found, half = seconds(shown)
        assert abs(found - value) <= half + 1e-9, f"{shown} stands for {value} s"


def check_whole(shown, value):
    """Compare a count."""
    check_number(shown, value, decimals=0)


# ---- tables of long files


def check_long(shown, locator, frame, names, measures, whole=()):
    """Compare a table with the rows of a long file, each once.

    Parameters
    ----------
    shown : Shown
    locator : playwright Locator
    frame : DataFrame
        The columns `names`, measure, value, and perhaps lower, upper, reason, few, and test (of p values).
    names : list of str
        What names a row.
    measures : dict of str to str
        Measure by the head of its column; those that the file lacks have no column. A second column of the same head
        belongs to the one before it, and has its head with it: `("ROC AUC", "p")`.
    whole : collection of str
        Measures that are counts.
    """
    heads, rows = shown.table(locator)
    present = {head: measure for head, measure in measures.items() if measure in set(frame["measure"])}
    assert heads == [*(name.replace("_", " ") for name in names), *(head.rpartition("|")[2] for head in present)]
    wanted = frame[frame["measure"].isin(present.values())]
    by_key = {(*map(str, key), measure): None for *key, measure in wanted[[*names, "measure"]].to_numpy()}
    assert len(by_key) == len(wanted)
    written = dict(zip(by_key, wanted.to_dict("records"), strict=True))
    for row in rows:
        key = [cell["text"] for cell in row[: len(names)]]
        for cell, measure in zip(row[len(names) :], present.values(), strict=True):
            found = written.pop((*key, measure), None)
            if found is None:
                assert cell["text"] == ""
            else:
                check_cell(cell, NONE | found, decimals=0 if measure in whole else 3)
                assert cell["few"] == (found.get("few") is True)
    assert not written


def told(frame):
    """Give the names of rows as the page tells them."""
    frame = frame.assign(**{"class": frame["class"].replace("kaggle", "any counted twice")})
    return frame.assign(rule=frame["rule"].str.replace("_95", " 0.95")) if "rule" in frame else frame


def on_test(frame, unit):
    """Give the rows of a unit of the test part."""
    return frame[(frame["part"] == "test") & (frame["unit"] == unit)]


# ---- a function for each section


def comparison(shown):
    section = shown.section("comparison")
    table = section.locator("table")
    heads, rows = shown.table(table)
    written = pd.read_csv(shown.results / "comparison/table.csv", keep_default_na=False)
    assert [row[0]["text"] for row in rows] == list(written["quantity"].unique())
    for (name, *cells), (quantity, frame) in zip(rows, written.groupby("quantity", sort=False), strict=True):
        assert name["text"] == quantity
        records = frame.to_dict("records")
        for head, cell, row in zip(heads[1:], cells, records, strict=True):
            many = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
            assert head == row["column"].removesuffix(" (paper)") + many
            notes = [paper.NOTES[key] for key in row["notes"].split()]
            assert (cell["text"], cell["notes"]) == (row["text"], notes + [row["reason"]] * (row["reason"] != ""))
            values = {key: float(row[key] or "nan") for key in ("value", "lower", "upper", "sd")}
            check_quantity(quantity, cell["text"], values)
    for title in table.locator("thead tr:first-child th").all():
        assert shown.text(title).startswith(("Test part of this run", f"Published, {paper.DATA}"))
    notes = section.locator("h3 + ul.notes > li")
    expected = [f"{place} {note}" for place, note in enumerate(paper.NOTES.values(), start=1)]
    assert [shown.text(note) for note in notes.all()] == expected
    assert shown.text(section.locator(".citation")) == paper.CITATION

    test = shown.json("data/flow.json")["test"]
    caption = shown.text(table.locator("caption"))
    assert re.search(r"test part .*: ([\d,]+ slices of [\d,]+ patients)", caption)[1] == (
        f"{test['slices']:,} slices of {test['patients']:,} patients"
    )
    assert re.findall(r"(\d+)%", caption) == [f"{100 * shown.configuration['evaluation']['confidence']:.0f}"]
    assert len(re.findall(r"\d+", caption.replace(paper.DATA, ""))) == 3
    verdict(shown, section.locator(".verdict"))


def check_quantity(quantity, text, values):
    """Compare the text of a cell of the comparison with the values beside it in the file."""
    match quantity:
        case "Best subtype (ROC AUC)" | "Worst subtype (ROC AUC)":
            check_number(text.split()[-1], values["value"])
        case "Epoch kept, of epochs":
            kept = text.partition(" of ")[0]
            if kept == "–":
                assert math.isnan(values["value"])
            else:
                assert sum(map(int, kept.split(", "))) / len(kept.split(", ")) == values["value"]
        case "Training time":
            found = re.fullmatch(r"([^(]+?)(?: \(SD (.+)\))?", text)
            check_duration(found[1], values["value"])
            check_duration(found[2] or "–", values["sd"])
        case "Parameters":
            check_number(text.removesuffix(" million"), values["value"] / 1e6, decimals=1 if text != "–" else 0)
        case "Trained on":
            assert math.isnan(values["value"])
        case _:
            check_measured(text, values)


def verdict(shown, locator):
    """Compare the verdict with its file, and its numbers with the metrics."""
    text = shown.text(locator)
    assert text == " ".join((shown.results / "comparison/verdict.txt").read_text().split())
    classes = shown.csv("comparison/classes.csv")
    mean = classes[classes["class"] == "mean"].set_index(["metric", "experiment"])
    losses = mean.loc["log_loss"].sort_values("value")
    [slices] = set(classes["n"])
    check_whole(re.match(r"On ([\d,]+) test slices", text)[1], slices)
    assert re.match(r"On [\d,]+ test slices ([^ ]+) has", text)[1] == losses.index[0]
    best, *others = losses.drop(columns="sd").to_dict("records")
    spelt = r"log loss(?: of|,) (\S+ \([^)]+\))"
    check_measured(re.search(spelt, text)[1], best)
    if others:
        gap, second, name = re.search(r"is (\S+) below the (\S+ \([^)]+\)) of ([^ ;]+);", text).groups()
        check_number(gap, others[0]["value"] - best["value"])
        check_measured(second, others[0])
        assert name == losses.index[1]
    check_number(re.search(r"the (\S+) that forecasting", text)[1], mean.loc["prior_log_loss", "value"].iloc[0])
    bare = re.sub("|".join(map(re.escape, losses.index)), "", text)
    assert len(re.findall(r"\d[\d.,]*", bare)) == (9 if others else 5)  # and there is no other number


def classes(shown):
    section = shown.section("classes")
    written = shown.csv("comparison/classes.csv")
    rows = {(row["metric"], row["class"], row["experiment"]): row for row in written.to_dict("records")}
    experiments = list(written["experiment"].unique())
    titles = {
        "ROC AUC": "roc_auc", "Average precision": "average_precision", "Brier score": "brier",
        "PR AUC (trapezoid)": "pr_auc_trapezoid", "Log loss": "log_loss", "Accuracy": "accuracy",
        "Threshold": "threshold",
    }  # fmt: skip
    baselines = {"log_loss": "prior_log_loss", "accuracy": "always_negative_accuracy"}
    assert {*written["metric"]} == {*titles.values(), *baselines.values()}
    tables = section.locator(".score")
    assert tables.locator("h3").all_text_contents() == list(titles)
    for score, (title, metric) in zip(tables.all(), titles.items(), strict=True):
        assert score.locator("h3").text_content() == title
        heads, body = shown.table(score.locator("table"))
        sources = [(metric, name) for name in experiments]
        sources += [(baseline, experiments[0]) for each, baseline in baselines.items() if each == metric]
        printed = list(paper.RESULTS) if hasattr(paper.RESULTS["ResNet18"], metric) else []
        assert heads == ["class", "positive", *experiments, *["no model"] * (metric in baselines), *printed]
        groups = [group for each, group, name in rows if (each, name) == (metric, experiments[0])]
        for (name, positive, *cells), group in zip(body, groups, strict=True):
            assert name["text"] == ("any counted twice" if group == "kaggle" else group)
            count = rows[metric, group, experiments[0]]["positive"]
            check_whole(positive["text"] or "–", count)
            for cell, (each, experiment) in zip(cells, sources, strict=False):
                check_cell(cell, rows[each, group, experiment])
            for cell, model in zip(cells[len(sources) :], printed, strict=True):
                value, notes = paper.published(model, metric, group)
                check_measured(cell["text"], {"value": value})
                assert cell["notes"] == [paper.NOTES[key] for key in notes.split()]
        for head in score.locator("thead tr:first-child th:nth-child(3)").all() if printed else []:
            assert shown.text(head).startswith(f"Published, {paper.DATA}")
        if title == "ROC AUC":
            assert shown.text(score.locator("caption")) == "Higher is better; chance is 0.5."
    [slices] = set(written["n"])
    text = shown.text(section.locator("h2 + p"))
    assert f"On the {slices:,} slices of the test part" in text and f"with {confidence(shown)} intervals" in text
    assert ("SD" in text) == bool((written["seeds"] > 1).any())
    assert len(re.findall(r"\d+", text)) == 2


def confidence(shown):
    return f"{Decimal(str(shown.configuration['evaluation']['confidence'])) * 100:f}".removesuffix(".00") + "%"


def scans(shown):
    section = shown.section("scans")
    frames = [shown.csv(f"evaluation/{name}/metrics.csv").assign(experiment=name) for name in shown.experiments]
    frame = told(on_test(pd.concat(frames), "scan")).rename(columns={"metric": "measure"})
    assert {*frame["class"]} == {*CLASSES, "mean", "any counted twice"}
    check_long(shown, section.locator("table"), frame, ["class", "experiment"], METRICS)
    text = shown.text(section.locator("h2 + p"))
    assert f"by the rule {shown.configuration['evaluation']['scan']}. With {confidence(shown)} intervals" in text
    assert len(re.findall(r"\d+", text.replace("top3_mean", ""))) == 1


def differences(shown):
    section = shown.section("differences")
    written = told(shown.csv("comparison/pairs.csv"))
    assert section.count() == (len(written) > 0)
    if written.empty:
        return
    corrected = written["class"].isin(CLASSES)
    assert (written.loc[corrected, "p_holm"].isna() == written.loc[corrected, "p"].isna()).all()
    written["p"] = written["p_holm"].where(corrected, written["p"])
    alone = ~corrected & written["p"].notna()
    written["p_reason"] = written["p_reason"].mask(alone, "not corrected: a test of its own")
    pairs = written.groupby(["first", "second"], sort=False)
    for detail, ((first, second), frame) in zip(section.locator("details").all(), pairs, strict=True):
        assert shown.text(detail.locator("summary")) == f"{first} less {second}"
        frame = frame.assign(measure=frame["metric"] + frame["method"].map({"delong": " delong"}).fillna(""))
        tests = frame.assign(measure=frame["measure"] + " p", value=frame["p"], lower=math.nan, upper=math.nan)
        both = pd.concat([frame, tests.assign(reason=frame["p_reason"], test=True)])
        called = both["method"] == "mcnemar"
        tables = detail.locator("table").all()
        for table, unit in zip(tables, ("slice", "scan"), strict=False):
            measures = with_p(METRICS | {"ROC AUC (DeLong)": "roc_auc delong"})
            check_long(shown, table, both[~called & (both["unit"] == unit)], ["class"], measures)
        check_long(shown, tables[2], both[called], ["class", "rule"], with_p(RATES))
        assert len(tables) == 3
    assert f"with {confidence(shown)} intervals" in shown.text(section.locator("h2 + p"))


def with_p(measures):
    """Put a column of p values behind each column of differences."""
    return {
        key: name for head, each in measures.items() for key, name in ((head, each), (f"{head}|p (Holm)", f"{each} p"))
    }


def cohort(shown):
    section = shown.section("cohort")
    flow = shown.json("data/flow.json")
    quarantine = shown.csv("data/quarantine.csv")
    assert {*quarantine["stage"]} <= {"headers", "slices", "cohort", "cache"}
    boxes = {
        "headers": "left out when headers were read",
        "slices": "left out of the manifest",
        "cohort": "slices or labels without their counterpart",
        "cache": "without an image, found when caches were made",
    }
    left_out = {}
    for stage, title in boxes.items():
        reasons = quarantine.loc[quarantine["stage"] == stage, "reason"].tolist()
        counts = [f"{reason}: {reasons.count(reason):,}" for reason in sorted({*reasons})]
        left_out[stage] = [" ".join([f"{len(reasons):,} {title}", *counts])] if reasons else []
    unlabelled = flow["slices of series without label"]
    whole, parts = flow["cohort"], [(part, flow[part]) for part in PARTS]
    lines = [
        f"{len(pd.read_parquet(shown.results / 'data/inventory.parquet')):,} files found",
        *left_out["headers"],
        *left_out["slices"],
        f"{len(pd.read_parquet(shown.results / 'data/slices.parquet')):,} usable slices",
        *left_out["cohort"],
        *[f"{unlabelled:,} in series without any label, which stay in the manifest and the caches"] * (unlabelled > 0),
        f"{whole['slices']:,} slices with labels, in {whole['series']:,} series of {whole['patients']:,} patients",
        *left_out["cache"],
        " ".join(
            f"{sizes['slices']:,} {part} {sizes['series']:,} series, {sizes['patients']:,} patients"
            for part, sizes in parts
        ),
    ]
    # Its boxes stand apart by their style alone: their texts need a space.
    section.locator(".flow").evaluate("each => each.querySelectorAll('*').forEach(box => box.append(' '))")
    assert [shown.text(line) for line in section.locator(".flow > li").all()] == lines
    text = shown.text(section.locator("ol + p"))
    assert text.startswith(
        f"The label file has labels of {flow['labels']:,} slices, {flow['labels of slices in quarantine']:,} "
        f"of them of slices that were left out and {flow['labels without slice']:,} without a slice. No patient"
    )
    assert len(re.findall(r"\d[\d,]*", text)) == 3

    heads, rows = shown.table(section.locator("table"))
    assert heads == ["", *PARTS, *PARTS]
    counts = shown.csv("data/cohort.csv").set_index(["class", "part"])
    described = shown.csv("data/characteristics.csv").fillna({"group": ""})
    lines = (described["characteristic"] + " " + described["group"]).str.strip()
    assert [row[0]["text"] for row in rows] == [
        "patients", "series", "slices", *(f"slices with {name}" for name in CLASSES), *lines.unique()
    ]  # fmt: skip
    for (_, *cells), group in zip(rows[3 : 3 + len(CLASSES)], CLASSES, strict=True):
        texts = [cell["text"] for cell in cells]
        for text, shared, part in zip(texts[:3], texts[3:], PARTS, strict=True):
            row = counts.loc[group, part]
            check_share(text, row["positive"], row["positive"] / flow[part]["slices"])
            check_number(shared, paper.PREVALENCE[part][CLASSES.index(group)], decimals=1)
    for name, *cells in [*rows[:3], *rows[3 + len(CLASSES) :]]:
        texts = [cell["text"] for cell in cells]
        assert texts[3:] == ["", "", ""]
        for text, (part, sizes) in zip(texts[:3], parts, strict=True):
            if name["text"] in sizes:
                check_whole(text, sizes[name["text"]])
                continue
            [row] = described[(lines == name["text"]) & (described["part"] == part)].to_dict("records")
            if math.isnan(row["share"]):
                names = {"value": "median", "lower": "lower_quartile", "upper": "upper_quartile"}
                check_measured(text, {key: row[column] for key, column in names.items()}, decimals=1)
            else:
                check_share(text, row["n"], row["share"])


def check_share(shown, count, share):
    """Compare `count (share %)`."""
    whole, percent = re.fullmatch(r"(\S+) \((\S+%)\)", shown).groups()
    check_whole(whole, count)
    check_number(percent, share, decimals=1)


def of_each_experiment(shown, section, title):
    """Give each experiment and the tables of its details, of slices and of scans."""
    for detail, name in zip(section.locator("details").all(), shown.experiments, strict=True):
        assert detail.locator("summary").text_content() == f"{title} of {name}"
        tables = detail.locator("table").all()
        assert len(tables) == 2
        yield from ((name, unit, table) for unit, table in zip(("slice", "scan"), tables, strict=True))


def operating_points(shown):
    section = shown.section("operating-points")
    counts = {
        name.replace("_", " "): name for name in ("true_positive", "false_positive", "false_negative", "true_negative")
    }
    measures = {
        "threshold": "threshold", "sensitivity": "sensitivity", "specificity": "specificity", "PPV": "ppv",
        "NPV": "npv", "PPV, stated prevalence": "ppv_stated", "NPV, stated prevalence": "npv_stated", **counts,
    }  # fmt: skip
    for name, unit, table in of_each_experiment(shown, section, "Operating points"):
        frame = told(on_test(shown.csv(f"evaluation/{name}/operating_points.csv"), unit))
        assert {*frame["measure"]} == {*measures.values()} - {"threshold"}
        still = (frame["lower"] == frame["upper"]) & frame["wilson_lower"].notna()
        frame.loc[still, ["lower", "upper"]] = frame.loc[still, ["wilson_lower", "wilson_upper"]].to_numpy()
        frame.loc[still, "reason"] = "Wilson's interval, since no replicate of the bootstrap varies"
        cuts = frame[["class", "rule", "threshold"]].drop_duplicates().rename(columns={"threshold": "value"})
        both = pd.concat([cuts.assign(measure="threshold"), frame])
        check_long(shown, table, both, ["class", "rule"], measures, whole=counts.values())
    text = shown.text(section.locator("h2 + p"))
    stated = re.search(r"at a stated one \(([\d.]+)\)\.", text)[1]
    assert float(stated) == shown.configuration["evaluation"]["prevalence"]
    assert re.findall(r"[\d.]*\d", text) == ["0.95", stated]


def calibration(shown):
    measures = {
        "Brier score": "brier", "log loss": "log_loss", "calibration error": "ece", "slope": "slope",
        "intercept": "intercept", "temperature": "temperature",
    }  # fmt: skip
    for name, unit, table in of_each_experiment(shown, shown.section("calibration"), "Calibration"):
        frame = on_test(shown.csv(f"evaluation/{name}/calibration.csv"), unit).rename(columns={"method": "scaling"})
        assert {*frame["measure"]} <= {*measures.values()}
        check_long(shown, table, frame, ["class", "scaling"], measures)


def subgroups(shown):
    measures = {name: name for name in COUNTS} | METRICS | RATES
    keys = ["subgroup", "group", "class"]
    for name, unit, table in of_each_experiment(shown, shown.section("subgroups"), "Subgroups"):
        frame = on_test(shown.csv(f"evaluation/{name}/subgroups.csv"), unit).rename(columns={"metric": "measure"})
        assert {*frame["measure"]} <= {*measures.values()}
        counts = frame[[*keys, *COUNTS]].drop_duplicates()
        counts = counts.melt(keys, var_name="measure").assign(few=False)
        check_long(shown, table, pd.concat([counts, frame]), keys, measures, whole=COUNTS)


def cases(shown):
    section = shown.section("cases")
    for detail, name in zip(section.locator("details").all(), shown.experiments, strict=True):
        written = shown.csv(f"evaluation/{name}/cases/cases.csv")
        captions = [shown.text(each) for each in detail.locator("figcaption").all()]
        buttons = detail.locator(".save").all()
        assert [each.get_attribute("data-name") for each in buttons] == [f"cases_{each}" for each in written["picture"]]
        for caption, row in zip(captions, written.to_dict("records"), strict=True):
            found = re.fullmatch(
                r"(.+), (\w+)\. Probability (\S+), threshold (\S+)\. Labelled (.+)\. "
                r"Slice (\d+) of (\d+), (\S+) mm from the first\. (\S+)",
                caption,
            ).groups()
            kind, group, probability, threshold, labels, place, of, millimetres, image_id = found
            assert (kind.lower(), group) == (row["kind"], row["class"])
            check_number(probability, row["probability"])
            check_number(threshold, row["threshold"])
            assert labels.split(", ") == ([each for each in CLASSES[:-1] if row[each]] or ["no haemorrhage"])
            assert (int(place), int(of), float(millimetres)) == (row["number"], row["of"], row["millimetres"])
            assert image_id == row["image_id"]
            path = shown.results / f"evaluation/{name}/cases" / row["picture"]
            assert shown.text(detail.locator(".source")) == drawn_from(shown, path)
        windows = shown.text(detail.locator("summary + p"))
        assert windows == f"Left to right: {channels(shown.json(f'models/{name}/model.json'))}; class activation map."


def figures(shown):
    """Captions of all figures but the cases: the text that the workflow has for them, and what they were drawn from."""
    for figure in shown.page.locator("figure:not(.cases figure)").all():
        name = figure.locator(".save").get_attribute("data-name")
        caption = shown.text(figure.locator("figcaption"))
        title = figure.locator("img").get_attribute("alt")
        [path] = [
            path for path in shown.results.rglob(f"*{Path(name).suffix}") if f"{path.parent.name}_{path.name}" == name
        ]
        text = (ROOT / f"workflow/report/{path.stem}.rst").read_text()
        assert caption == f"{title}. {' '.join(text.split())} {drawn_from(shown, path)}"


def drawn_from(shown, path):
    """Say which file and code a picture says that it was drawn from, as a caption does."""
    if path.suffix == ".svg":
        said = html.unescape(re.search(r"<dc:description>(.*?)</dc:description>", path.read_text())[1])
    else:
        with Image.open(path) as image:
            said = image.info.get("Description") or image.info["comment"].decode()
    source, code = re.fullmatch("From (.+), drawn by code ([0-9a-f]{16})", said).groups()
    source = (path.parent / source).resolve()
    assert source.exists()
    return f"From {source.relative_to(shown.results)}; code {code}"


def facts_of_each(shown, section):
    """Give the rows of a table with a column an experiment, and model.json of each."""
    heads, rows = shown.table(section.locator("table"))
    assert heads == ["", *shown.experiments]
    models = [shown.json(f"models/{name}/model.json") for name in shown.experiments]
    return {name["text"]: [cell["text"] for cell in cells] for name, *cells in rows}, models


def training(shown):
    rows, models = facts_of_each(shown, shown.section("training"))
    patients = shown.json("data/flow.json")
    for place, model in enumerate(models):
        cells = {name: texts[place] for name, texts in rows.items()}
        settings = model["configuration"]
        schedule, augmentation = settings["schedule"]["name"], settings["augmentation"]
        check_whole(cells.pop("parameters"), model["parameters"])
        check_duration(cells.pop("time"), model["seconds"])
        for name, part in (("trained on", "train"), ("validated on", "validation")):
            slices, people = re.fullmatch(r"(\S+) slices of (\S+) patients", cells.pop(name)).groups()
            check_whole(slices, model["slices"][part])
            check_whole(people, model["patients"][part])
            assert model["patients"][part] == patients[part]["patients"]
        rate = re.search(r"learning rate (\S+),", cells["optimiser"])[1]
        assert float(rate) == settings["optimizer"]["learning_rate"]
        assert cells == {
            "architecture": model["model"],
            "initial weights": Path(settings["weights"]).name if settings["weights"] else "random",
            "input": f"{model['size']} × {model['size']} pixels",
            "channels": channels(model),
            "batch size": f"{settings['batch_size']} slices",
            "optimiser": f"{settings['optimizer']['name']}, learning rate {rate}, {schedule} schedule",
            "augmentation": (
                f"flips {100 * augmentation['horizontal_flip']:.0f}% left to right, "
                f"{100 * augmentation['vertical_flip']:.0f}% top to bottom; "
                f"rotation up to {augmentation['rotation']:g}°"
            ),
            "epoch kept": f"{model['best_epoch']} of {len(model['seconds_per_epoch'])}",
            "seed": str(settings["seed"]),
        }


def channels(model):
    """Tell the windows of a model."""
    return " · ".join(
        f"{each['name'].replace('_', ' ')} ({each['level']:g}, {each['width']:g})" for each in model["windows"]
    )


def environment(shown):
    rows, models = facts_of_each(shown, shown.section("environment"))
    for place, model in enumerate(models):
        said = model["hardware"] | model["versions"] | {"ich": model["version"], "code": model["code"]}
        assert {name: texts[place] for name, texts in rows.items() if texts[place] != "–"} == {
            name: str(value) for name, value in said.items()
        }


def search(shown):
    names = [path.name for path in sorted(shown.results.glob("search/*")) if path.is_dir()]
    tables = shown.page.locator("section#search table").all()
    for table, name in zip(tables, names, strict=True):
        assert table.locator("caption").text_content().strip() == f"Points of {name}."
        written = shown.csv(f"search/{name}/points.csv")
        keys = list(written.columns[1 : list(written.columns).index("epochs")])
        heads, rows = shown.table(table)
        assert heads == [*keys, "epochs", "best epoch", "ROC AUC", "loss", "time", "choice"]
        written = written.sort_values(["chosen", "validation_roc_auc"], ascending=False)
        for cells, row in zip(rows, written.to_dict("records"), strict=True):
            *values, epochs, best, auc, loss, time, choice = (cell["text"] for cell in cells)
            assert [float(value) for value in values] == [row[key] for key in keys]
            assert (int(epochs), int(best)) == (row["epochs"], row["best_epoch"])
            check_number(auc, row["validation_roc_auc"])
            check_number(loss, row["validation_loss"])
            check_duration(time, row["seconds"])
            assert choice == ("chosen" if row["chosen"] else "")


def resources(shown):
    heads, rows = shown.table(shown.section("resources").locator("table"))
    assert heads == ["rule", "jobs", "time of all jobs", "of the longest", "of processors", "peak memory"]
    written = shown.csv("report/resources.csv")
    total = written[["jobs", "hours", "cpu_hours"]].sum() if len(written) > 1 else None
    most = written[["longest_seconds", "peak_memory_mb"]].max()
    expected = [*written.to_dict("records"), {"rule": "all", **total, **most}]
    for cells, row in zip(rows, expected, strict=True):
        rule, jobs, hours, longest, processors, memory = (cell["text"] for cell in cells)
        assert rule == row["rule"]
        check_whole(jobs, row["jobs"])
        check_duration(hours, row["hours"] * 3600)
        check_duration(longest, row["longest_seconds"])
        check_duration(processors, row["cpu_hours"] * 3600)
        check_whole(memory.removesuffix(" MB"), row["peak_memory_mb"])


def configuration(shown):
    assert (
        yaml.safe_load(
            shown.section("configuration")
            .locator("pre")
            .evaluate("each => { each.dataset.compared = ''; return each.textContent }")
        )
        == shown.configuration
    )


def checklists(shown):
    items = pd.read_csv(ROOT / "ich/report/checklist.csv", dtype=str, keep_default_na=False).groupby(
        "guideline", sort=False
    )
    details = shown.section("checklists").locator("details").all()
    for detail, (guideline, written) in zip(details, items, strict=True):
        answered = (written["place"] != "").sum()
        summary = f"{guideline}: {answered} of {len(written)} items answered"
        assert shown.text(detail.locator("summary")) == summary
        assert shown.text(detail.locator("caption")) == SOURCES[guideline]
        heads, rows = shown.table(detail.locator("table"))
        assert heads == ["item", "topic", "place", "answer"]
        for cells, row in zip(rows, written.to_dict("records"), strict=True):
            item, topic, place, answer = (cell["text"] for cell in cells)
            assert (item, topic, answer) == (row["item"], row["topic"], row["answer"])
            if not row["place"].startswith("page#"):
                assert place == (row["place"] or "not answered")


def around(shown):
    """What stands above and below the sections."""
    several = len(shown.experiments) > 1
    models = f"{len(shown.experiments)} deep convolutional network{'s compared' if several else ''} on patients"
    assert shown.text(shown.page.locator("#top p")).startswith(models)
    assert shown.text(shown.page.locator("body > footer p").first).endswith(paper.CITATION)
    assert shown.text(shown.page.locator("#version")) == f"Made by ich {VERSION}."


SECTIONS = (
    around, comparison, classes, scans, differences, cohort, operating_points, calibration, subgroups, cases, figures,
    training, search, environment, resources, configuration, checklists,
)  # fmt: skip


def check(page, project):
    """Compare every number of the page of a run, opened in the browser, with the file that it comes from."""
    shown = Shown(page, project)
    for compare in SECTIONS:
        compare(shown)
    assert shown.left() == []
