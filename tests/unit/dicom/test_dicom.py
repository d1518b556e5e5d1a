import os
import re
import stat
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from string import ascii_uppercase, digits

import numpy as np
import pandas as pd
import pyarrow as pa
import pydicom
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_has_tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)

from ich.base.errors import InputError
from ich.base.files import read_json, read_parquet, write_parquet
from ich.cohort.slices import SLICES_SCHEMA, build_manifest
from ich.dicom.defects import DEFECTS, Defect
from ich.dicom.headers import HEADER_SCHEMA, header_rows, normal
from ich.dicom.pixels import read_hu
from ich.dicom.sources import INVENTORY_SCHEMA, inventory, read_bytes, shard_rows
from ich.images.cache import build_shard
from tests.unit.dicom_factory import (
    COMPRESSED,
    NATIVE,
    SYNTAXES,
    WHOLE_DATASET,
    dicom_bytes,
    slice_elements,
    write_dicom,
)

SAMPLE = os.environ.get("ICH_RSNA_SAMPLE")
needs_sample = pytest.mark.skipif(not SAMPLE, reason="ICH_RSNA_SAMPLE does not name the folder of real slices")
WINDOWS = [{"name": "brain", "level": 40, "width": 80}]

# The pixel families of head CT: type, BitsStored, RescaleIntercept.
FAMILIES = {
    "16 signed": (np.int16, 16, -1024),
    "12 unsigned": (np.uint16, 12, -1024),
    "12 signed in HU": (np.int16, 12, 0),
    "12 unsigned, -1000": (np.uint16, 12, -1000),
    "16 unsigned": (np.uint16, 16, -1024),
    "14 unsigned": (np.uint16, 14, -8192),
    "13 signed": (np.int16, 13, -24.5),
    "8 unsigned": (np.uint8, 8, 0),
}


def rows_of(*sources):
    return list(header_rows(inventory(sources)).itertuples(index=False))


def row_of(*sources):
    (row,) = rows_of(*sources)
    return row


