import hashlib
from pathlib import Path

import pandas as pd

from ich.base import jobs
from ich.base.files import read_json, write_text
from ich.report.card import card

jobs.start(snakemake.log[0])
inputs = snakemake.input
with Path(inputs.weights).open("rb") as file:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
text = card(
    snakemake.wildcards.experiment,
    facts=read_json(inputs.facts),
    sha256=sha256,
    counts=pd.read_csv(inputs.counts),
    metrics=pd.read_csv(inputs.metrics),
    points=pd.read_csv(inputs.points),
    calibrated=pd.read_csv(inputs.calibration),
    synthetic=snakemake.params.synthetic,
    **snakemake.params.settings,
)
write_text(text, snakemake.output[0])
