from pathlib import Path

import pandas as pd

from ich.base import jobs
from ich.base.files import read_json, write_text
from ich.base.provenance import commit
from ich.base.version import version
from ich.report.page import render
from ich.report.pictures import gallery, picture, without_paths

jobs.start(snakemake.log[0])
captions = Path(snakemake.scriptdir, "../report")
evaluations = {name: {} for name in snakemake.params.experiments}
for path in map(Path, snakemake.input.evaluations):
    evaluations[path.parent.name][path.stem] = pd.read_csv(path)
configuration = snakemake.params.configuration
if snakemake.params.hash_ids:
    configuration = without_paths(configuration)
page = render(
    comparison=Path(snakemake.input.table).read_text(encoding="utf-8"),
    verdict=Path(snakemake.input.verdict).read_text(encoding="utf-8").strip(),
    classes=pd.read_csv(snakemake.input.classes),
    counts=pd.read_csv(snakemake.input.counts),
    described=pd.read_csv(snakemake.input.characteristics),
    flow=read_json(snakemake.input.flow),
    quarantine=pd.read_csv(snakemake.input.quarantine, keep_default_na=False),
    models=dict(zip(snakemake.params.experiments, map(read_json, snakemake.input.facts), strict=True)),
    evaluations=evaluations,
    pairs=pd.read_csv(snakemake.input.pairs),
    sections={name: [picture(path, captions) for path in snakemake.input[name]] for name in snakemake.params.sections},
    cases={
        name: gallery(folder, snakemake.params.hash_ids)
        for name, folder in zip(snakemake.params.experiments, snakemake.input.case_folders, strict=True)
    },
    searches={
        name: (pd.read_csv(points), picture(figure, captions))
        for name, points, figure in zip(
            snakemake.params.searches, snakemake.input.search[::2], snakemake.input.search[1::2], strict=True
        )
    },
    resources=pd.read_csv(snakemake.input.resources),
    configuration=configuration,
    results=Path(snakemake.output[0]).parents[1],
    version=version(),
    commit=commit(snakemake.scriptdir),
    synthetic=snakemake.params.synthetic,
)
write_text(page, snakemake.output[0])
