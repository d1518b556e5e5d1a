# Windowed images of all slices, in shards that allow random access during training.


rule cache:
    input:
        "<results>/data/slices.parquet",
    output:
        images="<results>/cache/{cache}/{shard}.npy",
        sidecar="<results>/cache/{cache}/{shard}.json",
    log:
        "<logs>/cache/{cache}/{shard}.log",
    benchmark:
        "<benchmarks>/cache/{cache}/{shard}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        windows=lambda wildcards: CONFIG.cache_windows(wildcards.cache),
        size=lambda wildcards: CONFIG.caches[wildcards.cache].size,
        code=code("cache"),
    script:
        "../scripts/cache.py"


rule quarantine:
    input:
        tables=expand("<results>/data/quarantine/{stage}.csv", stage=["slices", "cohort"]),
        sidecars=expand("<results>/cache/{cache}/{shard}.json", cache=CONFIG.used_caches(), shard=SHARDS),
    output:
        report(
            "<results>/data/quarantine.csv",
            caption="../report/quarantine.rst",
            category="Cohort",
            labels={"table": "slices left out"},
        ),
    log:
        "<logs>/quarantine.log",
    benchmark:
        "<benchmarks>/quarantine.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=code("quarantine"),
    script:
        "../scripts/quarantine.py"
