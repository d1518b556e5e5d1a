"""Synthetic head CT in the layout of the RSNA data: the data set that the pipeline brings along.

A head is a set of implicit functions of its own coordinates: x to the patient's left, y to the back, z upwards, in mm,
with the origin between the foramina of Monro. Each gives a distance to a surface in mm, negative inside. A slice
evaluates them on two planes, a quarter of its thickness above and below its middle: the mean of the two distances says
where an edge lies and their difference how obliquely it runs through the slice, so that every edge is as soft as its
partial volume makes it.

The images teach nothing about disease. They exist so that every step from file to report can be run, tested and timed
without patients' data.
"""

import logging
import math
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from threadpoolctl import threadpool_limits

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.base.files import write_text
from ich.phantom.scanner import FAMILIES, Family, Scan, Series

# How often each combination of subtypes occurs among 674,258 slices of the RSNA data (order of SUBTYPES).
COMBINATIONS = {
    "00001": 28909, "00010": 14717, "01000": 13932, "00100": 8914, "01100": 6330, "00011": 4654, "01010": 3611,
    "00110": 3226, "01001": 2952, "01011": 2017, "01110": 1761, "10000": 1497, "00101": 1021, "00111": 893,
    "01111": 759, "01101": 646, "10001": 341, "11000": 233, "10010": 180, "10011": 91, "11001": 86, "11010": 75,
    "11100": 45, "11011": 42, "10100": 39, "11110": 36, "10111": 29, "11111": 20, "11101": 19, "10101": 17,
    "10110": 11,
}  # fmt: skip

STUDIES = {1: 0.95, 2: 0.035, 3: 0.015}  # how many studies a patient has
DUPLICATES = 4  # slices that are listed twice in the label file


# The data set


def _spread(rng: np.random.Generator, weights: Iterable[float], count: int) -> np.ndarray:
    """Draw indices in random order, each as often as its weight says to within one."""
    edges = np.cumsum(list(weights))
    return rng.permutation(np.searchsorted(edges, edges[-1] * (np.arange(count) + rng.random()) / count, side="right"))


def plan(
    *,
    patients: int,
    slices: tuple[int, int],
    size: int = 512,
    prevalence: float,
    evenness: float = 0,
    seed: int,
) -> list[Series]:
    """Draw the series of a data set, patient by patient, without making them.

    Parameters
    ----------
    patients : int
    slices : tuple of int
        Fewest and most slices of a series.
    size : int
        Rows and columns of a slice.
    prevalence : float
        Share of the series that hold a haemorrhage.
    evenness : float
        Combinations of subtypes are drawn with their real frequencies to the power of 1 - `evenness`: 0 as they are in
        the RSNA data, where epidural is rare; 1 all equally often.
    seed : int

    Returns
    -------
    list of Series
    """
    if not 1 < slices[0] <= slices[1]:
        raise InputError(f"slices of a series: {slices[0]} to {slices[1]}; write the fewest (2 or more) and the most")
    root = np.random.SeedSequence(seed)
    draws, *heads = root.spawn(1 + patients)
    rng = np.random.default_rng(draws)
    studies = np.array(list(STUDIES))[_spread(rng, STUDIES.values(), patients)]
    owners = np.repeat(np.arange(patients), studies)
    count = len(owners)
    lengths = rng.integers(slices[0], slices[1], count, endpoint=True)
    positive = rng.permutation(count) < round(prevalence * count)
    frequencies = [frequency ** (1 - evenness) for frequency in COMBINATIONS.values()]
    combinations = iter(_spread(rng, frequencies, int(positive.sum())))
    families = _spread(rng, (family.share for family in FAMILIES), count)
    implicit = rng.random(count) < 0.12
    repeated = rng.integers(count)
    patient_ids, study_ids, series_ids = (
        _ids(rng, digits, number) for digits, number in ((8, patients), (10, count), (10, count))
    )
    image_ids = iter(_ids(rng, 9, int(lengths.sum())))
    found = []
    for index, owner in enumerate(owners):
        bits = list(COMBINATIONS)[next(combinations)] if positive[index] else "00000"
        disease, scan = draws.spawn(2)
        found.append(
            Series(
                patient_id=patient_ids[owner],
                study_id=study_ids[index],
                series_id=series_ids[index],
                image_ids=tuple(islice(image_ids, int(lengths[index]))),
                subtypes=tuple(name for name, bit in zip(SUBTYPES, bits, strict=True) if bit == "1"),
                size=size,
                family=FAMILIES[families[index]],
                implicit=bool(implicit[index]),
                repeated=bool(index == repeated),
                streams=(heads[owner], disease, scan),
            )
        )
    return found


def _ids(rng: np.random.Generator, digits: int, count: int) -> list[str]:
    """Distinct identifiers in the form of the RSNA data."""
    return [f"ID_{number:0{digits}x}" for number in rng.choice(16**digits, count, replace=False).tolist()]


def _stored(hu: np.ndarray, family: Family) -> np.ndarray:
    """Hounsfield units as a family of scanners stores them."""
    if family.wraps:
        return (np.rint(np.clip(hu, -1000, 3095)).astype(np.int32) % 4096).astype("<u2")
    lowest = -(2 ** (family.bits - 1)) if family.signed else 0
    stored = np.clip(np.rint(hu) - family.intercept, lowest, lowest + 2**family.bits - 1)
    return stored.astype("<i2" if family.signed else "<u2")


