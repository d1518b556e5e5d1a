from ich.base import jobs
from ich.base.files import read_parquet
from ich.cohort.cohort import examples
from ich.images.cache import Cache
from ich.report.figures.cohort import montage
from ich.report.figures.frame import save

jobs.start(snakemake.log[0])
cache = Cache(snakemake.input.images)
rows = examples(read_parquet(snakemake.input.cohort), without=cache.failed)
images = cache.read(rows["shard"].to_numpy(), rows["row"].to_numpy()).numpy()
windows = [f"{window['name']} ({window['level']:g}, {window['width']:g})" for window in cache.windows]
figure = montage(images, rows["label"].tolist(), windows, synthetic=snakemake.params.synthetic)
save(figure, snakemake.output[0], source=snakemake.input.cohort, code=snakemake.params.code)
