from pathlib import Path

import pandas as pd
import torch

from ich.base import jobs
from ich.base.files import read_json, read_parquet, write_csv
from ich.evaluation.cases import CASES_COLUMNS, QUALITY, choose, pictures, places, telling_series
from ich.images.cache import Cache
from ich.prediction.predict import trained_network
from ich.report.figures.cases import along
from ich.report.figures.frame import origin, save

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
    comment = origin(folder / name, snakemake.input.predictions, snakemake.params.code)
    picture.save(folder / name, quality=QUALITY, comment=comment)
write_csv(chosen[CASES_COLUMNS], folder / "cases.csv")

patient, uid = telling_series(cohort)
series = cohort.query("patient_id == @patient and series_instance_uid == @uid")
series = series.merge(predictions, on="image_id").merge(where, on="image_id")
figure = along(series, title=snakemake.wildcards.experiment, synthetic=snakemake.params.synthetic)
save(
    figure,
    snakemake.output.series,
    snakemake.output.series_png,
    source=snakemake.input.predictions,
    code=snakemake.params.code,
)
