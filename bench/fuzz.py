"""Damaged files through ingest: no crash, no hang, no memory beyond a bound, no effect on the files beside them.

    python -m bench.fuzz --dicom 5000 --csv 1000 --seed 0

makes DICOM files and label files, damages them as a seed says, and prints what became of them. Each folder of damaged
files holds whole slices of all transfer syntaxes, too, whose rows and images must be what they are without the others.
A file that breaks a rule is kept under the folder that --keep names.
"""

import argparse
import csv
import io
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.cohort.labels import read_labels
from ich.cohort.slices import build_manifest
from ich.dicom.defects import DEFECTS, Defect
from ich.dicom.headers import header_rows
from ich.dicom.pixels import read_hu
from ich.dicom.sources import inventory
from ich.images.cache import build_shard
from tests.unit.dicom_factory import SYNTAXES, dicom_bytes, slice_elements

SECONDS = 5  # for one file
MEMORY = 1 << 30  # bytes, beyond those that the libraries take
FOLDER = 100  # damaged files beside the whole ones
WHOLE_PATIENT = f"ID_{1:08x}"
WINDOWS = [{"name": "brain", "level": 40, "width": 80}]


# ---- damage

Damage = Callable[[random.Random, bytearray], None]


def flip_bits(draw: random.Random, data: bytearray) -> None:
    for _ in range(draw.choice([1, 1, 2, 5, 20, 100])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def overwrite(draw: random.Random, data: bytearray) -> None:
    start, count = draw.randrange(len(data)), draw.choice([1, 2, 4, 16, 200])
    filling = draw.choice([bytes(count), b"\xff" * count, draw.randbytes(count)])
    data[start : start + count] = filling[: len(data) - start]


def cut(draw: random.Random, data: bytearray) -> None:
    del data[draw.randrange(len(data)) :]


def remove(draw: random.Random, data: bytearray) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice([1, 2, 8, 100, 1000])]


def repeat(draw: random.Random, data: bytearray) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice([1, 2, 8, 100, 1000])] * draw.choice([1, 1, 3, 50])


def enlarge_lengths(draw: random.Random, data: bytearray) -> None:
    """Write large numbers over what is likely a length: after a VR, or in the pixel data's element."""
    places = [place + 2 for vr in VRS for place in found(data, vr)] + [place + 8 for place in found(data, PIXELS)]
    for _ in range(draw.choice([1, 1, 3])):
        if places:
            place = draw.choice(places)
            size = draw.choice([2, 4, 6])
            value = draw.choice([b"\xff" * 6, b"\0\0\xff\xff\xff\xff", b"\xfe\xff\xff\x7f\0\0", draw.randbytes(6)])
            data[place : place + size] = value[:size]


