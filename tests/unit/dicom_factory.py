"""Valid DICOM files of any pixel family and transfer syntax, made by pydicom and GDCM, in the RSNA files' layout."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import gdcm
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
WHOLE_DATASET = (*NATIVE, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1)
SYNTAXES = (*WHOLE_DATASET, *COMPRESSED)


def dicom_bytes(pixels=None, syntax=ExplicitVRLittleEndian, **elements):
    """Make a file.

    Parameters
    ----------
    pixels : integer array [row, column], optional
        Stored values, all bits of them; the type says what BitsAllocated and PixelRepresentation are.
    syntax : str
        Transfer syntax.
    elements
        By keyword, over the default ones; None leaves an element out.

    Returns
    -------
    bytes
    """
    pixels = np.arange(20, dtype=np.int16).reshape(4, 5) if pixels is None else np.asarray(pixels)
    bits = pixels.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = syntax if syntax in WHOLE_DATASET else ExplicitVRLittleEndian
    values = {
        "SOPInstanceUID": "ID_0123abcde",
        "Modality": "CT",
        "PatientID": "ID_0000000a",
        "StudyInstanceUID": "ID_000000000a",
        "SeriesInstanceUID": "ID_00000000aa",
        "StudyID": "",
        "ImagePositionPatient": [-125.0, -123.75, 90.5],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "PixelSpacing": [0.5, 0.5],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "WindowCenter": 40,
        "WindowWidth": 80,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "PixelData": pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes(),
    }
    values |= elements
    values = {"HighBit": (values["BitsStored"] or bits) - 1, **values}
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        if syntax == JPEGLosslessSV1:
            dataset = _jpeg_lossless(dataset)
        elif syntax not in WHOLE_DATASET:
            dataset.compress(syntax, generate_instance_uid=False)
        return _written(dataset)


def write_dicom(path, *arguments, **options):
    """Make a file on the disk, in a folder that is made if it is missing, and give its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(*arguments, **options))
    return path


def slice_elements(patient, number, position=None, **elements):
    """Name the elements that tell one slice of a patient from another."""
    return {
        "SOPInstanceUID": f"ID_{patient:04x}{number:05x}",
        "PatientID": f"ID_{patient:08x}",
        "StudyInstanceUID": f"ID_{patient:010x}",
        "SeriesInstanceUID": f"ID_{patient:010x}",
        "ImagePositionPatient": [0.0, 0.0, 5.0 * number] if position is None else position,
        **elements,
    }


def _written(dataset):
    """Give the bytes of a file as RSNA's are: with preamble; the illegal UIDs stay; no group length where implicit."""
    file = BytesIO()
    explicit = dataset.file_meta.TransferSyntaxUID != ImplicitVRLittleEndian
    if explicit:
        dataset.file_meta.FileMetaInformationGroupLength = 0  # the right number is put in
    dataset.preamble = bytes(128)
    pydicom.dcmwrite(file, dataset, enforce_file_format=False)
    return file.getvalue()


def _jpeg_lossless(dataset):
    """Compress by GDCM: pydicom has no encoder of this syntax."""
    with TemporaryDirectory() as folder:
        name = str(Path(folder) / "image.dcm")
        Path(name).write_bytes(_written(dataset))
        reader = gdcm.ImageReader()
        reader.SetFileName(name)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(name)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        encoded = pydicom.dcmread(BytesIO(Path(name).read_bytes()))
    dataset["PixelData"] = encoded["PixelData"]
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return dataset
