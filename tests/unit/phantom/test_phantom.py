import csv
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import groupby
from math import isclose

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.phantom import anatomy, dataset, geometry, scanner, tissue

ELEMENTS = [  # of the RSNA data: exactly these, in the order of their tags
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "WindowCenter",
    "WindowWidth",
    "RescaleIntercept",
    "RescaleSlope",
    "PixelData",
]
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # as in the real data
SETTINGS = {"patients": 42, "slices": (6, 9), "size": 64, "prevalence": 0.5, "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of small images."""
    root = tmp_path_factory.mktemp("phantom")
    dataset.generate(root, **SETTINGS)
    return root


@pytest.fixture(scope="module")
def files(root):
    """All its files, by image."""
    read = [pydicom.dcmread(path) for path in sorted((root / "stage_2_train").iterdir())]
    return {str(file.SOPInstanceUID): file for file in read}


@pytest.fixture(scope="module")
def rows(root):
    """The rows of its label file."""
    with (root / "stage_2_train.csv").open() as file:
        return list(csv.reader(file))


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def series(*subtypes, seed=0, slices=14, size=128):
    found = dataset.plan(patients=1, slices=(slices, slices), size=size, prevalence=0, seed=seed)[0]
    return replace(found, subtypes=subtypes, repeated=False)


def decode(file):
    """HU by the rules of the data set, the repair of the wrong headers included."""
    dtype = np.int16 if file.PixelRepresentation else np.uint16
    stored = np.frombuffer(file.PixelData, dtype).reshape(file.Rows, file.Columns).astype(int)
    intercept = int(file.RescaleIntercept)
    if file.BitsStored == 12 and not file.PixelRepresentation and intercept > -100:
        stored += 1000
        stored[stored >= 4096] -= 4096
        intercept = -1000
    return stored + intercept


def test_same_seed_same_bytes_whatever_the_number_of_processes(tmp_path):
    settings = {"patients": 5, "slices": (4, 6), "size": 48, "prevalence": 0.6}
    dataset.generate(tmp_path / "one", seed=1, **settings)
    dataset.generate(tmp_path / "two", seed=1, processes=2, **settings)
    dataset.generate(tmp_path / "other", seed=2, **settings)
    one, two, other = (contents(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert len(one) > 20
    assert not set(one) & set(other) - {"stage_2_train.csv"}


def test_a_series_can_be_made_again():
    found = next(s for s in dataset.plan(**SETTINGS) if s.subtypes)
    (hu, masks), (again, same) = scanner.volume(found), scanner.volume(found)
    np.testing.assert_array_equal(hu, again)
    np.testing.assert_array_equal(masks, same)
    assert hu.dtype == np.float32
    assert hu.shape == (len(found.image_ids), 64, 64)
    assert masks.dtype == bool
    assert masks.shape == (len(found.image_ids), 5, 64, 64)


def test_headers_hold_exactly_the_elements_of_the_real_data(files):
    for image_id, file in files.items():
        assert [element.keyword for element in file] == ELEMENTS
        assert file.SOPInstanceUID == image_id
        assert re.fullmatch("ID_[0-9a-f]{9}", image_id)
        assert re.fullmatch("ID_[0-9a-f]{8}", file.PatientID)
        assert re.fullmatch("ID_[0-9a-f]{10}", file.StudyInstanceUID)
        assert re.fullmatch("ID_[0-9a-f]{10}", file.SeriesInstanceUID)
        assert (file.Modality, file.StudyID, file.PhotometricInterpretation) == ("CT", "", "MONOCHROME2")
        assert (file.Rows, file.Columns, file.SamplesPerPixel, file.BitsAllocated) == (64, 64, 1, 16)
        assert file.HighBit == file.BitsStored - 1
        assert file.RescaleSlope == 1


def test_transfer_syntaxes_and_windows_vary_as_in_the_real_data(files):
    syntaxes = {file.file_meta.TransferSyntaxUID.name for file in files.values()}
    assert syntaxes == {"Explicit VR Little Endian", "Implicit VR Little Endian"}
    for file in files.values():
        explicit = file.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert ("FileMetaInformationGroupLength" in file.file_meta) == explicit
    windows = {(str(file.WindowCenter), str(file.WindowWidth)) for file in files.values()}
    assert {("[00036, 00036]", "[00080, 00080]"), ("30", "80"), ("40", "150")} <= windows


def test_every_pixel_family_occurs_and_holds_the_same_head(files):
    found = {(f.BitsStored, f.PixelRepresentation, int(f.RescaleIntercept)) for f in files.values()}
    assert found == {(16, 1, -1024), (12, 0, -1024), (12, 1, 0), (12, 0, -1000), (12, 0, 0)}
    one_each = {s.family: s for s in dataset.plan(**SETTINGS) if set(s.image_ids) <= set(files)}
    assert len(one_each) == 5
    for family, planned in one_each.items():
        hu, _ = scanner.volume(planned)
        row, column = np.ogrid[-31.5:32, -31.5:32]
        circle = row**2 + column**2 < 31**2
        low = {-1024: -1024, 0: -1000 if not family.signed else -2048, -1000: -1000}[family.intercept]
        high = 2047 if family.bits == 12 and family.signed else 3000
        for image_id, slice_hu in zip(planned.image_ids, hu, strict=True):
            if len(files[image_id].PixelData) == 2 * 64 * 64:
                expected = np.rint(slice_hu).clip(low, high)
                np.testing.assert_array_equal(decode(files[image_id])[circle], expected[circle])


def test_padding_lies_outside_the_circle_of_signed_files_only(files):
    corners = defaultdict(set)
    for file in files.values():
        signed = bool(file.PixelRepresentation)
        corners[signed].add(int(np.frombuffer(file.PixelData[:2], np.int16 if signed else np.uint16)[0]))
    assert {-2000, -1024} <= corners[True]
    assert not {-2000, -1024} & {value if value < 2**15 else value - 2**16 for value in corners[False]}


def test_known_defects(files, rows):
    planned = dataset.plan(**SETTINGS)
    assert len(files) == sum(len(s.image_ids) for s in planned)
    short = [file for file in files.values() if len(file.PixelData) != 2 * 64 * 64]
    assert [len(file.PixelData) for file in short] == [64 * 64]

    counts = Counter(row[0] for row in rows[1:])
    twice = {name.rsplit("_", 1)[0] for name, count in counts.items() if count == 2}
    assert len(twice) == 4
    assert len(rows) - 1 == 6 * (len(files) + 4)
    assert len({tuple(row) for row in rows[1:]}) == 6 * len(files)  # the repeated rows agree

    positions = defaultdict(list)
    for file in files.values():
        positions[file.SeriesInstanceUID].append(tuple(file.ImagePositionPatient))
    assert sorted(len(p) - len(set(p)) for p in positions.values())[-2:] == [0, 1]
    assert any(f.BitsStored == 12 and not f.PixelRepresentation and f.RescaleIntercept > -100 for f in files.values())


def test_labels_agree_with_the_masks(files, rows):
    label = {name: int(value) for name, value in rows[1:]}
    assert rows[0] == ["ID", "Label"]
    for block in range(1, len(rows), 6):
        names = [row[0] for row in rows[block : block + 6]]
        assert names == [f"{names[0][:12]}_{name}" for name in CLASSES]
    assert [row[0] for row in rows[1::6]] != sorted(row[0] for row in rows[1::6])
    for planned in dataset.plan(**SETTINGS):
        if not planned.subtypes:
            assert not any(label[f"{image_id}_{name}"] for image_id in planned.image_ids for name in CLASSES)
    for planned in [s for s in dataset.plan(**SETTINGS) if s.subtypes][:8]:
        _, masks = scanner.volume(planned)
        for image_id, mask in zip(planned.image_ids, masks, strict=True):
            area = np.prod([float(v) for v in files[image_id].PixelSpacing])  # mm²
            expected = [int(m.sum() * area >= scanner.LABEL_AREA) for m in mask]
            assert [label[f"{image_id}_{name}"] for name in SUBTYPES] == expected
            assert label[f"{image_id}_any"] == max(expected)


def test_combinations_and_prevalence_follow_the_table():
    planned = dataset.plan(patients=400, slices=(20, 60), prevalence=0.41, seed=5)
    positive = [s for s in planned if s.subtypes]
    assert len(positive) == round(0.41 * len(planned))
    counts = Counter("".join(str(int(name in s.subtypes)) for name in SUBTYPES) for s in positive)
    total = sum(dataset.COMBINATIONS.values())
    assert total == 97103  # positive slices of the table
    for combination, weight in dataset.COMBINATIONS.items():
        assert abs(counts[combination] - len(positive) * weight / total) < 1
    lengths = [len(s.image_ids) for s in planned]
    assert (min(lengths), max(lengths)) == (20, 60)


def test_patients_with_several_studies_keep_their_head():
    planned = dataset.plan(patients=100, slices=(3, 4), size=32, prevalence=0.4, seed=0)
    assert len({image_id for s in planned for image_id in s.image_ids}) == sum(len(s.image_ids) for s in planned)
    studies = {patient: list(found) for patient, found in groupby(planned, lambda s: s.patient_id)}
    assert len(studies) == 100
    numbers = Counter(len(found) for found in studies.values())
    assert numbers[1] == 95
    assert set(numbers) == {1, 2, 3}
    several = next(found for found in studies.values() if len(found) > 1)
    assert several[0].streams[0] is several[1].streams[0]
    one, other = (scanner.Scan(s) for s in several[:2])
    assert one.head.size == other.head.size
    assert one.pixel != other.pixel


def test_most_series_are_tilted_and_evenly_spaced_along_the_normal(files):
    planned = dataset.plan(patients=150, slices=(30, 36), size=32, prevalence=0, seed=0)
    scans = [scanner.Scan(replace(s, repeated=False)) for s in planned]
    assert 0.85 < np.mean([scan.tilt > 0 for scan in scans]) < 0.97
    assert all(4 < scan.spacing < 6.5 for scan in scans)
    by_series = defaultdict(list)
    for file in files.values():
        by_series[file.SeriesInstanceUID].append(file)
    for found in dataset.plan(**SETTINGS):
        along = {}
        for file in by_series[found.series_id]:
            x, y = np.array([float(v) for v in file.ImageOrientationPatient]).reshape(2, 3)
            assert isclose(np.linalg.norm(y), 1, abs_tol=1e-5)
            along[file.SOPInstanceUID] = np.cross(x, y) @ [float(v) for v in file.ImagePositionPatient]
        steps = np.diff([along[image_id] for image_id in found.image_ids])
        spacing = scanner.Scan(found).spacing
        np.testing.assert_allclose(steps, [0 if found.repeated else spacing, *[spacing] * (len(steps) - 1)], atol=2e-3)


def inside(found, index):
    """The distances behind a slice, on a grid of 1 mm, and the haemorrhages and HU that belong to it."""
    scan = scanner.Scan(found)
    extent = np.arange(-115, 116) / scan.pixel + (scan.size - 1) / 2
    grid = scan.grid(index, extent, extent)
    points = scan.head.template(grid)
    shell = anatomy.make_shell(scan.head, grid, points)
    hu, blood = tissue._inside(scan.head, scan.lesions, grid, points, shell)
    brain = tissue._brain(scan.head, scan.lesions, grid, points, shell, np.zeros_like(points[0]))
    return scan, grid, points, shell, brain, hu, {name: share > 0.5 for name, (share, _) in blood.items()}


def test_densities_of_air_tissues_and_skull():
    for seed in range(3):
        found = series(seed=seed)
        scan, grid, points, shell, brain, hu, _ = inside(found, 8)
        cavity, ventricles, cortex = (d.max(0) for d in (shell.cavity, brain.ventricles, brain.cortex))
        deep = np.abs(points[0][0]) > 40  # beside the deep grey matter
        white = (cavity < -8) & (brain.cortex.min(0) > 2) & (brain.ventricles.min(0) > 7) & deep
        assert 20 < hu[white & (brain.infratentorial.min(0) > 3)].mean() < 30
        ribbon = (cortex < -1.2) & (brain.sulci.min(0) > 0.8) & (brain.parenchyma.max(0) < -0.8)
        assert 34 < np.median(hu[ribbon & (brain.infratentorial.min(0) > 3) & (cavity < -10)]) < 45
        assert 0 < np.median(hu[ventricles < -1]) < 15
        image, _ = tissue.draw_head(scan.head, scan.lesions, grid, finer=False)
        assert (image[shell.skin.min(0) > 3] == -1000).all()
        fat = (shell.skin.max(0) < -3) & (shell.outer.min(0) > 1.5) & (shell.bone.min(0) > 1.5)
        assert -115 < np.median(image[fat]) < -85
        skull = (shell.outer.max(0) < -1) & (shell.inner.min(0) > 1) & (shell.air.min(0) > 3)
        low, high = np.percentile(image[skull], [5, 99.5])
        assert 300 < low < high < 1900


def test_noise_has_the_spread_and_correlation_of_real_slices():
    scan = scanner.Scan(series(size=512))
    hu, _ = scan.slice(13)
    air = (hu[:40, :40] + 1000)[scan.table[:40, :40] == 0]
    assert 1.5 < air.std() < 5
    scan.pixel = 0.49
    tile = scan._tile(np.random.default_rng(0))
    tile = tile - ndimage.gaussian_filter(tile, 3)
    lags = [(tile * np.roll(tile, lag, 1)).mean() / tile.var() for lag in (1, 2, 3)]
    np.testing.assert_allclose(lags, [0.62, 0.05, -0.15], atol=0.03)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_blood_is_as_dense_as_acute_blood(subtype):
    for seed in range(2):
        hu, masks = scanner.volume(series(subtype, seed=seed, slices=8))
        core = masks[:, SUBTYPES.index(subtype)]
        core = ndimage.binary_erosion(core, np.ones((1, 3, 3))) if subtype != "subarachnoid" else core
        assert 50 < np.median(hu[core]) < 90


def largest(subtype, seed):
    """The slice of a series where a haemorrhage is largest."""
    found = series(subtype, seed=seed)
    _, masks = scanner.volume(found)
    return inside(found, int(masks[:, SUBTYPES.index(subtype)].sum((1, 2)).argmax()))


@pytest.mark.parametrize("seed", range(4))
def test_epidural_is_a_lens_on_the_skull_within_one_bone(seed):
    _, _, (x, y, z), shell, _, _, masks = largest("epidural", seed)
    mask = masks["epidural"]
    depth = -shell.inner.mean(0)[mask]
    assert depth.min() > -1  # beneath the skull,
    assert depth.min() < 1.5  # on its inner surface,
    assert 6 < depth.max() < 30  # and thick
    # One bone: blood lies on one side of the middle, the coronal and the lambdoid suture.
    for suture in (x, anatomy.behind_coronal(y, z), anatomy.before_lambdoid(x, y, z)):
        assert len(np.unique(np.sign(suture.mean(0)[mask]))) == 1
    # Biconvex: thickest in the middle. The deep half takes up less of the skull than the shallow half.
    a, b = np.nonzero(mask)
    length = np.hypot(np.ptp(a), np.ptp(b))  # mm
    deep = depth > depth.max() / 2
    assert np.hypot(np.ptp(a[deep]), np.ptp(b[deep])) < 0.85 * length
    assert length < 7 * depth.max()


def test_subdural_is_a_crescent_that_crosses_sutures_but_not_the_middle():
    crossings = 0
    for seed in range(4):
        _, _, (x, y, z), shell, _, _, masks = largest("subdural", seed)
        mask = masks["subdural"]
        depth = -shell.inner.mean(0)[mask]
        assert -1 < depth.min() < 1.5
        assert depth.max() < 21
        assert len(np.unique(np.sign(x.mean(0)[mask]))) == 1
        length = np.hypot(*(np.ptp(axis) for axis in np.nonzero(mask)))
        assert length > 3 * depth.max()
        crossings += len(np.unique(np.sign(anatomy.behind_coronal(y, z).mean(0)[mask]))) == 2
    assert crossings >= 2


@pytest.mark.parametrize("seed", range(4))
def test_subarachnoid_lies_in_sulci_and_cisterns(seed):
    _, _, _, shell, brain, _, masks = largest("subarachnoid", seed)
    mask = masks["subarachnoid"]
    assert brain.sulci.mean(0)[mask].max() < 1
    assert brain.ventricles.mean(0)[mask].min() > -1
    assert shell.cavity.mean(0)[mask].max() < 1
    assert ndimage.distance_transform_edt(mask).max() < 9  # sheets, no lumps


def test_intraventricular_fills_the_ventricles_up_to_a_level():
    levels = 0
    for seed in range(6):
        scan, grid, _, _, brain, _, masks = largest("intraventricular", seed)
        mask, within = masks["intraventricular"], brain.ventricles.mean(0) < 0
        assert (mask <= (brain.ventricles.mean(0) < 1)).all()
        lateral = (brain.lateral.max(0) < -1) & within
        level = scan.lesions.flood.level
        if level > -geometry.FAR:  # settled: everything behind the level, nothing before it
            levels += 1
            assert mask[lateral & (grid.down[:, None] > level + 1.5)].all()
            assert not mask[grid.down < level - 1.5].any()
    assert 2 <= levels <= 5


@pytest.mark.parametrize("seed", range(4))
def test_intraparenchymal_is_a_rounded_clot_in_the_brain_with_oedema(seed):
    _, _, _, _, brain, hu, masks = largest("intraparenchymal", seed)
    mask = masks["intraparenchymal"]
    assert brain.parenchyma.mean(0)[mask].max() < 1
    assert brain.ventricles.mean(0)[mask].min() > -1
    parts, _ = ndimage.label(mask)
    assert np.bincount(parts.ravel())[1:].max() > 0.85 * mask.sum()
    radius = np.sqrt(mask.sum() / np.pi)
    assert ndimage.distance_transform_edt(mask).max() > 0.5 * radius
    outside = ndimage.distance_transform_edt(~mask)
    tissue = (brain.sulci.min(0) > 1.5) & (brain.ventricles.min(0) > 1.5) & (brain.parenchyma.max(0) < -3)
    rim, far = tissue & (outside > 1) & (outside < 3), tissue & (outside > 18)
    assert hu[rim].mean() < hu[far].mean() - 4


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_haemorrhages_run_over_neighbouring_slices(subtype):
    broken, shares = 0, []
    for seed in range(6):
        found = series(subtype, seed=100 + seed, slices=12)
        scan = scanner.Scan(found)
        present = [scan.labels(scan.slice(index)[1])[-1] for index in range(12)]
        assert any(present)
        broken += sum(1 for value, _ in groupby(present) if value) > 1
        shares.append(np.mean(present))
    assert broken <= (1 if subtype == "subarachnoid" else 0)
    assert 0.2 < np.mean(shares) < 0.95


def test_nothing_that_exists_is_overwritten(tmp_path):
    settings = {"patients": 2, "slices": (3, 3), "size": 32, "prevalence": 0.5, "seed": 0}
    dataset.generate(tmp_path, labels="my.csv", dicom="my", **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my", "my.csv"]
    with pytest.raises(InputError, match=r"my.csv or .*my is there already"):
        dataset.generate(tmp_path, labels="my.csv", dicom="my", **settings)
    (tmp_path / "my.csv").unlink()
    with pytest.raises(InputError, match="is there already"):
        dataset.generate(tmp_path, labels="my.csv", dicom="my", **settings)


def test_an_interrupted_run_leaves_nothing_under_the_final_names_and_can_be_repeated(tmp_path, monkeypatch):
    settings = {"patients": 2, "slices": (3, 3), "size": 32, "prevalence": 0.5, "seed": 0}
    write = dataset._dicom

    def fail(series, scan, index, hu):
        if index == 2:
            raise KeyboardInterrupt
        return write(series, scan, index, hu)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, "_dicom", fail)
        dataset.generate(tmp_path, **settings)
    assert not (tmp_path / "stage_2_train").exists()
    assert not (tmp_path / "stage_2_train.csv").exists()
    dataset.generate(tmp_path, **settings)
    dataset.generate(tmp_path / "undisturbed", **settings)
    assert contents(tmp_path / "stage_2_train") == contents(tmp_path / "undisturbed" / "stage_2_train")


@pytest.mark.parametrize("slices", [(5, 4), (1, 3)])
def test_impossible_numbers_of_slices(slices):
    with pytest.raises(InputError, match="slices of a series"):
        dataset.plan(patients=2, slices=slices, prevalence=0.5, seed=0)
