"""The closed list of what can be wrong with a file."""

DEFECTS = {
    "not DICOM": "The file does not begin as DICOM files do (PS3.10, section 7.1). Remove it, or ignore this line.",
    "unreadable header": "The header cannot be parsed. Fetch the file again.",
    "unreadable file": "Its bytes cannot be had from the disk or the zip file, or are too many. Fetch the file again.",
    "no pixel data": "The object has no PixelData element, such as a report. Nothing to do.",
    "not CT": "Modality is not CT. Nothing to do.",
    "no identifier": "PatientID or an instance UID is missing. Without them slices can be neither grouped nor split.",
    "colour image": "SamplesPerPixel is not 1: a screenshot or secondary capture. Nothing to do.",
    "several frames": "NumberOfFrames is above 1. Convert enhanced CT to single-frame objects.",
    "unsupported pixel format": "Pixels are not integers of 8, 16 or 32 bits. Export the images as 16-bit integers.",
    "no geometry": "ImagePositionPatient or ImageOrientationPatient is missing or no position. Export the originals.",
    "not axial": "The image plane is more than 45 degrees from axial: a scout or a reformation. Nothing to do.",
    "no rescale": "RescaleSlope or RescaleIntercept is missing or absurd: values have no unit. Export the originals.",
    "truncated": "The file ends before its pixel data does. Fetch the file again.",
    "wrong length": "The length of the pixel data does not fit rows, columns and bits. Fetch the file again.",
    "duplicate SOPInstanceUID": "Another file has this UID; the first by location is used. Remove one of them.",
    "decode error": "The compressed pixels cannot be decoded. Fetch the file again, or convert it.",
    "constant image": "All pixels have one value. Nothing to do.",
}


class Defect(Exception):
    """A slice cannot be used, for one of the reasons in `DEFECTS`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason
