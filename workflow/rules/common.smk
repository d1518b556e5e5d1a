# Shared by the rules. Every cluster job reads this file again: keep slow code and heavy imports out.

import os
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))
# The scripts run as separate processes; this makes them import the package next to this workflow and no other.
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")])))
# By default PyTorch's threads wait for each other in a long busy loop, which makes a step take 20 times as long when
# other processes share the cores; with a short loop they soon sleep (docs/decisions.md has the figures).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from ich.base.errors import InputError
from ich.base.fingerprint import Code
from ich.config.parsing import parse as parse_config
from ich.config.section import canonical

try:
    CONFIG = parse_config(config)
except InputError as error:
    sys.exit(str(error))

CODE = Code(ROOT)
ENVIRONMENT = "../../envs/ich.yaml"  # relative to the rule files
SHARDS = [f"{shard:04d}" for shard in range(CONFIG.shards)]
SYNTHETIC = CONFIG.data.synthetic is not None
PARTS = ["validation", "test"]  # the sets that are predicted
SEARCHES = CONFIG.searches()
POINTS = [(name, point) for name, search in SEARCHES.items() for point in search.points()]

if not SYNTHETIC:
    for path in [CONFIG.data.labels_path, *CONFIG.data.dicom_paths]:
        if not Path(path).exists():
            sys.exit(
                f"{path} does not exist. In config.yaml, or in a file laid over it with --configfile, write the folder "
                "of the data set as data.root; `make demo` runs on synthetic data instead."
            )

# Only a warning, since dry runs and reports only read. In a real run Snakemake names the file, but not what to do.
results = Path(CONFIG.results).absolute()
if not os.access(next(folder for folder in [results, *results.parents] if folder.exists()), os.W_OK):
    logger.warning(f"{results} cannot be written to. Make it writable, or write another folder as `results`.")


wildcard_constraints:
    cache="|".join(CONFIG.caches),
    experiment="|".join(CONFIG.experiments),
    part="|".join(PARTS),
    point="|".join(re.escape(point) for _, point in POINTS) or "(?!)",  # matches nothing
    search="|".join(SEARCHES) or "(?!)",
    shard=r"\d{4}",


def code(rule, parts=None):
    """Hash of a rule's script and of all in the package that it depends on."""
    return CODE.hash(rule, parts)


def cache_shards(cache):
    """All files of a cache."""
    return dict(
        images=expand("<results>/cache/{cache}/{shard}.npy", cache=cache, shard=SHARDS),
        sidecars=expand("<results>/cache/{cache}/{shard}.json", cache=cache, shard=SHARDS),
    )


def experiment_cache(wildcards):
    """All files of the cache that an experiment uses."""
    return cache_shards(CONFIG.experiments[wildcards.experiment].cache)


def weights_of(experiment):
    """The file with the weights that trainings of an experiment start from, if any."""
    if experiment.weights == "imagenet":
        return f"<results>/weights/{experiment.model}.safetensors"
    return [] if experiment.weights == "none" else experiment.weights


def initial_weights(wildcards):
    """The file with the weights that a training starts from, if any."""
    return weights_of(CONFIG.experiments[wildcards.experiment])


def chosen_values(wildcards):
    """The file with the values that a search chose for a training, if it uses any."""
    search = CONFIG.search_of(wildcards.experiment)
    return f"<results>/search/{search}/chosen.json" if search else []


def training_settings(wildcards):
    """Settings that a training job depends on, besides its inputs."""
    return CONFIG.training_settings(wildcards.experiment)


def search_cache(wildcards):
    """All files of the cache that a search uses."""
    return cache_shards(SEARCHES[wildcards.search].cache)


def search_patients(wildcards):
    """Which patients the grid points of a search are trained on."""
    return {key: canonical(SEARCHES[wildcards.search].search)[key] for key in ("train", "validation", "seed")}


def figure(path, category, name):
    """A figure of the report; its caption has the file's name."""
    by_name = {name: f"{{{name}}}" for name in ("experiment", "search") if f"{{{name}}}" in path}
    return report(
        path,
        caption=f"../report/{Path(path).stem}.rst",
        category=category,
        labels={"figure": name, **by_name},
    )


def evaluation_figures(names):
    """Figures of each experiment for the report."""
    return expand("<results>/evaluation/{experiment}/{name}.svg", experiment=CONFIG.experiments, name=names)
