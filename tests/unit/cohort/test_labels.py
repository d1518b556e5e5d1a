import csv
import io
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ich.base.classes import CLASSES, SUBTYPES
from ich.base.errors import InputError
from ich.cohort.labels import LABELS_SCHEMA, read_labels


def rows_of(*slices):
    """Give Kaggle's rows of slices: (name, positive subtypes)."""
    return [
        (f"{name}_{kind}", int(bool(positive) if kind == "any" else kind in positive))
        for name, positive in slices
        for kind in CLASSES
    ]


def text_of(rows, end="\n"):
    return end.join(["ID,Label", *(f"{name},{label}" for name, label in rows)]) + end


def plain_reading(text):
    """Read a faultless file row by row: image_id to its six labels."""
    found = {}
    for row in csv.DictReader(io.StringIO(text)):
        name, kind = row["ID"].rsplit("_", 1)
        found.setdefault(name, {})[kind] = int(row["Label"])
    return {name: [found[name][kind] for kind in CLASSES] for name in sorted(found)}


def as_dict(labels):
    return {row[0]: list(row[1:]) for row in labels.itertuples(index=False)}


WHOLE = rows_of(("ID_000000aaa", ()), ("ID_000000bbb", ("subdural",)), ("ID_000000ccc", ("epidural", "subarachnoid")))


@pytest.fixture
def read(tmp_path):
    """Read a text as a label file."""

    def reading(text):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path)

    return reading


def refused(read, text):
    """Give the message that a text is refused with; it must name the file."""
    with pytest.raises(InputError) as caught:
        read(text)
    assert "labels.csv: " in str(caught.value)
    return str(caught.value)


def test_the_order_of_classes_is_that_of_the_paper():
    assert CLASSES == ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    assert (*SUBTYPES, "any") == CLASSES


def test_values_types_and_order(read):
    labels, counts = read(text_of(WHOLE))
    assert as_dict(labels) == {
        "ID_000000aaa": [0, 0, 0, 0, 0, 0],
        "ID_000000bbb": [0, 0, 0, 0, 1, 1],
        "ID_000000ccc": [1, 0, 0, 1, 0, 1],
    }
    assert counts == {"rows": 18, "repeated_rows": 0, "slices": 3}
    assert pa.Table.from_pandas(labels, schema=LABELS_SCHEMA, preserve_index=False).schema.equals(LABELS_SCHEMA)
    assert (labels.dtypes[list(CLASSES)] == np.uint8).all()
    assert list(labels.index) == [0, 1, 2]


names = st.text("0123456789abcdef", min_size=1, max_size=9).map("ID_{}".format)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.sets(st.sampled_from(SUBTYPES)), min_size=1, max_size=8), st.randoms(), st.data())
def test_equal_to_a_plain_reading_in_any_order_of_rows(tmp_path_factory, slices, random, data):
    rows = rows_of(*slices.items())
    repeated = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    rows += repeated
    random.shuffle(rows)
    path = tmp_path_factory.getbasetemp() / "shuffled.csv"
    path.write_text(text_of(rows))
    labels, counts = read_labels(path)
    assert as_dict(labels) == plain_reading(text_of(rows))
    assert list(labels["image_id"]) == sorted(slices)
    assert counts == {"rows": len(rows), "repeated_rows": len(repeated), "slices": len(slices)}


def test_many_slices_equal_a_pivot_by_pandas(read):
    generator = np.random.default_rng(0)
    positive = generator.random((5000, 5)) < 0.1
    slices = [
        (f"ID_{number:09x}", tuple(np.array(SUBTYPES)[chosen]))
        for number, chosen in zip(generator.permutation(10**6)[:5000], positive, strict=True)
    ]
    text = text_of(rows_of(*slices))
    table = pd.read_csv(io.StringIO(text))
    table[["image_id", "kind"]] = table["ID"].str.rsplit("_", n=1, expand=True)
    expected = table.pivot(index="image_id", columns="kind", values="Label")[list(CLASSES)]
    labels, _ = read(text)
    assert list(labels["image_id"]) == list(expected.index)
    np.testing.assert_array_equal(labels[list(CLASSES)], expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\n".join(line.replace(",", ',"') + '"' for line in text.split("\n")[1:-1]).join(
            ["ID,Label\n", ""]
        ),
        lambda text: text.replace(",0", ", 0").replace(",1", ",1 "),
        lambda text: "\n".join(",".join(["x", *reversed(line.split(","))]) for line in text.splitlines()),
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "no last line end", "quoted", "spaces", "other columns and order"],
)
def test_the_same_file_written_otherwise(read, change):
    expected, counts = read(text_of(WHOLE))
    found, found_counts = read(change(text_of(WHOLE)))
    pd.testing.assert_frame_equal(found, expected)
    assert found_counts == counts


def test_a_slice_keeps_underscores_in_its_name(read):
    labels, _ = read(text_of(rows_of(("my_own_scan_7", ("subdural",)))))
    assert as_dict(labels) == {"my_own_scan_7": [0, 0, 0, 0, 1, 1]}


