from pathlib import Path

from ich.base import jobs
from ich.base.files import write_parquet
from ich.dicom.sources import INVENTORY_SCHEMA, inventory

jobs.start(snakemake.log[0])
write_parquet(inventory([Path(path) for path in snakemake.input]), snakemake.output[0], INVENTORY_SCHEMA)