def nest_sequences(draw: random.Random, data: bytearray) -> None:
    """Put sequences within sequences before an element, closed or not, of undefined or absurd length."""
    depth = draw.choice([1, 3, 50, 400, 3000])
    length = draw.choice([2**32 - 1, 2**32 - 1, 8, 10**6])
    group, element = draw.choice([(0x08, 0x1140), (0x29, 0x1010), (0x5400, 0x0100)])
    vr = draw.choice([b"SQ\0\0", b"UN\0\0", b""])
    opening = struct.pack("<HH", group, element) + vr + struct.pack("<LHHL", length, 0xFFFE, 0xE000, 2**32 - 1)
    closing = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    places = [place - 4 for vr in VRS for place in found(data, vr)] or [len(data) // 2]
    place = draw.choice(places)
    data[place:place] = opening * depth + closing * draw.choice([0, depth // 2, depth])


VRS = [b"CS", b"UI", b"LO", b"DS", b"US", b"IS", b"SH", b"OW", b"SQ"]
PIXELS = b"\xe0\x7f\x10\x00"
OF_DICOM: list[Damage] = [flip_bits, flip_bits, overwrite, cut, remove, repeat, enlarge_lengths, nest_sequences]


def found(data: bytearray, part: bytes) -> list[int]:
    places, place = [], data.find(part, 132)
    while place >= 0:
        places.append(place)
        place = data.find(part, place + 1)
    return places


def change_lines(draw: random.Random, data: bytearray) -> None:
    lines = data.splitlines(keepends=True)
    for _ in range(draw.choice([1, 2, 10])):
        place = draw.randrange(len(lines))
        other = draw.choice(lines)
        lines[place : place + draw.choice([0, 1, 1, 5])] = [other] * draw.choice([0, 1, 1, 2])
        lines = lines or [bytearray(b"\n")]
    data[:] = b"".join(lines)


def insert_text(draw: random.Random, data: bytearray) -> None:
    text = draw.choice([b'"', b",", b"\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff", b"_any", b"1", b" ", b"\t"])
    place = draw.randrange(len(data) + 1)
    data[place:place] = text * draw.choice([1, 1, 1, 2, 1000, 10**6])


def replace_text(draw: random.Random, data: bytearray) -> None:
    pairs = [b"\n \r\n", b"\n \n\n", b"\n \r", b", ;", b"_ -", b"any ANY", b",0 ,1", b",1 ,", b"ID_ scan_"]
    old, new = draw.choice(pairs).split(b" ")
    data[:] = data.replace(old, new, draw.choice([1, 3, -1]))


OF_CSV: list[Damage] = [flip_bits, overwrite, cut, remove, repeat, change_lines, insert_text, replace_text]


def damaged(draw: random.Random, data: bytes, ways: list[Damage]) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        if changed:
            draw.choice(ways)(draw, changed)
    return bytes(changed)


# ---- files


def whole_slice(patient: int, number: int, stored: np.ndarray, syntax: str) -> bytes:
    elements = slice_elements(patient, number, WindowCenter=[40, 600], WindowWidth=[80, 2800])
    return dicom_bytes(stored, syntax, BitsStored=12, **elements)


def stored_values(seed: int) -> np.ndarray:
    """Give an image that compresses as a slice does: smooth, with noise."""
    ramp = np.add.outer(np.arange(64), np.arange(64)) * 20
    return (ramp + np.random.default_rng(seed).integers(0, 30, size=ramp.shape)).astype(np.uint16)


def dicom_files(seed: int, count: int) -> list[bytes]:
    """Damage slices of each transfer syntax in turn."""
    bases = [whole_slice(1000 + index, 0, stored_values(index), syntax) for index, syntax in enumerate(SYNTAXES)]
    return [damaged(random.Random(f"{seed} {n}"), bases[n % len(bases)], OF_DICOM) for n in range(count)]


def csv_files(seed: int, count: int) -> list[bytes]:
    """Damage a label file in Kaggle's layout."""
    draw = random.Random(seed)
    lines = ["ID,Label"]
    for number in range(40):
        positive = [int(draw.random() < 0.2) for _ in SUBTYPES]
        for name, label in zip(CLASSES, [*positive, max(positive)], strict=True):
            lines.append(f"ID_{number:09x}_{name},{label}")
    base = ("\n".join(lines) + "\n").encode()
    return [damaged(random.Random(f"{seed} {n}"), base, OF_CSV) for n in range(count)]


# ---- what must hold


class Report:
    """What became of the files, and what should not have."""

    def __init__(self, keep: Path):
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest = 0.0  # s
        self.keep = keep

    @contextmanager
    def watching(self, data: bytes) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.require(False, f"{type(error).__name__}: {error}", data)
        seconds = time.perf_counter() - start
        self.slowest = max(self.slowest, seconds)
        self.require(seconds < SECONDS, f"{seconds:.1f} s for one file", data)

    def require(self, holds: bool, fault: str, data: bytes) -> None:
        if not holds:
            self.keep.mkdir(parents=True, exist_ok=True)
            name = self.keep / f"{len(self.faults):04d}"
            name.write_bytes(data)
            self.faults.append(f"{name}: {fault}")


def through_ingest(folder: Path, out: Path) -> tuple[dict[str, tuple], Counter]:
    """Bring a folder as far as its cache.

    Gives each slice of the first patient with its header, place and image, and how many files became what.
    """
    slices, quarantine = build_manifest(header_rows(inventory([folder])), 1)
    build_shard(slices, WINDOWS, 32, out / "0.npy", out / "0.json")
    images = np.load(out / "0.npy")
    unequal = {"location", "row"}
    kept = {
        row.image_id: (str([(name, value) for name, value in row._asdict().items() if name not in unequal]), image)
        for row, image in zip(slices.itertuples(index=False), images, strict=True)
        if row.patient_id == WHOLE_PATIENT
    }
    failed = [line["reason"] for line in read_json(out / "0.json")["failed"]]
    counts = Counter([*quarantine["reason"], *failed])
    counts["slice"] = len(slices) - len(failed)
    return kept, counts


def equal(one: dict[str, tuple], other: dict[str, tuple]) -> bool:
    return one.keys() == other.keys() and all(
        one[name][0] == other[name][0] and np.array_equal(one[name][1], other[name][1]) for name in one
    )


def read_alone(files: pd.DataFrame) -> str:
    """Read the header and the pixels of one file; give what it is."""
    (row,) = header_rows(files).itertuples(index=False)
    if not row.defect:
        try:
            read_hu(row)
        except Defect as defect:
            return defect.reason
    return row.defect or "slice"


def check_dicom(seed: int, count: int, scratch: Path, report: Report) -> None:
    """Read damaged files one by one, and then in folders with whole slices between them."""
    whole = [whole_slice(1, number, stored_values(number), syntax) for number, syntax in enumerate(SYNTAXES)]
    files = dicom_files(seed, count)
    expected = None
    for start in [None, *range(0, count, FOLDER)]:
        folder = scratch / "dicom"
        folder.mkdir()
        for number, data in enumerate(whole):
            (folder / f"{number * FOLDER // len(whole):04d} whole.dcm").write_bytes(data)
        if start is not None:
            for number, data in enumerate(files[start : start + FOLDER]):
                (folder / f"{number:04d}.dcm").write_bytes(data)
            listed = inventory([folder])
            for index in np.flatnonzero(~listed["image_id"].str.endswith("whole")):
                data = Path(listed["location"][index]).read_bytes()
                with report.watching(data):
                    report.counts[read_alone(listed.iloc[[index]])] += 1
        found, counts = through_ingest(folder, scratch)
        expected = expected or found
        report.require(len(expected) == len(whole), "whole slices do not pass", b"")
        report.require(equal(found, expected), f"whole slices are others in the folder of files {start}", b"")
        report.require(counts.keys() <= {*DEFECTS, "slice"}, f"a reason that is not in the list: {counts}", b"")
        shutil.rmtree(folder)


def check_csv(seed: int, count: int, scratch: Path, report: Report) -> None:
    """Read damaged label files; what is read must be what Python's csv module reads."""
    path = scratch / "labels.csv"
    for data in csv_files(seed, count):
        path.write_bytes(data)
        with report.watching(data):
            try:
                labels, _ = read_labels(path)
            except InputError:
                report.counts["refused"] += 1
                continue
            report.counts["read"] += 1
            cells = labels.set_index("image_id").stack()
            found = {f"{image}_{name}": label for (image, name), label in cells.items()}
            report.require(found == plain_labels(data), "labels are others than the file's", data)


def plain_labels(data: bytes) -> dict[str, int]:
    csv.field_size_limit(len(data))
    text = data.decode("utf-8-sig")
    return {row["ID"]: int(row["Label"]) for row in csv.DictReader(io.StringIO(text, newline=""))}


def peak() -> int:
    """Give the most memory in bytes that this process or one that it started has had."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dicom", type=int, default=5000, help="number of DICOM files")
    parser.add_argument("--csv", type=int, default=1000, help="number of label files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder of the files that break a rule")
    options = parser.parse_args()
    faults, libraries = [], peak()
    with tempfile.TemporaryDirectory() as scratch:
        for title, check, count in (
            ("DICOM files", check_dicom, options.dicom),
            ("label files", check_csv, options.csv),
        ):
            report = Report(options.keep / title.split()[0].lower())
            start = time.perf_counter()
            check(options.seed, count, Path(scratch), report)
            seconds = time.perf_counter() - start
            became = ", ".join(f"{name} {number}" for name, number in report.counts.most_common())
            print(f"{count} damaged {title} in {seconds:.0f} s, slowest {report.slowest:.2f} s: {became}")
            faults += report.faults
    taken = peak() - libraries
    if taken > MEMORY:
        faults.append(f"{taken / 1e6:.0f} MB of memory")
    print(f"most memory {taken / 1e6:.0f} MB, beside {libraries / 1e6:.0f} MB of libraries; {len(faults)} faults")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
