from ich.base import jobs
from ich.base.files import read_json, write_csv, write_json
from ich.base.settings import nested
from ich.report.figures.frame import save
from ich.report.figures.training import search
from ich.training.search import table

jobs.start(snakemake.log[0])
points = snakemake.params.points
measured = dict(zip(points, map(read_json, snakemake.input), strict=True))
results = table(points, measured)
write_csv(results, snakemake.output.points)
write_json(nested(points[results.loc[results["chosen"], "point"].item()]), snakemake.output.chosen)
figure = search(results, snakemake.params.grid, title=snakemake.wildcards.search, synthetic=snakemake.params.synthetic)
save(figure, snakemake.output.svg, snakemake.output.png, source=snakemake.output.points, code=snakemake.params.code)
