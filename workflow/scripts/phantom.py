from pathlib import Path

from ich import jobs
from ich.phantom import generate

jobs.start(snakemake.log[0])
generate(
    labels=Path(snakemake.output.labels),
    dicom=Path(snakemake.output.dicom),
    processes=snakemake.threads,
    **snakemake.params.settings,
)
