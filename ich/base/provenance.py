"""Where results come from: the commit, the files of the workflow, and when its jobs ran."""

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

# All that a run of the workflow reads of the repository, beside data and configuration.
_WORKFLOW = (
    "Snakefile",
    "workflow",
    "ich",
    "envs",
    "profiles",
    "config.yaml",
    "requirements.lock",
    "README.md",
    "LICENSE",
)


def commit(root: str | Path) -> str | None:
    """Name the commit of a checkout, with `-dirty` behind it where files have been changed since.

    Parameters
    ----------
    root : path
        The repository's folder.

    Returns
    -------
    str or None
        40 hexadecimal digits; None where this is no git checkout (a downloaded archive) or git is not installed.
    """
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def workflow_files(root: str | Path) -> list[Path]:
    """List the files of the repository that a run depends on, sorted, as paths relative to `root`.

    Caches of the interpreter and hidden files are left out.
    """
    root = Path(root)
    found: list[Path] = []
    for name in _WORKFLOW:
        top = root / name
        found += [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
    relative = (path.relative_to(root) for path in found)
    return sorted(
        path for path in relative if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )


def period(benchmarks: Iterable[str | Path]) -> tuple[datetime, datetime]:
    """Say from when to when jobs ran.

    Parameters
    ----------
    benchmarks : paths
        Snakemake's benchmark files. Each is written when its job ends, and says in column `s` how many seconds it took.

    Returns
    -------
    tuple of datetime
        Start of the first job and end of the last one, in UTC, to the second.
    """
    ends = {path: datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in map(Path, benchmarks)}
    starts = [end - timedelta(seconds=float(pd.read_csv(path, sep="\t")["s"].sum())) for path, end in ends.items()]
    return min(starts).replace(microsecond=0), max(ends.values()).replace(microsecond=0)