def noise(kind, bits, shape=(33, 40), seed=0):
    """Give stored values over the whole range, with both its ends."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if np.dtype(kind).kind == "i" else (0, 2**bits)
    values = np.random.default_rng(seed).integers(low, high, size=shape)
    values.flat[:2] = low, high - 1
    return values.astype(kind)


def locations(folder, *sources):
    return [location.removeprefix(f"{folder}/") for location in inventory(sources)["location"]]


# ---- inventory


def test_folders_are_followed_and_hidden_names_passed_over(tmp_path):
    names = ["b.dcm", "a/c.dcm", "a/deep/er/d.DCM", "a/no_suffix", "a/notes.txt", "z.x.dcm"]
    for name in [*names, ".hidden.dcm", "a/._b.dcm", ".folder/e.dcm", "a/.git/f.dcm", "__MACOSX/.g.dcm"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    files = inventory([tmp_path])
    assert list(files["location"]) == sorted(str(tmp_path / name) for name in names)
    by_name = files.set_index("image_id")
    assert set(by_name.index) == {"b", "c", "d.DCM", "no_suffix", "notes.txt", "z.x"}
    assert tuple(by_name.loc["c", ["archive", "offset", "stored", "bytes", "method"]]) == ("", 0, 7, 7, -1)
    assert pa.Table.from_pandas(files, schema=INVENTORY_SCHEMA, preserve_index=False).num_rows == len(names)


def test_several_sources_and_one_named_twice(tmp_path):
    write_dicom(tmp_path / "one" / "a.dcm")
    write_dicom(tmp_path / "two" / "a.dcm")
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as opened:
        opened.writestr("a.dcm", b"abc")
    sources = [tmp_path / "two", tmp_path / "three.zip", str(tmp_path / "one"), tmp_path / "two"]
    assert locations(tmp_path, *sources) == ["one/a.dcm", "three.zip!/a.dcm", "two/a.dcm"]
    assert locations(tmp_path, *reversed(sources)) == ["one/a.dcm", "three.zip!/a.dcm", "two/a.dcm"]


def test_links(tmp_path):
    write_dicom(tmp_path / "elsewhere" / "a.dcm")
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "other").mkdir()
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "file.dcm").symlink_to(tmp_path / "elsewhere" / "a.dcm")
    (folder / "broken.dcm").symlink_to("nowhere")
    (folder / "itself.dcm").symlink_to("itself.dcm")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "aside").symlink_to("../other")
    (folder / "other" / "aside").symlink_to("../sub")
    os.mkfifo(folder / "pipe")
    rows = {row.location.removeprefix(f"{folder}/"): row.defect for row in rows_of(folder)}
    assert rows == {
        "broken.dcm": "unreadable file",
        "file.dcm": "",
        "folder/a.dcm": "",
        "itself.dcm": "unreadable file",
    }


def test_a_missing_source(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: there is no such folder or zip file; .*data\.dicom"):
        inventory([tmp_path, tmp_path / "nowhere"])


def test_a_folder_that_may_not_be_read():
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # in a place that every user may enter
        folder = Path(name)
        folder.chmod(0o755)
        write_dicom(folder / "a.dcm")
        (folder / "shut").mkdir(mode=0)
        if before == 0:  # whom no mode keeps out
            os.seteuid(65534)
        try:
            with pytest.raises(InputError, match=r"shut: cannot be listed \(Permission denied\)"):
                inventory([folder])
        finally:
            os.seteuid(before)


def test_no_file_at_all(tmp_path):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "empty" / ".DS_Store").touch()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as opened:
        opened.mkdir("folder")
    with pytest.raises(InputError, match=r"empty, .*empty\.zip: no file in it; .*data\.dicom"):
        inventory([tmp_path / "empty", tmp_path / "empty.zip"])


@pytest.mark.parametrize("content", [b"", b"no zip file", dicom_bytes()], ids=["empty", "text", "DICOM"])
def test_a_file_that_is_no_zip(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="file: not a folder and not a whole zip file"):
        inventory([tmp_path / "file"])


# ---- zip files


@pytest.fixture
def archive(tmp_path):
    """Pack files as Kaggle does, in all the ways a member can lie in a zip file."""
    path = tmp_path / "rsna.zip"
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(b"#! something before the zip file\n")
        with zipfile.ZipFile(file, "w") as opened:
            opened.mkdir("rsna-intracranial-hemorrhage-detection")
            for number in range(6):
                data = generator.integers(0, 20, size=2000 + number, dtype=np.uint8).tobytes()
                name = f"rsna-intracranial-hemorrhage-detection/stage_2_train/ID_{number:09x}.dcm"
                member = zipfile.ZipInfo(name)
                member.compress_type = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
                if number < 2:
                    member.extra = struct.pack("<HH4s", 0xCAFE, 4, b"more")
                with opened.open(member, "w", force_zip64=number in (2, 3)) as writer:
                    writer.write(data)
            opened.writestr("stage_2_train.csv", "ID,Label\n")
            opened.writestr("empty.dcm", b"")
            opened.writestr("__MACOSX/._a.dcm", b"hidden")
            opened.writestr(".hidden/a.dcm", b"hidden")
    return path


def test_members_are_read_as_zipfile_reads_them(archive):
    files = inventory([archive])
    with zipfile.ZipFile(archive) as opened:
        expected = {
            member.filename: opened.read(member)
            for member in opened.infolist()
            if not member.is_dir() and "/." not in f"/{member.filename}"
        }
    assert list(files["location"]) == sorted(f"{archive}!/{name}" for name in expected)
    assert Counter(files["method"]) == {0: 5, 8: 3}
    for row in files.itertuples(index=False):
        data = expected[row.location.split("!/")[1]]
        assert row.archive == str(archive)
        assert row.bytes == len(data)
        assert read_bytes(row) == data
        for start, count in [(0, 10), (700, 1), (1990, 500), (5000, 4), (100, 0)]:
            assert read_bytes(row, start, count) == data[start : start + count]
        assert read_bytes(row, 12) == data[12:]
    assert list(files["image_id"].iloc[:3]) == ["empty", "ID_000000000", "ID_000000001"]


@pytest.mark.parametrize(
    "name",
    ["../a.dcm", "a/../../b.dcm", "/etc/passwd", "//host/a", "..\\a.dcm", "C:\\a.dcm", "c:/a.dcm", "a/..", ".."],
)
def test_names_that_climb_out_are_refused(tmp_path, name):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("good.dcm", b"abc")
        opened.writestr(name, b"abc")
    with pytest.raises(InputError, match=r"bad\.zip: the name .* climbs out of it"):
        inventory([path])


def test_two_dots_within_a_name_do_not_climb(tmp_path):
    path = tmp_path / "good.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a..b/c...dcm", b"abc")
    assert locations(tmp_path, path) == ["good.zip!/a..b/c...dcm"]


def test_links_are_refused(tmp_path):
    path = tmp_path / "linked.zip"
    member = zipfile.ZipInfo("a.dcm")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(member, "/etc/passwd")
    with pytest.raises(InputError, match=r"linked\.zip: 'a\.dcm' is a link"):
        inventory([path])


def test_encrypted_members_are_refused(tmp_path):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("secret.dcm", b"abc")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # general purpose bit flag, bit 0 (APPNOTE.TXT, 4.4.4)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"locked\.zip: 'secret\.dcm' is encrypted"):
        inventory([path])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(tmp_path, method):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("a.dcm", b"abc" * 100)
    with pytest.raises(InputError, match=r"odd\.zip: 'a\.dcm' is encrypted or oddly compressed"):
        inventory([path])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_zip(archive, share):
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"rsna\.zip: not a folder and not a whole zip file .* fetch it again"):
        inventory([archive])


def test_a_zip_of_more_than_four_gigabytes_and_65535_members(tmp_path):
    pixels = noise(np.int16, 16)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.seek(5 << 30)  # a hole, which takes no room on the disk
        with zipfile.ZipFile(file, "w") as opened:
            for number in range(2**16):
                opened.writestr(f"x/{number}.txt", b"")
            for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                opened.writestr(f"{method}.dcm", dicom_bytes(pixels), method)
    files = inventory([path])
    assert len(files) == 2**16 + 2
    rows = header_rows(files[files["location"].str.endswith(".dcm")])
    assert (rows["offset"] > 5 << 30).all()
    for row in rows.itertuples(index=False):
        np.testing.assert_array_equal(read_hu(row), pixels.astype(float) - 1024)


def altered(path, found, format_, place, value):
    """Write a number into each place of a zip file where a signature is found."""
    data = bytearray(path.read_bytes())
    for match in re.finditer(re.escape(found), bytes(data)):
        struct.pack_into(format_, data, match.start() + place, value)
    path.write_bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("declared", [100, 2000, 5000, 10**6])
def test_a_member_of_another_size_than_it_says(tmp_path, method, declared):
    content = dicom_bytes(noise(np.int16, 16))
    path = tmp_path / "lying.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("a.dcm", content)
        opened.writestr("b.dcm", content)
    altered(path, b"PK\x01\x02", "<L", 24, declared)  # uncompressed size (APPNOTE.TXT, section 4.3.12)
    for row in inventory([path]).itertuples(index=False):
        assert row.bytes == declared
        if declared < len(content):  # what is more than declared is not looked at
            assert read_bytes(row) == content[:declared]
        else:
            with pytest.raises(Defect, match="unreadable file"):
                read_bytes(row)
    assert {row.defect for row in rows_of(path)} <= {"unreadable file", "truncated", "not DICOM"}


def test_a_zip_bomb_inflates_to_no_more_than_it_declares(tmp_path):
    path = tmp_path / "bomb.zip"
    header = dicom_bytes(PixelData=None, Rows=None, Modality="SR")
    header += struct.pack("<HH2sxxL", 0x7FE0, 9, b"OW", 2**32 - 2)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        with opened.open("honest.dcm", "w") as member:
            for block in [header, *[bytes(1 << 20)] * 300]:
                member.write(block)
        with opened.open("liar.dcm", "w") as member:
            for block in [header, *[bytes(1 << 20)] * 300]:
                member.write(block)
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02") + 24
    path.write_bytes(data[:place] + struct.pack("<L", 3000) + data[place + 4 :])
    tracemalloc.start()
    rows = rows_of(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size < 1 << 20
    assert most < 10 << 20
    assert [row.defect for row in rows] == ["unreadable file", "no pixel data"]


def test_two_members_of_one_name_are_both_seen(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in (1, 2):
            opened.writestr("a.dcm", dicom_bytes(**slice_elements(1, number)))
    assert [row.sop_instance_uid for row in rows_of(path)] == ["ID_000100001", "ID_000100002"]


def test_names_that_are_no_utf_8(tmp_path):
    folder = tmp_path / "data"
    write_dicom(folder / "a.dcm")
    (folder / os.fsdecode(b"M\xfcller.dcm")).write_bytes(WHOLE)
    files = inventory([folder])
    write_parquet(files, tmp_path / "files.parquet", INVENTORY_SCHEMA)
    rows = header_rows(read_parquet(tmp_path / "files.parquet"))
    assert rows[["image_id", "defect"]].values.tolist() == [["M\\udcfcller", "unreadable file"], ["a", ""]]


def test_a_zip_without_its_local_headers(archive):
    data = archive.read_bytes()
    archive.write_bytes(data[data.index(b"PK\x01\x02") :])
    with pytest.raises((InputError, Defect)):
        for row in inventory([archive]).itertuples(index=False):
            read_bytes(row)


def test_a_damaged_member_leaves_the_others(archive):
    files = list(inventory([archive]).itertuples(index=False))
    deflated = [row for row in files if row.method == 8]
    with archive.open("r+b") as file:
        file.seek(deflated[1].offset)
        file.write(b"\xff" * 40)
    with pytest.raises(Defect, match="unreadable file"):
        read_bytes(deflated[1])
    rows = header_rows(inventory([archive]))
    assert rows.set_index("location")["defect"][deflated[1].location] == "unreadable file"
    assert rows["defect"].value_counts().to_dict() == {"not DICOM": 7, "unreadable file": 1}


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_gone(tmp_path, archive, packed):
    row = next(inventory([archive if packed else write_dicom(tmp_path / "a" / "a.dcm").parent]).itertuples(index=False))
    Path(row.archive or row.location).unlink()
    with pytest.raises(Defect) as caught:
        read_bytes(row)
    assert caught.value.reason == "unreadable file"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_the_same_headers_and_hu_as_the_folder(tmp_path, method):
    for number, (syntax, (kind, bits, intercept)) in enumerate(
        (syntax, family) for syntax in SYNTAXES for family in FAMILIES.values()
    ):
        write_dicom(
            tmp_path / "stage_2_train" / f"{number:03d}.dcm",
            noise(kind, bits),
            syntax,
            BitsStored=bits,
            RescaleIntercept=intercept,
        )
    with zipfile.ZipFile(tmp_path / "all.zip", "w", method) as opened:
        for path in (tmp_path / "stage_2_train").iterdir():
            opened.write(path, f"rsna/stage_2_train/{path.name}")
    files, members = rows_of(tmp_path / "stage_2_train"), rows_of(tmp_path / "all.zip")
    assert len(files) == len(members) == len(SYNTAXES) * len(FAMILIES)
    where = {"location", "archive", "offset", "stored", "method"}
    for file, member in zip(files, members, strict=True):
        for name in set(file._fields) - where:
            np.testing.assert_array_equal(getattr(file, name), getattr(member, name), name)
        np.testing.assert_array_equal(read_hu(file), read_hu(member))


def test_shards_of_rows_are_even_and_miss_nothing():
    for rows, shards in [(0, 3), (1, 4), (10, 3), (41, 7), (752_803, 64)]:
        slices = [shard_rows(rows, shard, shards) for shard in range(shards)]
        assert [index for each in slices for index in range(rows)[each]] == list(range(rows))
        sizes = [each.stop - each.start for each in slices]
        assert max(sizes) - min(sizes) <= 1


# ---- headers


def camel(name):
    """Give the DICOM keyword of a column."""
    return "".join({"uid": "UID", "id": "ID", "sop": "SOP"}.get(part, part.capitalize()) for part in name.split("_"))


NAMES = [name for name in HEADER_SCHEMA.names if name not in INVENTORY_SCHEMA.names]
ELEMENTS = [name for name in NAMES if dictionary_has_tag(camel(name)) and name != "transfer_syntax_uid"]


def test_all_elements_of_the_rsna_files_are_read():
    assert len(ELEMENTS) == 22
    assert {"sop_instance_uid", "study_id", "rows", "rescale_slope", "number_of_frames"} <= set(ELEMENTS)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_header_row_is_what_pydicom_reads(tmp_path, family, syntax):
    kind, bits, intercept = FAMILIES[family]
    path = write_dicom(
        tmp_path / "a.dcm",
        noise(kind, bits, (34, 40)),
        syntax,
        BitsStored=bits,
        RescaleIntercept=intercept,
        PixelSpacing=[0.48828125, 0.5],
        NumberOfFrames="1",
    )
    row = row_of(tmp_path)
    assert row.defect == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        expected = {name: dataset.get(camel(name)) for name in ELEMENTS}
    for name, value in expected.items():
        found = getattr(row, name)
        if value in (None, ""):
            assert pd.isna(found), name
        elif isinstance(value, str):
            assert found == value, name
        else:
            assert np.array_equal(np.ravel(found), np.ravel(value).astype(float)), name
    assert row.transfer_syntax_uid == syntax
    assert row.image_id == "a"
    size = 34 * 40 * np.dtype(kind).itemsize
    if syntax in WHOLE_DATASET:
        assert row.pixel_bytes_expected == row.pixel_bytes_found == size
    else:
        assert row.pixel_bytes_expected == 0
        assert read_bytes(row, row.bytes - row.pixel_bytes_found).startswith(dataset.PixelData)
    if syntax in NATIVE:
        assert read_bytes(row, row.pixel_offset) == dataset.PixelData
    else:
        assert row.pixel_offset == -1


@pytest.mark.parametrize("syntax", NATIVE, ids=["explicit", "implicit"])
@pytest.mark.parametrize(
    ("written", "expected"),
    [("40", [40]), ("35.000000", [35]), (["00036", "00036"], [36, 36]), (["40.5", "-600"], [40.5, -600]), (None, None)],
)
def test_windows_single_decimal_and_multi_valued(tmp_path, syntax, written, expected):
    write_dicom(tmp_path / "a.dcm", syntax=syntax, WindowCenter=written, WindowWidth=written)
    row = row_of(tmp_path)
    assert row.defect == ""
    for found in (row.window_center, row.window_width):
        assert found is None if expected is None else list(found) == expected


def test_illegal_uids_are_kept_without_a_warning(tmp_path):
    write_dicom(tmp_path / "a.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = row_of(tmp_path)
    assert (row.sop_instance_uid, row.series_instance_uid) == ("ID_0123abcde", "ID_00000000aa")


def test_elements_after_and_among_the_known_ones_do_no_harm(tmp_path):
    private = {"PatientName": "A^B", "DetectorElementPhysicalSize": [1.0, 1.0], "DataSetTrailingPadding": bytes(3000)}
    pixels = noise(np.int16, 16)
    write_dicom(tmp_path / "a.dcm", pixels, LargestImagePixelValue=None, ImageComments="x" * 5000, **private)
    np.testing.assert_array_equal(read_hu(row_of(tmp_path)), pixels.astype(float) - 1024)


def item(length, value=b""):
    return struct.pack("<HHL", 0xFFFE, 0xE000, length) + value


SEQUENCE = struct.pack("<HH2sxxL", 9, 0x1001, b"SQ", 2**32 - 1)
LONG = {
    "a long value": struct.pack("<HH2sxxL", 9, 0x1001, b"OB", 10**5) + bytes(10**5),
    "many values": b"".join(struct.pack("<HH2sH", 9, 0x1001 + n, b"LO", 60) + b"x" * 60 for n in range(2000)),
    "a sequence": SEQUENCE + item(60000, bytes(60000)) * 3 + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLosslessSV1], ids=["native", "compressed"])
@pytest.mark.parametrize("kind", LONG)
def test_long_headers(tmp_path, kind, syntax, packed):
    pixels = noise(np.int16, 16)
    whole = dicom_bytes(pixels, syntax)
    place = whole.index(struct.pack("<HH2s", 0x10, 0x20, b"LO"))
    content = whole[:place] + LONG[kind] + whole[place:]
    path = tmp_path / "data" / "a.dcm"
    path.parent.mkdir()
    path.write_bytes(content)
    if packed:
        with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as opened:
            opened.write(path, "a.dcm")
    row = row_of(tmp_path / ("data.zip" if packed else "data"))
    assert (row.defect, row.patient_id) == ("", "ID_0000000a")
    np.testing.assert_array_equal(read_hu(row), pixels.astype(float) - 1024)


def test_headers_survive_the_disk(tmp_path):
    write_dicom(tmp_path / "in" / "a.dcm")
    (tmp_path / "in" / "b.dcm").write_text("no DICOM")
    rows = header_rows(inventory([tmp_path / "in"]))
    write_parquet(rows, tmp_path / "rows.parquet", HEADER_SCHEMA)
    again = read_parquet(tmp_path / "rows.parquet")
    assert list(again["defect"]) == ["", "not DICOM"]
    assert list(again.columns) == list(rows.columns) == HEADER_SCHEMA.names
    for name in rows.columns[rows.iloc[0].notna()]:
        np.testing.assert_array_equal(again[name][0], rows[name][0], name)
    assert again[rows.columns[rows.iloc[0].isna()]].iloc[0].isna().all()


def test_no_files_give_no_rows(tmp_path):
    write_dicom(tmp_path / "a.dcm")
    rows = header_rows(inventory([tmp_path])[:0])
    assert list(rows.columns) == HEADER_SCHEMA.names
    assert rows.empty


def test_bits_stored_and_high_bit_have_their_usual_values_when_absent(tmp_path):
    pixels = noise(np.uint16, 12)
    write_dicom(tmp_path / "a.dcm", pixels, BitsStored=12)
    write_dicom(tmp_path / "b.dcm", pixels, BitsStored=12, HighBit=None)
    write_dicom(tmp_path / "c.dcm", pixels, BitsStored=None, HighBit=None)
    rows = rows_of(tmp_path)
    assert [(row.bits_stored, row.high_bit) for row in rows] == [(12, 11), (12, 11), (16, 15)]
    for row in rows:
        np.testing.assert_array_equal(read_hu(row), pixels.astype(float) - 1024)


# ---- defects

RGB = np.zeros((4, 15), np.uint8).tobytes()
WHOLE = dicom_bytes()
CUT_WITHIN_COMPRESSED = dicom_bytes(noise(np.int16, 16), JPEG2000Lossless)[:-500]
CUT_WITHIN_DEFLATED = dicom_bytes(syntax=DeflatedExplicitVRLittleEndian)[:-9]
DEFECTIVE = {
    "not DICOM": [
        b"",
        b"\0" * 200,
        b"\x89PNG\r\n\x1a\n" + bytes(300),
        WHOLE[128:],
        WHOLE[:131],
        b"ID,Label\n" * 100,
    ],
    "unreadable header": [
        WHOLE[:141],
        WHOLE.replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI"),  # no transfer syntax
        WHOLE[: WHOLE.index(b"\x08\x00\x60\x00")] + struct.pack("<HH2sxxL", 8, 0x1111, b"SQ", 2**32 - 1) + b"odd",
    ],
    "no pixel data": [{"PixelData": None, "Rows": None, "Modality": "SR"}, {"PixelData": None, "Rows": None}],
    "not CT": [{"Modality": "MR"}, {"Modality": None}, {"Modality": ""}],
    "no identifier": [
        {"PatientID": None},
        {"PatientID": ""},
        {"StudyInstanceUID": None},
        {"SeriesInstanceUID": None},
        {"SOPInstanceUID": None},
        {"SOPInstanceUID": "  "},
    ],
    "colour image": [{"SamplesPerPixel": 3, "PixelData": RGB}, {"SamplesPerPixel": None}],
    "several frames": [{"NumberOfFrames": "2", "PixelData": bytes(80)}, {"NumberOfFrames": "120"}],
    "unsupported pixel format": [
        {"BitsAllocated": 1, "BitsStored": 1},
        {"BitsAllocated": 12, "BitsStored": 12},
        {"BitsAllocated": 64, "BitsStored": 64},
        {"BitsAllocated": None},
        {"BitsStored": 17},
        {"BitsStored": 12, "HighBit": 10},
        {"BitsStored": 12, "HighBit": 16},
        {"PixelRepresentation": None},
        {"PixelRepresentation": 2},
        {"Rows": 0},
        {"Columns": None},
    ],
    "no geometry": [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"ImagePositionPatient": [1.0, 2.0]},
        {"ImagePositionPatient": ["1", "2", "nan"]},
        {"ImageOrientationPatient": [1.0, 0, 0, 0, 1]},
        {"ImageOrientationPatient": [0.0] * 6},
        {"ImageOrientationPatient": [1.0, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": ["1", "0", "0", "0", "nan", "0"]},
        dicom_bytes(ImagePositionPatient=["1", "7.77", "3"]).replace(b"7.77", b"x.yz"),
    ],
    "not axial": [
        {"ImageOrientationPatient": [1.0, 0, 0, 0, 0, -1]},  # a coronal scout
        {"ImageOrientationPatient": [0.0, 1, 0, 0, 0, -1]},  # a sagittal one
        {"ImageOrientationPatient": [1.0, 0, 0, 0, 0.6, -0.8]},  # 53 degrees
    ],
    "no rescale": [
        {"RescaleSlope": None},
        {"RescaleIntercept": None},
        {"RescaleSlope": ""},
        {"RescaleIntercept": "nan"},
        {"RescaleSlope": "inf"},
        {"RescaleSlope": "1e300"},
        dicom_bytes(RescaleSlope="7.77").replace(b"7.77", b"one "),
    ],
    "truncated": [
        *(WHOLE[:-cut] for cut in (1, 39, 40)),
        CUT_WITHIN_COMPRESSED,
        CUT_WITHIN_DEFLATED,
        {"PixelData": None},
    ],
    "wrong length": [
        {"PixelData": bytes(38)},
        {"PixelData": bytes(42)},
        {"PixelData": b""},
        {"Rows": 3},
        {"BitsAllocated": 8, "BitsStored": 8},
    ],
}
CASES = [(reason, number) for reason, cases in DEFECTIVE.items() for number in range(len(cases))]


def made(case):
    return dicom_bytes(**case) if isinstance(case, dict) else case


def assert_neighbours_are_well(rows, pixels):
    """Two of three files are well, whatever the one between them is."""
    first, _, last = rows
    for row in (first, last):
        assert row.defect == ""
        np.testing.assert_array_equal(read_hu(row), pixels.astype(np.float64) - 1024)


@pytest.mark.parametrize(("reason", "number"), CASES)
def test_a_defect_is_named_and_its_neighbours_are_unaffected(tmp_path, reason, number):
    pixels = noise(np.uint16, 12)
    write_dicom(tmp_path / "a.dcm", pixels, BitsStored=12, **slice_elements(1, 1))
    (tmp_path / "b.dcm").write_bytes(made(DEFECTIVE[reason][number]))
    write_dicom(tmp_path / "c.dcm", pixels, ImplicitVRLittleEndian, BitsStored=12, **slice_elements(1, 2))
    rows = rows_of(tmp_path)
    assert [row.defect for row in rows] == ["", reason, ""]
    assert_neighbours_are_well(rows, pixels)
    slices, quarantine = build_manifest(header_rows(inventory([tmp_path])), 1)
    assert list(slices["image_id"]) == ["ID_000100001", "ID_000100002"]
    assert quarantine.values[:, 1:].tolist() == [[str(tmp_path / "b.dcm"), "headers", reason]]
    uid = rows[1].sop_instance_uid
    assert quarantine["image_id"].item() == ("b" if pd.isna(uid) else uid)


@pytest.mark.parametrize("syntax", NATIVE, ids=["explicit", "implicit"])
def test_the_reason_does_not_depend_on_the_syntax(tmp_path, syntax):
    expected = {}
    for reason, number in CASES:
        case = DEFECTIVE[reason][number]
        if isinstance(case, dict):
            expected[f"{reason} {number}"] = reason
            (tmp_path / f"{reason} {number}.dcm").write_bytes(dicom_bytes(syntax=syntax, **case))
    assert {row.image_id: row.defect for row in rows_of(tmp_path)} == expected


def through_the_pipeline(folder, out):
    """Bring a folder as far as its cache; give what was left out, by the file's name."""
    slices, quarantine = build_manifest(header_rows(inventory([folder])), 1)
    write_parquet(slices, out / "slices.parquet", SLICES_SCHEMA)
    build_shard(read_parquet(out / "slices.parquet"), WINDOWS, 8, out / "0.npy", out / "0.json")
    failed = read_json(out / "0.json")["failed"]
    reasons = {Path(row.location).stem: row.reason for row in quarantine.itertuples()}
    return reasons | {Path(each["location"]).stem: each["reason"] for each in failed}


