"""One training a method and fold, then everybody's representation by each of a method's models."""


# Checkpoints are no outputs: Snakemake deletes the outputs of a job that it starts again, and a training that was
# stopped goes on from its checkpoint.
rule train:
    input:
        run=results.run_file("training", "{method}"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=rules.standardise.output,
    output:
        results.model_folder("{method}", "{fold}") / "model.safetensors",
        results.model_folder("{method}", "{fold}") / "model.json",
        results.model_folder("{method}", "{fold}") / "history.tsv",
    log:
        results.log("train", "{method}", "fold-{fold}"),
    benchmark:
        results.benchmark("train", "{method}", "fold-{fold}")
    conda:
        environment
    threads: half_of_cores
    resources:
        mem_mb=16000,
        runtime=1440,
    shell:
        "logged {log:q} sepclr-neuro train {input.run:q} --method {wildcards.method} --fold {wildcards.fold}"


rule embed:
    input:
        run=results.run_file("embedding", "{method}"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
        models=expand(rules.train.output, fold=folds, allow_missing=True),
    output:
        expand(results.representations("{method}", "{fold}"), fold=folds, allow_missing=True),
    log:
        results.log("embed", "{method}"),
    benchmark:
        results.benchmark("embed", "{method}")
    conda:
        environment
    threads: half_of_cores
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "logged {log:q} sepclr-neuro embed {input.run:q} --method {wildcards.method}"