def _dicom(series: Series, scan: Scan, index: int, hu: np.ndarray) -> bytes:
    """Encode a slice as the RSNA data has it: 22 elements, identifiers that are no legal UIDs, bare pixels."""
    family, (center, width) = series.family, scan.window
    stored = _stored(hu, family)
    if family.signed and scan.padding is not None:
        stored[scan.outside] = scan.padding
    cos, sin = math.cos(scan.tilt), math.sin(scan.tilt)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"9999.{int(series.image_ids[index][3:], 16)}")
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if series.implicit else ExplicitVRLittleEndian
    if not series.implicit:  # the implicit files carry no group length
        meta.FileMetaInformationGroupLength = 0
        meta.FileMetaInformationVersion = b"\0\1"
        meta.ImplementationClassUID = UID("1.2.40.0.13.1.1.1")
        meta.ImplementationVersionName = "dcm4che-1.4.38"
    data = Dataset()
    data.file_meta, data.preamble = meta, bytes(128)
    data.SOPInstanceUID, data.Modality = series.image_ids[index], "CT"
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = series.patient_id, series.study_id, series.series_id
    data.StudyID = ""
    data.ImagePositionPatient = [f"{value:.6f}" for value in scan.position(index)]
    data.ImageOrientationPatient = [f"{value:.6f}" for value in (1, 0, 0, 0, cos, -sin)]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = hu.shape
    data.PixelSpacing = [f"{scan.pixel:.6f}"] * 2
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, family.bits, family.bits - 1
    data.PixelRepresentation = int(family.signed)
    data.WindowCenter, data.WindowWidth = (list(each) if isinstance(each, tuple) else each for each in (center, width))
    data.RescaleIntercept, data.RescaleSlope = str(family.intercept), "1"
    data.add_new("PixelData", "OW", stored.tobytes())
    file = BytesIO()
    dcmwrite(file, data, enforce_file_format=False)
    return file.getvalue()


@threadpool_limits.wrap(limits=1, user_api="blas")
def _write(series: Series, folder: Path, truncated: str) -> list[list[int]]:
    """Make a series, write its files, and return the labels of its slices."""
    scan = Scan(series)
    labels = []
    with pydicom_config.disable_value_validation():
        for index, image_id in enumerate(series.image_ids):
            hu, masks = scan.slice(index)
            content = _dicom(series, scan, index, hu)
            (folder / f"{image_id}.dcm").write_bytes(content[: -hu.size] if image_id == truncated else content)
            labels.append(scan.labels(masks))
    return labels


def generate(
    root: Path = Path(),
    *,
    labels: str | Path = "stage_2_train.csv",
    dicom: str | Path = "stage_2_train",
    patients: int,
    slices: tuple[int, int],
    size: int = 512,
    prevalence: float,
    evenness: float = 0,
    seed: int,
    processes: int = 1,
) -> None:
    """Write a data set as Kaggle ships the RSNA data, with its known defects.

    One file is truncated (its header reads, half of its pixels are missing), four slices are listed twice in the label
    file, one series holds a position twice, and some series have the wrong intercept of some 12-bit scanners. The
    same seed gives the same bytes, whatever the number of processes. The label file is written last: where it stands,
    the data set is whole.

    Parameters
    ----------
    root : path
        Folder of the data set.
    labels, dicom : path
        Label file and folder of slices, relative to `root`.
    patients, slices, size, prevalence, evenness, seed
        As in `plan`.
    processes : int
        How many processes make series at the same time.

    Raises
    ------
    InputError
        Something is there already under one of the names.
    """
    labels, dicom = root / labels, root / dicom
    if labels.exists() or (dicom.exists() and any(dicom.iterdir())):
        raise InputError(f"{labels} or {dicom} is there already; remove both, or make the data set elsewhere")
    found = plan(patients=patients, slices=slices, size=size, prevalence=prevalence, evenness=evenness, seed=seed)
    image_ids = [image_id for series in found for image_id in series.image_ids]
    rng = np.random.default_rng([seed, 1])
    truncated = str(rng.choice(image_ids))
    listed = rng.permutation(image_ids + rng.choice(image_ids, DUPLICATES, replace=False).tolist()).tolist()

    unfinished = dicom.with_name(f".{dicom.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write = partial(_write, folder=unfinished, truncated=truncated)
    if processes == 1:
        rows = [write(series) for series in found]
    else:  # fork: the main module of a Snakemake script cannot be imported a second time
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            rows = list(pool.map(write, found))
    unfinished.replace(dicom)

    label = dict(zip(image_ids, chain.from_iterable(rows), strict=True))
    lines = [
        f"{image_id}_{name},{value}"
        for image_id in listed
        for name, value in zip(CLASSES, label[image_id], strict=True)
    ]
    write_text("\n".join(["ID,Label", *lines, ""]), labels)
    logging.info("%d slices of %d series and %d patients in %s", len(image_ids), len(found), patients, dicom)
