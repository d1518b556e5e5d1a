from pathlib import Path

import pandas as pd
import torch

from ich import figures, jobs
from ich.cache import Cache
from ich.cases import CASES_COLUMNS, QUALITY, choose, pictures, places, telling_series
from ich.files import read_json, read_parquet, write_csv
from ich.prediction import trained_network

jobs.start(snakemake.log[0])
torch.set_num_threads(snakemake.threads)
cohort = read_parquet(snakemake.input.cohort, part="test")
predictions = read_parquet(snakemake.input.predictions)
where = places(read_parquet(snakemake.input.slices))
points = pd.read_csv(snakemake.input.points)

cache = Cache(snakemake.input.images)
network = trained_network(cache, snakemake.input.weights, read_json(snakemake.input.facts))
chosen = choose(cohort, predictions, points, snakemake.params.number).merge(where, on="image_id")
folder = Path(snakemake.output.folder)
folder.mkdir(parents=True, exist_ok=True)
for name, picture in zip(chosen["picture"], pictures(chosen, cache, network), strict=True):
    comment = figures.origin(folder / name, snakemake.input.predictions, snakemake.params.code)
    picture.save(folder / name, quality=QUALITY, comment=comment)
write_csv(chosen[CASES_COLUMNS], folder / "cases.csv")

patient, uid = telling_series(cohort)
series = cohort.query("patient_id == @patient and series_instance_uid == @uid")
series = series.merge(predictions, on="image_id").merge(where, on="image_id")
figure = figures.along(series, title=snakemake.wildcards.experiment, synthetic=snakemake.params.synthetic)
figures.save(
    figure,
    snakemake.output.series,
    snakemake.output.series_png,
    source=snakemake.input.predictions,
    code=snakemake.params.code,
)
