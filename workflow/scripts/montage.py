from ich import figures, jobs
from ich.cache import Cache
from ich.cohort import examples
from ich.files import read_parquet

jobs.start(snakemake.log[0])
cache = Cache(snakemake.input.images)
rows = examples(read_parquet(snakemake.input.cohort), without=cache.failed)
images = cache.read(rows["shard"].to_numpy(), rows["row"].to_numpy()).numpy()
windows = [f"{window['name']} ({window['level']:g}, {window['width']:g})" for window in cache.windows]
figure = figures.montage(images, rows["label"].tolist(), windows, synthetic=snakemake.params.synthetic)
figures.save(figure, snakemake.output[0], source=snakemake.input.cohort, code=snakemake.params.code)
