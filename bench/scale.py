"""Ingest of as many slices as the full data set has: seconds and peak memory of each stage, and of a dry run.

    python -m bench.scale --slices 752803 [--zip] [--folder DIR] [--cores N]

Makes a tree (or Kaggle's zip) of valid DICOM files of 8 x 8 pixels with the header elements of the RSNA data, with
realistic numbers of slices, studies and patients, and runs the workflow on them up to the cohort. Figures are what
Snakemake's benchmark of each job says; the sizes are 10 thousand, 100 thousand and the number given.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import yaml
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ich.labels import CLASSES

ROOT = Path(__file__).parents[1]
STAGES = ("inventory", "headers", "labels", "slices", "cohort")


def template() -> bytes:
    """One slice as a file whose identifiers and position have fixed widths, so that they can be replaced as bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "ID_AAAAAAAAA"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.SOPInstanceUID = "ID_AAAAAAAAA"
    data.Modality = "CT"
    data.PatientID = "ID_BBBBBBBB"
    data.StudyInstanceUID = "ID_CCCCCCCCCC"
    data.SeriesInstanceUID = "ID_DDDDDDDDDD"
    data.StudyID = ""
    data.ImagePositionPatient = ["-125.000", "-120.000", "EEEEEEE.EEE"]
    data.ImageOrientationPatient = ["1.0", "0.0", "0.0", "0.0", "0.927184", "-0.374607"]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = 8, 8
    data.PixelSpacing = ["0.488281", "0.488281"]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.WindowCenter, data.WindowWidth = "30", "80"
    data.RescaleIntercept, data.RescaleSlope = "-1024", "1"
    data.PixelData = np.arange(64, dtype="<i2").tobytes()
    buffer = io.BytesIO()
    with pydicom.config.disable_value_validation():
        data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def plan(slices: int, seed: int = 1) -> pd.DataFrame:
    """Identifiers and positions: series of 20 to 60 slices (mean 35), one a study, 1 to 5 studies a patient."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.normal(35, 6, size=slices // 20 + 1).round().astype(int), 20, 60)
    series = np.repeat(np.arange(len(lengths)), lengths)[:slices]
    patient_of = np.repeat(
        np.arange(len(lengths)), random.choice([1, 2, 3, 4, 5], size=len(lengths), p=[0.97, 0.015, 0.009, 0.004, 0.002])
    )
    index = np.arange(slices) - np.searchsorted(series, series)
    return pd.DataFrame(
        {"image": random.permutation(slices), "patient": patient_of[series], "series": series, "z": index * 5.0}
    )


def make(folder: Path, slices: int, zipped: bool) -> None:
    """Write the label file and the slices."""
    table = plan(slices)
    positive = np.random.default_rng(2).random((slices, 5)) < [0.004, 0.048, 0.036, 0.047, 0.063]
    labels = np.column_stack([positive, positive.any(axis=1)]).astype(int)
    ids = [f"ID_{image:09x}" for image in table["image"]]
    pd.DataFrame({"ID": [f"{each}_{name}" for each in ids for name in CLASSES], "Label": labels.ravel()}).to_csv(
        folder / "stage_2_train.csv", index=False
    )

    whole = template()
    marks = {
        "image": b"AAAAAAAAA",
        "patient": b"BBBBBBBB",
        "study": b"CCCCCCCCCC",
        "series": b"DDDDDDDDDD",
        "z": b"EEEEEEE.EEE",
    }
    places = {name: [at for at in range(len(whole)) if whole.startswith(mark, at)] for name, mark in marks.items()}
    archive = zipfile.ZipFile(folder / "kaggle.zip", "w", zipfile.ZIP_STORED) if zipped else None
    (folder / "stage_2_train").mkdir()
    for name, row in zip(ids, table.itertuples(), strict=True):
        data = bytearray(whole)
        values = {
            "image": f"{row.image:09x}", "patient": f"{row.patient:08x}", "study": f"{row.series:010x}",
            "series": f"{row.series + 1:010x}", "z": f"{row.z:011.3f}",
        }  # fmt: skip
        for field, value in values.items():
            for at in places[field]:
                data[at : at + len(value)] = value.encode()
        if archive:
            archive.writestr(f"stage_2_train/{name}.dcm", bytes(data))
        else:
            (folder / "stage_2_train" / f"{name}.dcm").write_bytes(data)
    if archive:
        archive.close()


def snakemake(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run the workflow on the folder's data; seconds, and the peak memory in MB of snakemake itself."""
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
         "--configfile", str(folder / "scale.yaml"), "--quiet", "all", *arguments],
        stdout=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"snakemake ended with {process.returncode}")
    return time.perf_counter() - before, usage.ru_maxrss / 1024


def measure(folder: Path, slices: int, zipped: bool, cores: int) -> list[dict]:
    """Make the data, run ingest, and read what each stage took."""
    make(folder, slices, zipped)
    config = {
        "data": {"root": str(folder), "dicom": "kaggle.zip" if zipped else "stage_2_train"},
        "training": {"weights": "none"},
    }
    (folder / "scale.yaml").write_text(yaml.safe_dump(config))
    dry_seconds, dry_memory = snakemake(folder, "--dry-run", "--cores", "1")
    snakemake(folder, "--cores", str(cores), "results/data/cohort.parquet")
    rows = []
    for stage in STAGES:
        files = [
            *(folder / "results/benchmarks").glob(f"{stage}.tsv"),
            *(folder / "results/benchmarks").glob(f"{stage}/*.tsv"),
        ]
        runs = pd.concat([pd.read_csv(file, sep="\t") for file in files])
        rows.append(
            {
                "slices": slices,
                "stage": stage,
                "jobs": len(runs),
                "seconds": runs["s"].sum(),
                "peak MB": pd.to_numeric(runs["max_rss"], errors="coerce").max(),
            }
        )
    rows.append(
        {"slices": slices, "stage": "dry run, full graph", "jobs": 1, "seconds": dry_seconds, "peak MB": dry_memory}
    )
    return [row | {"µs a slice": 1e6 * row["seconds"] / slices} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=752_803, help="the largest number")
    parser.add_argument("--zip", action="store_true", help="slices in one zip file instead of a folder")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--folder", help="where to make the data; a temporary folder by default")
    arguments = parser.parse_args()
    rows = []
    for slices in sorted({size for size in (10_000, 100_000) if size < arguments.slices} | {arguments.slices}):
        folder = Path(tempfile.mkdtemp(dir=arguments.folder))
        try:
            rows += measure(folder, slices, arguments.zip, arguments.cores)
        finally:
            shutil.rmtree(folder)
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".1f"))


if __name__ == "__main__":
    main()
