"""A copy of the repository in which the whole workflow has run once, on tiny synthetic data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from ich.base.settings import merged

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM and "CI" not in os.environ, reason="needs Chromium: `apt-get install chromium`, or the like"
)

TINY = {
    "results": "results",
    "shards": 2,
    "data": {
        "root": "data/tiny",
        "synthetic": {"patients": 12, "slices": [5, 7], "size": 64, "prevalence": 0.8, "seed": 3},
    },
    "split": {"fractions": {"train": 0.4, "validation": 0.3, "test": 0.3}},
    "caches": {"paper": {"size": 32}, "code": {"size": 32}},
    "training": {"weights": "none", "epochs": 1, "batch_size": 8, "optimizer": {"learning_rate": 1.0e-3}},
    "experiments": {"densenet121": {"epochs": 1}},
    "evaluation": {"replicates": 20},
}


class Project:
    """A copy of the repository's files, and the runs of the workflow in it."""

    def __init__(self, folder: Path, config: dict):
        self.folder = folder
        self.config = config
        files = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        for name in filter(None, files):
            source, target = ROOT / name, folder / name
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)

    def run(self, *arguments: str, over: dict | None = None, check: bool = True) -> subprocess.CompletedProcess:
        """Run snakemake with the project's configuration and `over` laid over it."""
        overlay = self.folder / "overlay.yaml"
        overlay.write_text(yaml.safe_dump(merged(self.config, over or {}), sort_keys=False))
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", overlay.name],
            cwd=self.folder, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def plan(self, *arguments: str, over: dict | None = None) -> set[str]:
        """Name the jobs that a run would execute now, as `rule` or `rule:wildcard,wildcard`; without `all`."""
        text = self.run("--dry-run", *arguments, over=over).stdout
        jobs = set()
        for block in re.split(r"^(?=(?:local)?rule )", text, flags=re.MULTILINE)[1:]:
            rule = re.match(r"(?:local)?rule (\w+):", block).group(1)
            found = re.search(r"^    wildcards: (.*)$", block, flags=re.MULTILINE)
            values = [pair.partition("=")[2] for pair in found.group(1).split(", ")] if found else []
            jobs.add(":".join([rule, *([",".join(values)] if values else [])]))
        assert jobs or "Nothing to be done" in text, text
        return jobs - {"all"}

    def artifacts(self) -> dict[str, bytes]:
        """All that the run made, by path, logs and measured times left out."""
        folder = self.folder / self.config["results"]
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in files
            if path.relative_to(folder).parts[0] not in ("logs", "benchmarks")
        }


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose run has ended well. Tests leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("project"), TINY)
    project.run()
    return project


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    with sync_playwright() as playwright:
        # No sandbox: in containers Chromium has no right to make one, and the page is our own.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