def test_every_reason_of_the_list_is_reached_and_no_other(tmp_path):
    folder = tmp_path / "in"
    pixels = noise(np.int16, 16)
    for number in range(3):
        write_dicom(folder / f"whole{number}.dcm", pixels, **slice_elements(1, number))
    for reason, cases in DEFECTIVE.items():
        (folder / f"{reason}.dcm").write_bytes(made(cases[0]))
    (folder / "unreadable file.dcm").symlink_to("nowhere")
    write_dicom(folder / "x" / "duplicate SOPInstanceUID.dcm", pixels, **slice_elements(1, 2))
    write_dicom(folder / "constant image.dcm", np.full((9, 9), 7, np.int16), **slice_elements(1, 3))
    damaged = bytearray(dicom_bytes(pixels, JPEG2000Lossless, **slice_elements(1, 4)))
    start = damaged.index(b"\xff\x4f\xff\x51")  # start of codestream
    damaged[start : start + 60] = bytes(60)
    (folder / "decode error.dcm").write_bytes(damaged)
    reasons = through_the_pipeline(folder, tmp_path / "out")
    assert reasons == {reason: reason for reason in DEFECTS}
    assert all(len(remedy) > 20 for remedy in DEFECTS.values())


def test_the_page_of_reasons_is_the_list():
    page = (Path(__file__).parents[3] / "docs/data.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page.partition("## Quarantine")[2], re.MULTILINE))
    assert {reason: rows.pop(reason) for reason in DEFECTS} == DEFECTS
    assert rows.keys() == {"reason", "no label", "label without slice"}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_a_file_cut_anywhere_never_passes_for_a_whole_one(tmp_path, syntax):
    pixels = noise(np.uint16, 12)
    whole = dicom_bytes(pixels, syntax, BitsStored=12)
    # The last bytes of a compressed file are the delimiter of its fragments (8) and a padding byte.
    ends = [*range(0, 1000, 7), *range(1000, len(whole) - 10, 97), len(whole)]
    for end in ends:
        (tmp_path / f"{end:06d}").write_bytes(whole[:end])
    *cut, last = rows_of(tmp_path)
    np.testing.assert_array_equal(read_hu(last), pixels.astype(float) - 1024)
    reasons = set()
    for row in cut:
        assert row.defect in ("", *DEFECTS)
        if not row.defect:
            with pytest.raises(Defect) as caught:
                read_hu(row)
            assert caught.value.reason in DEFECTS
        reasons.add(row.defect)
    assert "truncated" in reasons or "unreadable header" in reasons


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True
)
@given(
    syntax=st.sampled_from([each for each in SYNTAXES if each != JPEGLosslessSV1]),  # GDCM may end the process
    flips=st.lists(st.tuples(st.integers(132, 3000), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_changed_bytes_end_in_a_slice_or_a_reason(tmp_path, syntax, flips):
    data = bytearray(dicom_bytes(noise(np.uint16, 12), syntax, BitsStored=12))
    for place, value in flips:
        data[place % len(data)] = value
    (tmp_path / "a.dcm").write_bytes(data)
    row = row_of(tmp_path)
    assert row.defect in ("", *DEFECTS)
    if not row.defect:
        try:
            assert read_hu(row).dtype == np.float32
        except Defect as defect:
            assert defect.reason in DEFECTS


# ---- geometry


def test_the_normal_is_the_cross_product_of_row_and_column():
    angle = np.radians(20)
    orientations = np.array(
        [
            [1, 0, 0, 0, 1, 0],
            [1, 0, 0, 0, np.cos(angle), -np.sin(angle)],
            [-1, 0, 0, 0, 1, 0],
            [0.999, 0, 0, 0, 1.001, 0],
        ]
    )
    expected = [[0, 0, 1], [0, np.sin(angle), np.cos(angle)], [0, 0, -1], [0, 0, 1]]
    np.testing.assert_allclose(normal(orientations), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("degrees", "defect"), [(0, ""), (30, ""), (-44, ""), (44, ""), (46, "not axial"), (90, "not axial")]
)
def test_a_gantry_may_be_tilted_up_to_45_degrees(tmp_path, degrees, defect):
    angle = np.radians(degrees)
    orientation = [1.0, 0.0, 0.0, 0.0, round(np.cos(angle), 6), round(np.sin(angle), 6)]
    write_dicom(tmp_path / "a.dcm", ImageOrientationPatient=orientation)
    assert row_of(tmp_path).defect == defect


# ---- pixels


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(33, 40), (64, 32)], ids=["odd", "even"])
def test_hu_are_stored_values_times_slope_plus_intercept(tmp_path, family, syntax, shape):
    kind, bits, intercept = FAMILIES[family]
    stored = noise(kind, bits, shape)
    write_dicom(tmp_path / "a.dcm", stored, syntax, BitsStored=bits, RescaleIntercept=intercept)
    hu = read_hu(row_of(tmp_path))
    assert hu.dtype == np.float32
    assert hu.shape == shape
    np.testing.assert_array_equal(hu, stored.astype(np.float64) + intercept)


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("0.5", "-1024"), ("1.0025", "-999.75"), ("0.0625", "-8192"), ("2", "-1024.5"), ("-1", "5")],
)
@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_fractional_slopes(tmp_path, kind, slope, intercept, syntax):
    stored = noise(kind, 16)
    write_dicom(tmp_path / "a.dcm", stored, syntax, RescaleSlope=slope, RescaleIntercept=intercept)
    expected = stored.astype(np.float64) * float(slope) + float(intercept)
    np.testing.assert_allclose(read_hu(row_of(tmp_path)), expected, rtol=0, atol=0.01)  # float32 of up to 131,072


