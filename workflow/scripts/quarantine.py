import pandas as pd

from ich import jobs
from ich.cache import failures
from ich.files import write_csv

jobs.start(snakemake.log[0])
tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in snakemake.input.tables]
write_csv(pd.concat([*tables, failures(snakemake.input.sidecars)], ignore_index=True), snakemake.output[0])
