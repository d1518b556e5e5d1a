from pathlib import Path

from ich import jobs
from ich.dicom import INVENTORY_SCHEMA, inventory
from ich.files import write_parquet

jobs.start(snakemake.log[0])
write_parquet(inventory([Path(path) for path in snakemake.input]), snakemake.output[0], INVENTORY_SCHEMA)