def test_unsigned_values_do_not_overflow(tmp_path):
    stored = np.array([[0, 1, 1023, 1024, 65535]], np.uint16)
    write_dicom(tmp_path / "a.dcm", stored)
    assert read_hu(row_of(tmp_path)).tolist() == [[-1024, -1023, -1, 0, 64511]]


def test_signed_padding_stays_far_below_air(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.array([[-2000, -32768, 24, 32767]], np.int16))
    assert read_hu(row_of(tmp_path)).tolist() == [[-3024, -33792, -1000, 31743]]


def test_the_repair_of_twelve_bits_by_a_worked_example(tmp_path):
    # Air of -1000 HU is 0 with intercept -1000; the fault takes 1000 away and wraps at 4096: 3096. Water is 0,
    # blood of 60 HU is 60, the highest stored value that did not wrap is 3095.
    write_dicom(tmp_path / "a.dcm", np.array([[3096, 0, 60, 3095, 4095]], np.uint16), BitsStored=12, RescaleIntercept=0)
    assert read_hu(row_of(tmp_path)).tolist() == [[-1000, 0, 60, 3095, -1]]


@pytest.mark.parametrize("intercept", [0, 1, -99.5, -100, -1000, -1024])
@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless], ids=["native", "compressed"])
def test_only_unsigned_twelve_bits_with_an_intercept_above_minus_100_are_repaired(
    tmp_path, syntax, bits, kind, intercept
):
    stored = noise(kind, bits)
    write_dicom(tmp_path / "a.dcm", stored, syntax, BitsStored=bits, RescaleIntercept=intercept)
    plain = stored.astype(np.float64)
    if bits == 12 and kind == np.uint16 and intercept > -100:
        expected = np.array([(value + 1000) % 4096 for value in plain.ravel()]).reshape(plain.shape) - 1000
    else:
        expected = plain + intercept
    np.testing.assert_array_equal(read_hu(row_of(tmp_path)), expected)


