import pandas as pd

from ich.base import jobs
from ich.base.files import write_csv
from ich.images.cache import failures

jobs.start(snakemake.log[0])
tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in snakemake.input.tables]
write_csv(pd.concat([*tables, failures(snakemake.input.sidecars)], ignore_index=True), snakemake.output[0])
