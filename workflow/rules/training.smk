"""One training for each method and fold, then everybody's representation by each of a method's models."""

no_method = "$^"  # where all methods are of the other kind; an empty text would mean any


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
    wildcard_constraints:
        method="|".join(map(re.escape, in_epochs)) or no_method,
    conda:
        environment
    threads: half_of_cores
    resources:
        mem_mb=needs.memory("train"),
        runtime=needs.minutes("train"),
        nodes=needs.nodes,
        tasks=needs.nodes,
        tasks_per_gpu=0,  # one on each node, however many GPUs that has
    shell:
        "logged {log:q} sepclr-neuro train {input.run:q} --method {wildcards.method} --fold {wildcards.fold}"


# The same of a method without a loop of training, which needs no GPU and other memory: profiles tell them apart.
use rule train as solve with:
    wildcard_constraints:
        method="|".join(map(re.escape, solved)) or no_method,
    threads: min(4, half_of_cores)
    resources:
        mem_mb=needs.memory("solve"),
        runtime=needs.minutes("solve"),


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
        mem_mb=needs.memory("embed"),
        runtime=needs.minutes("embed"),
    shell:
        "logged {log:q} sepclr-neuro embed {input.run:q} --method {wildcards.method}"
