"""What the jobs took, from benchmark files as Snakemake writes them."""

import math
import re
from pathlib import Path

import pytest

from ich.report.resources import COLUMNS, resources

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(path, seconds, memory="NA", cpu="NA"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{seconds}\t0:00:01\t{memory}\tNA\tNA\tNA\tNA\tNA\tNA\t{cpu}\n")


@pytest.fixture
def table(tmp_path):
    write(tmp_path / "train/a.tsv", 3600.0, 1000.5, 7200.0)
    write(tmp_path / "train/b_seed0.tsv", 1800.0, 2000.25, 1800.0)
    write(tmp_path / "train/old.tsv", 9e9, 9e9, 9e9)
    write(tmp_path / "search/a/lr=0.1.tsv", 36.0, 10.0, 18.0)
    write(tmp_path / "search/a/lr=0.1/deeper.tsv", 9e9)
    write(tmp_path / "compare.tsv", 18.0)
    write(tmp_path / "cache/paper/0000.tsv", 9.0, 50.0, 9.0)
    write(tmp_path / "cache/paper/0001.tsv", 9.0, "-", "-")
    write(tmp_path / "cache/paper/0002.tsv", 9e9)
    patterns = {
        "train": f"{tmp_path}/train/{{experiment}}.tsv",
        "search_point": f"{tmp_path}/search/{{search}}/{{point}}.tsv",
        "compare": f"{tmp_path}/compare.tsv",
        "cache": f"{tmp_path}/cache/{{cache}}/{{shard}}.tsv",
        "never": f"{tmp_path}/never.tsv",
        "nor": f"{tmp_path}/nor/{{experiment}}.tsv",
    }
    return resources(patterns, {"experiment": ["a", "b_seed0"], "shard": ["0000", "0001"]}).set_index("rule")


def test_sums_and_largest_by_rule(table):
    assert [*table.reset_index().columns] == COLUMNS
    assert [*table.index] == ["train", "search_point", "compare", "cache"]
    assert table.loc["train"].to_list() == [2, 1.5, 3600.0, 2.5, 2000.25, 0]
    assert table.loc["search_point"].to_list() == [1, 0.01, 36.0, 0.005, 10.0, 0]


def test_jobs_that_were_over_too_soon_count_with_their_time(table):
    assert table.loc["cache"].to_list() == [2, 0.005, 9.0, 0.0025, 50.0, 1]
    compare = table.loc["compare"]
    assert (compare["jobs"], compare["hours"], compare["unmeasured"]) == (1, 0.005, 1)
    assert math.isnan(compare["cpu_hours"])
    assert math.isnan(compare["peak_memory_mb"])


def test_no_file_at_all(tmp_path):
    assert resources({"train": f"{tmp_path}/train/{{experiment}}.tsv"}, {"experiment": ["a"]}).empty


def test_every_rule_that_works_is_measured():
    for path in Path(__file__).parents[3].glob("workflow/rules/*.smk"):
        for block in re.split(r"^\s*rule (?=\w+:)", path.read_text(), flags=re.MULTILINE)[1:]:
            works = re.search(r"^\s*(script|shell|run|notebook|wrapper):", block, flags=re.MULTILINE)
            assert not works or re.search(r"^\s*benchmark:", block, flags=re.MULTILINE), block.split(":")[0]
