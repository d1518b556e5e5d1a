from pathlib import Path

import snakemake as engine

from ich.base import jobs
from ich.base.files import read_parquet
from ich.base.provenance import commit, period, workflow_files
from ich.report.crate import write_crate

jobs.start(snakemake.log[0])
root = Path(snakemake.scriptdir).resolve().parents[1]
write_crate(
    snakemake.output[0],
    root=root,
    workflow_files=workflow_files(root),
    result_files=snakemake.input.results,
    labels=snakemake.input.labels,
    inventory=read_parquet(snakemake.input.inventory),
    commit=commit(root),
    period=period(Path(snakemake.params.benchmarks).rglob("*.tsv")),
    snakemake_version=engine.__version__,
    **snakemake.params.run,
)
