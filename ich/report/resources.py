"""What the jobs took: hours, number and memory by rule, from the files that Snakemake's `benchmark` writes."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

COLUMNS = ["rule", "jobs", "hours", "longest_seconds", "cpu_hours", "peak_memory_mb", "unmeasured"]


def resources(patterns: Mapping[str, str], names: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """Add up what the last run of each job took.

    Parameters
    ----------
    patterns : mapping of rule to str
        Path of its benchmark files, such as `benchmarks/train/{experiment}.tsv`.
    names : mapping of wildcard to iterable of str
        What a wildcard can be. A file of another name, such as that of an experiment which the configuration no longer
        has, does not count.

    Returns
    -------
    DataFrame
        `COLUMNS`, a row a rule, in the order of `patterns`; rules without a file are left out. hours and cpu_hours are
        sums over the jobs; longest_seconds and peak_memory_mb (resident, a job and its processes, MB of 2^20 bytes) are
        of the one that took most. Snakemake looks at a job every few seconds: unmeasured counts those that it did not
        see, of which there is the time alone; cpu_hours and peak_memory_mb are of the others, NaN where there are none.
    """
    rows = []
    for rule, pattern in patterns.items():
        files = _files(pattern, names)
        if not files:
            continue
        jobs = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files], ignore_index=True)
        rows.append(
            {
                "rule": rule,
                "jobs": len(jobs),
                "hours": jobs["s"].sum() / 3600,
                "longest_seconds": jobs["s"].max(),
                "cpu_hours": jobs["cpu_time"].sum(min_count=1) / 3600,
                "peak_memory_mb": jobs["max_rss"].max(),
                "unmeasured": int(jobs["max_rss"].isna().sum()),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _files(pattern: str, names: Mapping[str, Iterable[str]]) -> list[Path]:
    """Find the files of a path with wildcards."""
    fixed, *rest = re.split(r"{(\w+)}", pattern)
    if not rest:
        return [path for path in [Path(pattern)] if path.exists()]
    expression = re.escape(fixed)
    for wildcard, text in zip(rest[::2], rest[1::2], strict=True):
        allowed = "|".join(map(re.escape, names[wildcard])) if wildcard in names else "[^/]+"
        expression += f"({allowed}){re.escape(text)}"
    folder = Path(fixed if fixed.endswith("/") else Path(fixed).parent)
    return [path for path in sorted(folder.rglob("*")) if re.fullmatch(expression, str(path))]
