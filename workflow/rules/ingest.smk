# From files to the cohort: one row per slice, with its labels and its set.

if SYNTHETIC:

    rule phantom:
        output:
            labels=CONFIG.data.labels_path,
            dicom=directory(CONFIG.data.dicom_paths[0]),
        log:
            "<logs>/phantom.log",
        benchmark:
            "<benchmarks>/phantom.tsv"
        conda:
            ENVIRONMENT
        threads: 8
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            settings=canonical(CONFIG.data.synthetic),
            code=code("phantom"),
        script:
            "../scripts/phantom.py"


rule inventory:
    input:
        CONFIG.data.dicom_paths,
    output:
        "<results>/data/inventory.parquet",
    log:
        "<logs>/inventory.log",
    benchmark:
        "<benchmarks>/inventory.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("inventory"),
    script:
        "../scripts/inventory.py"


rule headers:
    input:
        "<results>/data/inventory.parquet",
    output:
        "<results>/data/headers/{shard}.parquet",
    log:
        "<logs>/headers/{shard}.log",
    benchmark:
        "<benchmarks>/headers/{shard}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        shards=CONFIG.shards,
        code=code("headers"),
    script:
        "../scripts/headers.py"


rule labels:
    input:
        CONFIG.data.labels_path,
    output:
        "<results>/data/labels.parquet",
    log:
        "<logs>/labels.log",
    benchmark:
        "<benchmarks>/labels.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
    params:
        code=code("labels"),
    script:
        "../scripts/labels.py"


rule slices:
    input:
        expand("<results>/data/headers/{shard}.parquet", shard=SHARDS),
    output:
        slices="<results>/data/slices.parquet",
        quarantine="<results>/data/quarantine/slices.csv",
    log:
        "<logs>/slices.log",
    benchmark:
        "<benchmarks>/slices.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        shards=CONFIG.shards,
        code=code("slices"),
    script:
        "../scripts/slices.py"


rule cohort:
    input:
        slices="<results>/data/slices.parquet",
        quarantine="<results>/data/quarantine/slices.csv",
        labels="<results>/data/labels.parquet",
    output:
        cohort="<results>/data/cohort.parquet",
        counts="<results>/data/cohort.csv",
        flow="<results>/data/flow.json",
        quarantine="<results>/data/quarantine/cohort.csv",
    log:
        "<logs>/cohort.log",
    benchmark:
        "<benchmarks>/cohort.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=3000,
    params:
        split=canonical(CONFIG.split),
        code=code("cohort"),
    script:
        "../scripts/cohort.py"
