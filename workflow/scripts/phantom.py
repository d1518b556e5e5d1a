from pathlib import Path

from ich.base import jobs
from ich.base.files import writing
from ich.phantom.dataset import generate

jobs.start(snakemake.log[0])
with writing(snakemake.output.dicom):
    generate(
        labels=Path(snakemake.output.labels),
        dicom=Path(snakemake.output.dicom),
        processes=snakemake.threads,
        **snakemake.params.settings,
    )
