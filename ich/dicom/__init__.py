"""DICOM files: sources, headers, decoding, pixels in HU, and the closed list of defects."""
