# One job trains one experiment; another uses it to predict one set.


rule pretrained:
    output:
        "<results>/weights/{model}.safetensors",
    log:
        "<logs>/pretrained/{model}.log",
    benchmark:
        "<benchmarks>/pretrained/{model}.tsv"
    localrule: True  # compute nodes often have no network
    conda:
        ENVIRONMENT
    params:
        address=lambda wildcards: CONFIG.imagenet.get(wildcards.model),
        code=code("pretrained"),
    script:
        "../scripts/pretrained.py"


rule train:
    input:
        unpack(experiment_cache),
        cohort="<results>/data/cohort.parquet",
        weights=initial_weights,
        chosen=chosen_values,
    output:
        weights="<results>/models/{experiment}/weights.safetensors",
        history="<results>/models/{experiment}/history.csv",
        facts="<results>/models/{experiment}/model.json",
    log:
        "<logs>/train/{experiment}.log",
    benchmark:
        "<benchmarks>/train/{experiment}.tsv"
    conda:
        ENVIRONMENT
    threads: lambda wildcards: 8 * CONFIG.experiments[wildcards.experiment].gpus
    resources:
        mem_mb=32000,
        runtime=1440,
        gpu=lambda wildcards: CONFIG.experiments[wildcards.experiment].gpus,
        checkpoint_minutes=10,  # between checkpoints within an epoch
        cache_copy="",  # a folder on the node's fast local disk, such as $TMPDIR, to copy the cache to
    params:
        settings=training_settings,
        resume=lambda wildcards: f"{CONFIG.results}/resume/{wildcards.experiment}",
        events=lambda wildcards: f"{CONFIG.results}/logs/tensorboard/{wildcards.experiment}",
        code=code("train"),
    script:
        "../scripts/train.py"


rule predict:
    input:
        unpack(experiment_cache),
        cohort="<results>/data/cohort.parquet",
        weights="<results>/models/{experiment}/weights.safetensors",
        facts="<results>/models/{experiment}/model.json",
    output:
        "<results>/predictions/{experiment}/{part}.parquet",
    log:
        "<logs>/predict/{experiment}/{part}.log",
    benchmark:
        "<benchmarks>/predict/{experiment}/{part}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=1,
    params:
        code=code("predict"),
    script:
        "../scripts/predict.py"
