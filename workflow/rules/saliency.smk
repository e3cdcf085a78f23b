"""Which voxels the probes listen to: a map a target and space, in a folder a method."""


rule saliency:
    input:
        run=results.run_file("saliency", "{method}"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
        models=expand(rules.train.output, fold=folds, allow_missing=True),
        coefficients=results.coefficients,
    output:
        report(
            directory(results.saliency("{method}")),
            patterns=["{target}_{space}.png"],
            caption="../report/maps.rst",
            category="Maps",
        ),
    log:
        results.log("saliency", "{method}"),
    benchmark:
        results.benchmark("saliency", "{method}")
    conda:
        environment
    threads: 8
    resources:
        mem_mb=16000,
        runtime=480,
    shell:
        "logged {log:q} sepclr-neuro saliency {input.run:q} --method {wildcards.method}"