def test_stage_1_lists_the_classes_in_another_order_and_repeats_nothing(read):
    order = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    rows = sorted(
        WHOLE, key=lambda row: (row[0].rsplit("_", 1)[0], order.index(row[0].rsplit("_", 1)[1])), reverse=True
    )
    labels, counts = read(text_of(rows))
    assert as_dict(labels) == plain_reading(text_of(WHOLE))
    assert counts["repeated_rows"] == 0


def test_slices_listed_twice_count_once(read):
    labels, counts = read(text_of([*WHOLE, *WHOLE[6:12], *WHOLE[6:12], WHOLE[0]]))
    assert as_dict(labels) == plain_reading(text_of(WHOLE))
    assert counts == {"rows": 31, "repeated_rows": 13, "slices": 3}


@pytest.mark.parametrize("label", ["2", "-1", "", "0.5", "1.0", "yes", "nan", "01"])
def test_a_label_that_is_not_0_or_1(read, label):
    message = refused(read, text_of([*WHOLE[:4], (WHOLE[4][0], label), *WHOLE[5:]]))
    assert "1 labels that are neither 0 nor 1, such as ID_000000aaa_subdural;" in message


@pytest.mark.parametrize(
    "name",
    ["ID_000000ddd", "ID_000000ddd_", "ID_000000ddd_Subdural", "ID_000000ddd_subdural ", "_subdural", "subdural", "x"],
)
def test_a_malformed_id(read, name):
    message = refused(read, text_of([*WHOLE, (name, 0)]))
    assert f"1 malformed IDs, such as {name};" in message
    assert "epidural, intraparenchymal, intraventricular, subarachnoid, subdural, any" in message


def test_an_empty_id(read):
    assert "1 malformed IDs" in refused(read, text_of([*WHOLE, ("", 0)]))


def test_only_the_first_five_are_named(read):
    rows = [(f"broken{number}", 0) for number in range(9, 0, -1)]
    message = refused(read, text_of([*WHOLE, *rows]))
    assert "9 malformed IDs, such as broken1, broken2, broken3, broken4, broken5;" in message


@pytest.mark.parametrize("first", [0, 1])
def test_duplicates_that_contradict_each_other(read, first):
    rows = [*WHOLE[:4], ("ID_000000aaa_subdural", first), *WHOLE[5:], ("ID_000000aaa_subdural", 1 - first)]
    assert "1 labels that contradict each other, such as ID_000000aaa_subdural;" in refused(read, text_of(rows))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_without_row(read, kind):
    rows = [row for row in WHOLE if row[0] != f"ID_000000bbb_{kind}"]
    assert f"1 labels missing, such as ID_000000bbb_{kind};" in refused(read, text_of(rows))


@pytest.mark.parametrize("image", ["ID_000000aaa", "ID_000000bbb"])
def test_any_must_be_what_the_subtypes_say(read, image):
    rows = [(name, 1 - label if name == f"{image}_any" else label) for name, label in WHOLE]
    message = refused(read, text_of(rows))
    assert f"1 slices whose `any` is not what the five subtypes say, such as {image};" in message


@pytest.mark.parametrize("positive", list(itertools.product([0, 1], repeat=5)))
def test_any_is_checked_for_each_combination(read, positive):
    chosen = tuple(name for name, one in zip(SUBTYPES, positive, strict=True) if one)
    labels, _ = read(text_of(rows_of(("ID_000000aaa", chosen))))
    assert as_dict(labels) == {"ID_000000aaa": [*positive, int(any(positive))]}


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("ID,label", "no column Label among ID, label"),
        ("Id,Label", "no column ID among Id, Label"),
        ("a,b", "no column ID"),
    ],
)
def test_a_missing_column(read, header, missing):
    message = refused(read, text_of(WHOLE).replace("ID,Label", header))
    assert missing in message
    assert "must have the columns ID and Label" in message


def test_both_columns_missing_are_named_at_once(read):
    assert "no column ID and no column Label among a, b" in refused(read, "a,b\n1,2\n")


def test_a_column_that_stands_there_twice(read):
    assert "more than one column ID;" in refused(read, "ID,ID,Label\nID_1_any,ID_1_any,0\n")


@pytest.mark.parametrize(
    "text", ["", "\n", "ID,Label", "ID,Label\n"], ids=["nothing", "line end", "header", "header line"]
)
def test_an_empty_file(read, text):
    refused(read, text)


@pytest.mark.parametrize(
    "text",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"ID,Label\n\xff\xfe\xfd_any,0\n",
        b"ID,Label\nID_1_any,0\nID_2_any\n",
        b"\0" * 64,
    ],
    ids=["PNG", "not UTF-8", "ragged", "zeros"],
)
def test_what_is_no_csv(read, text):
    refused(read, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: there is no such file; .*data\.labels"):
        read_labels(tmp_path / "nowhere.csv")


def test_a_folder_is_no_label_file(tmp_path):
    with pytest.raises(InputError, match="not a table"):
        read_labels(tmp_path)
