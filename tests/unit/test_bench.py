"""The page of the benchmarks: its verdicts are what the project claims."""

from bench import __main__ as page
from bench.measuring import Row, rounds, table


def cells(row):
    return [cell.strip() for cell in row.markdown().strip("|").split("|")]


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians():
    row = Row("it", [1e-6, 2e-6, 8e-6], "that", [1e-6, 4e-6, 4e-6], most=1.5)
    assert cells(row) == ["it", "2.00 µs", "that: 4.00 µs", "1.00 of that", "≤ 1.5", "yes"]


def test_verdicts():
    assert cells(Row("", [3e-6], "", [2e-6], most=1.5))[3:] == ["1.50 of that", "≤ 1.5", "yes"]
    assert cells(Row("", [3.2e-6], "", [2e-6], most=1.5))[3:] == ["1.60 of that", "≤ 1.5", "no"]
    assert cells(Row("", [1e-6], "", [8e-6], least=8))[3:] == ["8.00 times as fast", "≥ 8", "yes"]
    assert cells(Row("", [1e-6], "", [7e-6], least=8))[3:] == ["7.00 times as fast", "≥ 8", "no"]
    assert cells(Row("", [1e-6], "", [150e-6]))[3:] == ["150 times as fast", "", ""]
    assert cells(Row("", [9000, 7000, 8000], least=8000, unit="a second"))[1:] == [
        "8,000 a second",
        "",
        "",
        "≥ 8,000",
        "yes",
    ]
    assert cells(Row("", [1.3], "map", [4.5], most=1.2, unit="bytes"))[1:] == [
        "1.30 bytes",
        "map: 4.50 bytes",
        "",
        "≤ 1.2",
        "no",
    ]
    assert cells(Row("it", [], "not installed")) == ["it", "not measured", "not installed", "", "", ""]


def test_every_way_runs_once_a_round_in_turn():
    order = []
    times = rounds({"a": (lambda: order.append("a"), 1), "b": (lambda: order.append("b"), 2)}, number=3)
    assert order == ["a", "b"] * 4  # a first round that is not counted
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_a_section_is_replaced_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path / "RESULTS.md")
    row = table([Row("it", [1e-6], "that", [2e-6])])
    page.write({"Data layer": f"old\n\n{row}\n", "Training on the CPU": "as it was\n"})
    first = (tmp_path / "RESULTS.md").read_text()
    page.write({"Data layer": "new\n", "Others": "more\n"})
    text = (tmp_path / "RESULTS.md").read_text()
    assert [line for line in text.splitlines() if line[:2] in ("# ", "##")] == [
        "# Results of the benchmarks",
        "## Machine",
        "## Data layer",
        "## Training on the CPU",
        "## Others",
    ]
    assert row in first
    assert "old" not in text
    assert text.count("new") == text.count("as it was") == text.count("more") == 1
    page.write({})
    assert (tmp_path / "RESULTS.md").read_text() == text
