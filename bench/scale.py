"""Ingest and cache building on as many slices as the full data set has: time and memory of each stage.

    python -m bench.scale --slices 752803 [--zip] [--cores 4] [--folder DIR]

makes a tree (or a zip file like Kaggle's) of DICOM files of 8 x 8 pixels with the header elements, series and patients
of the RSNA data, and its label file, and runs the workflow on them up to the quarantine table, which needs the cohort
and a cache of 16 x 16 pixels. It does so for 10 thousand, 100 thousand and the given number of slices and prints a
Markdown table.

Starting Python and importing libraries takes each job some seconds, whatever the number of slices. So the seconds of
the jobs (all of them, as Snakemake's benchmark has them) stand apart from the microseconds a slice, which each job
logs: from where its script begins to work to its end, and the processors' time in that, which other work on the machine
disturbs least and by which growth is judged. A shard has the same number of slices at every size, so that what a shard
costs by itself is the same share of each; small sizes are run several times, for the median. Memory is the peak that
the kernel knows of.
"""

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pydicom
import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ich.base.classes import CLASSES

ROOT = Path(__file__).parents[1]
SLICES, SERIES, PATIENTS, SHARDS = 752_803, 21_744, 18_938, 64  # of the RSNA data, and of config.yaml
SIZES = {10_000: 5, 100_000: 3}  # rounds of each size; others have one
STAGES = ("inventory", "headers", "labels", "slices", "cohort", "cache", "quarantine")
ALL = "all of these"
TIMES = ("seconds", "wall", "processors")
FLAT = 1.2  # times the microseconds a slice of the smallest size
MOST_MB = 3000
MOST_DRY_SECONDS = 15

# Values of fixed widths that are replaced in the bytes of a file.
MARKS = {
    "image": b"ID_AAAAAAAAA",
    "patient": b"ID_BBBBBBBB",
    "study": b"ID_CCCCCCCCCC",
    "series": b"ID_DDDDDDDDDD",
    "z": b"777777.777",
}


def template() -> bytes:
    """Give a file with the elements of the RSNA data, and marks for values."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = MARKS["image"].decode()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPInstanceUID = MARKS["image"].decode()
    data.Modality = "CT"
    data.PatientID = MARKS["patient"].decode()
    data.StudyInstanceUID = MARKS["study"].decode()
    data.SeriesInstanceUID = MARKS["series"].decode()
    data.StudyID = ""
    data.ImagePositionPatient = ["-125.000", "-120.000", MARKS["z"].decode()]
    data.ImageOrientationPatient = ["1.0", "0.0", "0.0", "0.0", "0.927184", "-0.374607"]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = 8, 8
    data.PixelSpacing = ["0.488281", "0.488281"]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.WindowCenter, data.WindowWidth = "30", "80"
    data.RescaleIntercept, data.RescaleSlope = "-1024", "1"
    data.PixelData = np.arange(1000, 1064, dtype="<i2").tobytes()
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def names(numbers: np.ndarray, digits: int) -> list[str]:
    """Give distinct hexadecimal names in no order to the numbers."""
    scattered = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) & np.uint64(16**digits - 1)
    return [f"ID_{number:0{digits}x}" for number in scattered.tolist()]


def plan(slices: int) -> pd.DataFrame:
    """Give each slice its identifiers and position, in the numbers and proportions of the RSNA data.

    Series of 20 to 60 slices, one a study; most patients have one, a few up to five.
    """
    random = np.random.default_rng(1)
    count = max(1, round(slices * SERIES / SLICES))
    lengths = np.clip(random.normal(slices / count, 6, count).round().astype(int), 20, 60)
    while off := slices - lengths.sum():
        inner = np.flatnonzero((lengths > 20) & (lengths < 60))
        lengths[random.choice(inner, min(abs(off), len(inner)), replace=False)] += np.sign(off)
    patients = max(1, round(slices * PATIENTS / SLICES))
    patient = random.permutation(np.append(np.arange(patients), random.integers(patients, size=count - patients)))
    series = np.repeat(np.arange(count), lengths)
    index = np.arange(slices) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = {
        "image": names(np.arange(slices), 9),
        "patient": names(patient[series], 8),
        "study": names(series, 10),
        "series": names(series + count, 10),
        "z": [f"{z:010.3f}" for z in index * 5.0],
    }
    return pd.DataFrame(table).sort_values("image", ignore_index=True)


def write_labels(images: pd.Series, path: Path) -> None:
    """Write Kaggle's long table with the prevalences of the RSNA data; four slices stand in it twice, as there."""
    positive = np.random.default_rng(2).random((len(images), 5)) < [0.004, 0.048, 0.036, 0.047, 0.063]
    labels = np.column_stack([positive, positive.any(axis=1)]).astype(int)
    lines = [
        "".join(f"{image}_{name},{label}\n" for name, label in zip(CLASSES, row, strict=True))
        for image, row in zip(images, labels.tolist(), strict=True)
    ]
    path.write_text("ID,Label\n" + "".join(lines + lines[:4]))


