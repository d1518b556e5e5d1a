# An image with the pipeline and its locked packages. By default it runs the demo on synthetic data, without network:
#
#   docker build --tag ich .
#   docker run --name demo --network none ich
#   docker cp demo:/ich/results/demo .
#
# On real data, with volumes for the results and for Snakemake's record of them, which belong together:
#
#   docker run --gpus all -v /data/rsna:/ich/data/rsna:ro -v ich-results:/ich/results -v ich-state:/ich/.snakemake \
#     ich snakemake --cores all --resources gpu=1
#
# The base is that of envs/ich.def. The authors have neither built nor run it: they had no Docker that could fetch images.
FROM python:3.11-slim-bookworm

# Packages of a mounted home stay out, as in envs/ich.def; messages appear at once.
ENV PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /ich

# Packages first: an edit of the code then leaves this layer of several GB as it is.
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock

# .dockerignore lets only the workflow's own files through.
COPY . .

# Only what a run writes belongs to its user, the code does not.
RUN useradd --create-home --uid 1000 ich \
    && mkdir --parents data results .snakemake \
    && chown ich:ich data results .snakemake
USER 1000

# What `make demo` runs, without the virtual environment, which an image has no need of.
CMD ["snakemake", "--cores", "all", "--configfile", "config/demo.yaml"]