@pytest.mark.parametrize("syntax", NATIVE, ids=["explicit", "implicit"])
@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize(("bits", "high"), [(12, 11), (12, 12), (12, 15), (13, 14), (15, 14)])
def test_what_stands_in_unused_bits_is_no_pixel(tmp_path, bits, high, kind, syntax):
    stored = noise(kind, bits)
    words = stored.astype(np.int64) % 2**bits << high + 1 - bits
    dirt = np.random.default_rng(1).integers(0, 2**16, size=words.shape)
    used = (2**bits - 1) << high + 1 - bits
    dirty = (words | dirt & ~used & 0xFFFF).astype(np.uint16).view(kind)
    assert (dirty != words.astype(np.uint16).view(kind)).any()
    write_dicom(tmp_path / "a.dcm", dirty, syntax, BitsStored=bits, HighBit=high)
    np.testing.assert_array_equal(read_hu(row_of(tmp_path)), stored.astype(np.float64) - 1024)


@pytest.mark.parametrize("syntax", SYNTAXES[:4], ids=lambda syntax: syntax.keyword)
def test_thirty_two_bits(tmp_path, syntax):
    stored = noise(np.int32, 24)
    write_dicom(tmp_path / "a.dcm", stored, syntax, RescaleSlope="0.01", RescaleIntercept=0)
    np.testing.assert_allclose(read_hu(row_of(tmp_path)), stored * 0.01, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("syntax", NATIVE, ids=["explicit", "implicit"])
def test_an_odd_number_of_bytes_has_a_padding_byte(tmp_path, syntax):
    stored = noise(np.uint8, 8, (5, 7))
    write_dicom(tmp_path / "a.dcm", stored, syntax, PixelData=stored.tobytes() + b"\0")
    np.testing.assert_array_equal(read_hu(row_of(tmp_path)), stored.astype(float) - 1024)


def test_monochrome1_and_spacing_do_not_change_values(tmp_path):
    stored = noise(np.int16, 16)
    write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1", PixelSpacing=[0.4, 0.8])
    np.testing.assert_array_equal(read_hu(row_of(tmp_path)), stored.astype(float) - 1024)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_a_compressed_image_of_another_size_than_its_header_says(tmp_path, syntax):
    whole = dicom_bytes(noise(np.int16, 16), syntax)
    rows = struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 33)
    assert whole.count(rows) == 1
    (tmp_path / "a.dcm").write_bytes(whole.replace(rows, rows[:-2] + struct.pack("<H", 34)))
    row = row_of(tmp_path)
    assert (row.defect, row.rows) == ("", 34)
    with pytest.raises(Defect) as caught:
        read_hu(row)
    assert caught.value.reason == "decode error"


