import pandas as pd

from ich.base import jobs
from ich.base.files import read_json, write_csv, write_text
from ich.evaluation import comparison
from ich.evaluation.verdict import verdict
from ich.report import tables
from ich.report.figures.comparison import metric_bars
from ich.report.figures.frame import save

jobs.start(snakemake.log[0])
members, synthetic = snakemake.params.members, snakemake.params.synthetic
names = [name for each in members.values() for name in each]
frames = {name: pd.read_csv(path) for name, path in zip(names, snakemake.input.metrics, strict=True)}
facts = {name: read_json(path) for name, path in zip(names, snakemake.input.facts, strict=True)}
frames = {name: frame[frame["unit"] == "slice"] for name, frame in frames.items()}  # the table is the paper's
metrics = {name: comparison.over_seeds([frames[each] for each in trained]) for name, trained in members.items()}
test = pd.read_csv(snakemake.input.counts).query("part == 'test'").iloc[0]

table = comparison.comparison(metrics, facts, members)
several = any(len(trained) > 1 for trained in members.values())
head = tables.caption(synthetic, test["slices"], test["patients"], snakemake.params.confidence, several_seeds=several)
write_csv(table, snakemake.output.csv)
write_text(tables.to_markdown(table, head), snakemake.output.md)
write_text(tables.to_html(table, head), snakemake.output.html)
write_text(tables.to_latex(table, head), snakemake.output.tex)
write_csv(comparison.by_class(metrics), snakemake.output.classes)
pairs = pd.read_csv(snakemake.input.pairs)
write_text(verdict(metrics, pairs, synthetic, members) + "\n", snakemake.output.verdict)
save(
    metric_bars(metrics, synthetic=synthetic),
    snakemake.output.svg,
    snakemake.output.png,
    source=snakemake.output.classes,
    code=snakemake.params.code,
)
