"""Where results come from: a real git checkout, real files."""

import os
import re
import subprocess
from datetime import UTC, datetime

import pytest

from ich.base.provenance import commit, period, workflow_files


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "file").write_text("one")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_the_commit_of_a_checkout(checkout):
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "v1")
    assert re.fullmatch("[0-9a-f]{40}", commit(checkout))


def test_a_changed_checkout_is_marked(checkout):
    (checkout / "file").write_text("two")
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path, monkeypatch):
    assert commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))  # no git either
    assert commit(tmp_path) is None


def test_workflow_files_are_listed_without_caches_and_hidden_files(tmp_path):
    kept = ["Snakefile", "config.yaml", "ich/a.py", "workflow/rules/b.smk"]
    for name in [*kept, "ich/__pycache__/a.pyc", "ich/.hidden", "results/c.csv", "data/d.dcm"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.as_posix() for path in workflow_files(tmp_path)] == kept


def test_the_period_spans_all_jobs(tmp_path):
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    for name, end, seconds in (("a", 0, 30.5), ("b", 100, 500.0), ("c", 200, 1.0)):
        path = tmp_path / f"{name}.tsv"
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
        os.utime(path, (noon.timestamp() + end,) * 2)
    start, end = period(tmp_path.glob("*.tsv"))
    assert (start - noon).total_seconds() == 100 - 500
    assert (end - noon).total_seconds() == 200