def test_a_file_that_shrank_after_its_header_was_read(tmp_path):
    path = write_dicom(tmp_path / "a.dcm")
    row = row_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Defect, match="truncated"):
        read_hu(row)


# ---- files that others made

PACKAGED = Path(pydicom.data.__file__).parent / "test_files"
# What becomes of each file, checked against its header by eye.
SLICES = """
    693_J2KI.dcm CT_small.dcm J2K_pixelrep_mismatch.dcm
    dicomdirtests/77654033/CT2/17106 dicomdirtests/77654033/CT2/17136
    dicomdirtests/77654033/CT2/17166 dicomdirtests/77654033/CT2/17196
    dicomdirtests/98892001/CT5N/2062 dicomdirtests/98892001/CT5N/2392 dicomdirtests/98892001/CT5N/2693
    dicomdirtests/98892001/CT5N/3023 dicomdirtests/98892001/CT5N/3353
"""
LEFT_OUT = {
    # ultrasound, magnetic resonance, nuclear medicine, radiographs, dose, segmentation, and colour photographs that
    # say "OT" or nothing at all
    "not CT": """
        ExplVR_BigEnd.dcm GDCMJ2K_TextGBR.dcm JPEG-lossy.dcm JPEG2000-embedded-sequence-delimiter.dcm JPEG2000.dcm
        JPEGLSNearLossless_08.dcm JPEGLSNearLossless_16.dcm JPGExtended.dcm MR_small.dcm MR_small_RLE.dcm
        MR_small_bigendian.dcm MR_small_expb.dcm MR_small_implicit.dcm MR_small_jp2klossless.dcm
        MR_small_jpeg_ls_lossless.dcm MR_small_padded.dcm MR_truncated.dcm SC_jpeg_no_color_transform.dcm
        SC_jpeg_no_color_transform_2.dcm SC_rgb_dcmtk_+eb+cr.dcm SC_rgb_dcmtk_+eb+cy+n1.dcm
        SC_rgb_dcmtk_+eb+cy+n2.dcm SC_rgb_dcmtk_+eb+cy+np.dcm SC_rgb_dcmtk_+eb+cy+s2.dcm SC_rgb_dcmtk_+eb+cy+s4.dcm
        SC_rgb_gdcm_KY.dcm SC_rgb_jls_lossy_line.dcm SC_rgb_jls_lossy_sample.dcm SC_rgb_jpeg.dcm
        SC_rgb_jpeg_app14_dcmd.dcm SC_rgb_jpeg_dcmd.dcm SC_rgb_jpeg_dcmtk.dcm SC_rgb_jpeg_gdcm.dcm
        SC_rgb_jpeg_lossy_gdcm.dcm SC_rgb_rle.dcm SC_rgb_rle_16bit.dcm SC_rgb_rle_16bit_2frame.dcm
        SC_rgb_rle_2frame.dcm SC_rgb_rle_32bit.dcm SC_rgb_rle_32bit_2frame.dcm SC_rgb_small_odd.dcm
        SC_rgb_small_odd_big_endian.dcm SC_rgb_small_odd_jpeg.dcm SC_ybr_full_422_uncompressed.dcm badVR.dcm
        examples_jpeg2k.dcm examples_overlay.dcm examples_palette.dcm examples_rgb_color.dcm examples_ybr_color.dcm
        image_dfl.dcm liver_1frame.dcm liver_expb_1frame.dcm nested_priv_SQ.dcm rtdose.dcm rtdose_1frame.dcm
        rtdose_expb.dcm rtdose_expb_1frame.dcm rtdose_rle.dcm rtdose_rle_1frame.dcm
        dicomdirtests/77654033/CR1/6154 dicomdirtests/77654033/CR2/6247 dicomdirtests/77654033/CR3/6278
        dicomdirtests/98892003/MR1/15820 dicomdirtests/98892003/MR1/4919 dicomdirtests/98892003/MR1/5641
        dicomdirtests/98892003/MR2/15970 dicomdirtests/98892003/MR2/4950 dicomdirtests/98892003/MR2/4981
        dicomdirtests/98892003/MR2/5011 dicomdirtests/98892003/MR2/6273 dicomdirtests/98892003/MR2/6605
        dicomdirtests/98892003/MR2/6935 dicomdirtests/98892003/MR700/4467 dicomdirtests/98892003/MR700/4528
        dicomdirtests/98892003/MR700/4558 dicomdirtests/98892003/MR700/4588 dicomdirtests/98892003/MR700/4618
        dicomdirtests/98892003/MR700/4648 dicomdirtests/98892003/MR700/4678
    """,
    # two localizers
    "not axial": "dicomdirtests/98892001/CT2N/6293 dicomdirtests/98892001/CT2N/6924",
    # directories, plans, reports, a waveform, and CT headers whose pixels were taken out
    "no pixel data": """
        UN_sequence.dcm empty_charset_LEI.dcm no_meta_group_length.dcm priv_SQ.dcm reportsi.dcm
        reportsi_with_empty_number_tags.dcm rtplan.dcm rtplan_truncated.dcm test-SR.dcm waveform_ecg.dcm
        dicomdirtests/DICOMDIR dicomdirtests/DICOMDIR-bigEnd dicomdirtests/DICOMDIR-empty.dcm
        dicomdirtests/DICOMDIR-implicit dicomdirtests/DICOMDIR-nooffset dicomdirtests/DICOMDIR-nopatient
        dicomdirtests/DICOMDIR-reordered dicomdirtests/TINY_ALPHA/DICOMDIR
    """
    + " ".join(
        f"dicomdirtests/TINY_ALPHA/PT000000/ST000000/SE000000/IM0000{number}"
        for number in [*(f"0{each}" for each in digits + ascii_uppercase), *(f"1{each}" for each in digits + "ABCD")]
    ),
    # the file meta information names no transfer syntax, without which nothing can be read
    "unreadable header": "meta_missing_tsyntax.dcm",
    # texts, a colour profile, a gzip file, and data sets without the preamble and "DICM"
    "not DICOM": """
        ExplVR_BigEndNoMeta.dcm ExplVR_LitEndNoMeta.dcm README.txt crayons.icc dicomdirtests/README.txt
        dicomdirtests/TINY_ALPHA/README no_meta.dcm rtplan.dump rtstruct.dcm rtstruct.dump test1.json test_PN.json
        zipMR.gz
    """,
}