def files(table: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Give each slice's name and content."""
    with warnings.catch_warnings(action="ignore"):  # such UIDs are not legal
        whole = template()
    places = [
        (name, at, at + len(mark))
        for name, mark in MARKS.items()
        for at in range(len(whole))
        if whole.startswith(mark, at)
    ]
    for row in table.to_dict("records"):
        data = bytearray(whole)
        for name, start, end in places:
            data[start:end] = row[name].encode()
        yield f"{row['image']}.dcm", bytes(data)


def write_tree(folder: Path, table: pd.DataFrame) -> None:
    for name, content in files(table):
        (folder / name).write_bytes(content)


def make(folder: Path, slices: int, zipped: bool) -> None:
    """Write the label file and the slices."""
    table = plan(slices)
    write_labels(table["image"].sample(frac=1, random_state=3), folder / "stage_2_train.csv")
    if zipped:
        with zipfile.ZipFile(folder / "kaggle.zip", "w") as archive:
            for name, content in files(table):
                archive.writestr(f"stage_2_train/{name}", content)
        return
    tree = folder / "stage_2_train"
    tree.mkdir()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        pool.starmap(write_tree, [(tree, table.iloc[start::64]) for start in range(64)])


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak KiB:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""  # a process between: a child starts with the peak of the process that it was made from


def snakemake(folder: Path, *arguments: str, over: dict | None = None) -> tuple[str, float, float]:
    """Run the workflow on the folder's data: what it prints, seconds, and the peak memory of a process in MB."""
    config = {"data": {"root": "."}, "caches": {"paper": {"size": 16}}, "training": {"weights": "none"}}
    config["data"]["dicom"] = "kaggle.zip" if (folder / "kaggle.zip").exists() else "stage_2_train"
    (folder / "scale.yaml").write_text(yaml.safe_dump(config | (over or {})))
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, "-m", "snakemake", *arguments,
         "--snakefile", ROOT / "Snakefile", "--directory", folder,
         "--configfile", ROOT / "config.yaml", folder / "scale.yaml"],
        capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    peak = int(re.search(r"peak KiB: (\d+)", done.stdout)[1])
    return done.stdout + done.stderr, seconds, peak / 1024


def stage(results: Path, name: str) -> dict[str, float]:
    """Read what the jobs of a stage took."""

    def found(folder: str, suffix: str) -> list[Path]:
        return [*(results / folder).glob(f"{name}{suffix}"), *(results / folder / name).rglob(f"*{suffix}")]

    logs = "".join(path.read_text() for path in found("logs", ".log"))
    ends = [
        tuple(map(float, end)) for end in re.findall(r"after (\S+) s, (\S+) s of processors, at most (\S+) MB", logs)
    ]
    whole = pd.concat(pd.read_csv(path, sep="\t") for path in found("benchmarks", ".tsv"))
    if len(ends) != len(whole):
        raise SystemExit(f"{name}: {len(whole)} jobs, of which {len(ends)} logged their end")
    wall, processors, peaks = zip(*ends, strict=True)
    return {
        "jobs": len(ends),
        "seconds": whole["s"].sum(),
        "wall": sum(wall),
        "processors": sum(processors),
        "MB": max(peaks),
    }


def measure(folder: Path, slices: int, rounds: int, cores: int) -> list[dict]:
    """Run ingest and cache building some times, and a dry run of everything before."""
    text, seconds, peak = snakemake(folder, "--dry-run", "--cores", "1")
    jobs = int(re.search(r"^total +(\d+)$", text, re.MULTILINE)[1])
    shards = max(1, round(slices * SHARDS / SLICES))
    runs = []
    for _ in range(rounds):
        snakemake(folder, "results/data/quarantine.csv", "--forceall", "--cores", str(cores), over={"shards": shards})
        runs.append({name: stage(folder / "results", name) for name in STAGES})
    stages = {name: {key: median(run[name][key] for run in runs) for key in runs[0][name]} for name in STAGES}
    stages[ALL] = {key: sum(stages[name][key] for name in STAGES) for key in ("jobs", *TIMES)}
    stages[ALL]["MB"] = max(stages[name]["MB"] for name in STAGES)
    stages["dry run of everything"] = {"jobs": jobs, "seconds": seconds, "MB": peak}
    return [{"slices": slices, "stage": name} | row for name, row in stages.items()]


def main(slices: int = SLICES, zipped: bool = True, cores: int = 4, folder: str | None = None) -> str:
    """Measure all sizes; give Markdown."""
    rows = []
    for size in sorted({size for size in SIZES if size < slices} | {slices}):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            make(Path(name), size, zipped)
            rows += measure(Path(name), size, SIZES.get(size, 1), cores)
    table = pd.DataFrame(rows)
    table[["wall", "processors"]] *= 1e6 / table[["slices"]].to_numpy()
    table["growth"] = table["processors"] / table.groupby("stage")["processors"].transform("first")
    lines = [
        f"{'A zip file' if zipped else 'A folder'} of small DICOM files; {cores} jobs at a time.",
        "",
        "| slices | stage | jobs | seconds of all jobs | largest peak, MB | µs a slice | of processors | growth |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table.itertuples(index=False):
        cells = [f"{row.slices:,}", row.stage, f"{row.jobs:.0f}", f"{row.seconds:.1f}", f"{row.MB:,.0f}"]
        cells += [""] * 3 if np.isnan(row.wall) else [f"{row.wall:.1f}", f"{row.processors:.1f}", f"{row.growth:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    dry = table.loc[table["wall"].isna(), "seconds"].max()
    growth = table[table["slices"] == slices].set_index("stage")["growth"]
    most = growth.drop(ALL).idxmax()
    lines += [
        "",
        f"Largest peak of a job {table['MB'].max():,.0f} MB (bound {MOST_MB:,}); longest dry run {dry:.1f} s (bound "
        f"{MOST_DRY_SECONDS}). From the smallest to the largest size, the processors' time a slice grows "
        f"{growth[ALL]:.2f} times (bound {FLAT}), that of one stage ({most}) {growth[most]:.2f} times.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES, help="the largest number")
    parser.add_argument("--zip", action="store_true", help="one zip file instead of a folder")
    parser.add_argument("--cores", type=int, default=4, help="jobs at a time")
    parser.add_argument("--folder", help="where to make the data; a temporary folder by default")
    given = parser.parse_args()
    print(main(given.slices, given.zip, given.cores, given.folder))
