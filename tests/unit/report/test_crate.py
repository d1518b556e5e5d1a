"""The exported run: judged by the validator of the format, and by what must not be in it."""

import hashlib
import importlib.resources
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import requests
import requests_cache
import urllib3
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

from ich.base.errors import InputError
from ich.base.provenance import workflow_files
from ich.report.crate import write_crate

ROOT = Path(__file__).parents[3]
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """The validator's cache of web pages, with the format's vocabulary in it.

    The vocabulary is the one that the library rocrate ships, of version 1.3, with the four terms that have other
    addresses there put back to those of version 1.1.
    """
    vocabulary = json.loads(importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text("utf-8"))
    vocabulary["@context"] |= {
        "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
        "FormalParameter": "https://bioschemas.org/FormalParameter",
        "input": "https://bioschemas.org/ComputationalWorkflow#input",
        "output": "https://bioschemas.org/ComputationalWorkflow#output",
    }
    path = tmp_path_factory.mktemp("web") / "cache"
    request = requests.Request("GET", CONTEXT).prepare()
    answer = urllib3.HTTPResponse(
        io.BytesIO(json.dumps(vocabulary).encode()),
        headers={"Content-Type": "application/ld+json"},
        status=200,
        preload_content=False,
        request_url=CONTEXT,
    )
    with requests_cache.CachedSession(cache_name=str(path)) as session:
        response = requests.adapters.HTTPAdapter().build_response(request, answer)
        session.cache.save_response(response, session.cache.create_key(request))
    return path


@pytest.fixture
def run(tmp_path):
    """Arguments of a small run's crate."""
    results = tmp_path / "results"
    files = [results / name for name in ("comparison/table.csv", "models/one/weights.safetensors", "report/index.html")]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_bytes(path.name.encode())
    labels = tmp_path / "labels.csv"
    labels.write_text("ID,Label\n")
    return {
        "root": ROOT,
        "workflow_files": workflow_files(ROOT),
        "results": results,
        "result_files": files,
        "configuration": {"results": "results", "shards": 2},
        "labels": labels,
        "inventory": pd.DataFrame(
            {"image_id": ["a", "b"], "location": ["secret/a.dcm", "secret/b.dcm"], "bytes": [3, 4]}
        ),
        "commit": "0" * 40,
        "period": (datetime(2026, 5, 4, 12, tzinfo=UTC), datetime(2026, 5, 4, 13, tzinfo=UTC)),
        "snakemake_version": "9.27.1",
        "synthetic": True,
    }


def metadata(path):
    with zipfile.ZipFile(path) as archive:
        return {each["@id"]: each for each in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}


def test_the_formats_validator_accepts_it(run, tmp_path, offline):
    write_crate(tmp_path / "crate.zip", **run)
    result = services.validate(
        ValidationSettings(
            rocrate_uri=str(tmp_path / "crate.zip"),
            profile_identifier="workflow-run-crate-0.5",
            requirement_severity=Severity.REQUIRED,
            offline=True,
            cache_path=offline,
        )
    )
    assert [issue.message for issue in result.get_issues()] == []
    assert result.passed()


def test_it_says_what_ran_when_on_what_and_what_came_out(run, tmp_path):
    write_crate(tmp_path / "crate.zip", **run)
    graph = metadata(tmp_path / "crate.zip")
    action = graph["#run"]
    assert action["instrument"] == {"@id": "Snakefile"}
    assert (action["startTime"], action["endTime"]) == ("2026-05-04T12:00:00+00:00", "2026-05-04T13:00:00+00:00")
    assert {each["@id"] for each in action["result"]} == {
        "results/comparison/table.csv",
        "results/models/one/weights.safetensors",
        "results/report/index.html",
    }
    assert graph["results/comparison/table.csv"]["sha256"] == hashlib.sha256(b"table.csv").hexdigest()
    assert graph["Snakefile"]["version"] == "0" * 40
    assert graph["#labels"]["value"] == "sha256 " + hashlib.sha256(b"ID,Label\n").hexdigest()
    assert graph["#slices"]["value"] == "2 files, 7 bytes, sha256 " + hashlib.sha256(b"a 3\nb 4\n").hexdigest()
    assert "synthetic" in graph["./"]["description"]


def test_it_holds_the_files_and_no_place_of_the_data(run, tmp_path):
    write_crate(tmp_path / "crate.zip", **run)
    with zipfile.ZipFile(tmp_path / "crate.zip") as archive:
        assert archive.read("results/comparison/table.csv") == b"table.csv"
        assert archive.read("Snakefile") == (ROOT / "Snakefile").read_bytes()
        assert archive.read("configuration.yaml") == b"results: results\nshards: 2\n"
        assert not any(b"secret" in archive.read(name) for name in archive.namelist() if name.startswith("ro-crate"))
    assert {path.name for path in tmp_path.iterdir()} == {"crate.zip", "labels.csv", "results"}


def test_a_missing_result_is_named_and_nothing_is_written(run, tmp_path):
    run["result_files"][0].unlink()
    with pytest.raises(InputError, match=r"table\.csv does not exist"):
        write_crate(tmp_path / "crate.zip", **run)
    assert not (tmp_path / "crate.zip").exists()