def test_the_files_that_pydicom_ships():
    slices, quarantine = build_manifest(header_rows(inventory([PACKAGED])), 2)
    names = {path: path.removeprefix(f"{PACKAGED}/") for path in [*slices["location"], *quarantine["location"]]}
    assert sorted(map(names.get, slices["location"])) == sorted(SLICES.split())
    found = {names[row.location]: row.reason for row in quarantine.itertuples()}
    assert found == {name: reason for reason, left_out in LEFT_OUT.items() for name in left_out.split()}
    for row in slices.itertuples(index=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(row.location)
            stored = dataset.pixel_array.astype(np.float64)
        expected = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_allclose(read_hu(row), expected, rtol=1e-6, atol=1e-3, err_msg=row.location)


@needs_sample
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_real_slices_from_the_folder_and_from_a_zip(tmp_path, method):
    folder = Path(SAMPLE) / "stage_2_train"
    with zipfile.ZipFile(tmp_path / "kaggle.zip", "w", method, compresslevel=1) as opened:
        opened.write(Path(SAMPLE) / "stage_2_train.csv", "rsna-intracranial-hemorrhage-detection/stage_2_train.csv")
        for path in sorted(folder.iterdir()):
            opened.write(path, f"rsna-intracranial-hemorrhage-detection/stage_2_train/{path.name}")
    caches = []
    for source in (folder, tmp_path / "kaggle.zip"):
        slices, quarantine = build_manifest(header_rows(inventory([source])), 1)
        out = tmp_path / source.name
        build_shard(slices, WINDOWS, 224, out.with_suffix(".npy"), out.with_suffix(".json"))
        caches.append([out.with_suffix(suffix).read_bytes() for suffix in (".npy", ".json")])
    assert caches[0] == caches[1]
    assert quarantine[["image_id", "reason"]].values.tolist() == [["stage_2_train.csv", "not DICOM"]]
    files, (table, *members) = rows_of(folder), rows_of(tmp_path / "kaggle.zip")
    assert (table.image_id, len(files), len(members)) == ("stage_2_train.csv", 41, 41)
    for file, member in zip(files, members, strict=True):
        assert file.defect == member.defect == ""
        assert file.image_id == file.sop_instance_uid
        hu = read_hu(file)
        np.testing.assert_array_equal(read_hu(member), hu)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(BytesIO(read_bytes(member)))
            stored = dataset.pixel_array.astype(np.float64)
        expected = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(hu, expected)
        # Around the head, inside the scanner's circle, is air; padding is far below it or at its very edge.
        air = hu[(hu > -1100) & (hu < -900) & (stored > -1024)]
        assert air.size > 1000
        assert abs(np.median(air) + 1000) < 25
