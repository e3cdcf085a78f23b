"""Probes of all methods' representations in held-out participants, their tables, and site leakage."""


rule probe:
    input:
        run=results.run_file("probes"),
        cohort=results.cohort,
        splits=results.splits,
        models=expand(
            results.model_folder("{method}", "{fold}") / "model.json",
            method=settings.methods,
            fold=folds,
        ),
        representations=expand(rules.embed.output, method=settings.methods),
    output:
        scores=results.scores,
        predictions=results.predictions,
        coefficients=results.coefficients,
        increments=results.increments,
    log:
        results.log("probe"),
    benchmark:
        results.benchmark("probe")
    conda:
        environment
    threads: needs.threads()
    resources:
        mem_mb=needs.memory("probe"),
        runtime=needs.minutes("probe"),
    shell:
        "logged {log:q} sepclr-neuro probe {input.run:q}"


# Apart from the probes, since maps are made of those alone: another number of permutations, or another name of a target
# in tables, makes none anew.
rule tables:
    input:
        run=results.run_file("tables"),
        cohort=results.cohort,
        splits=results.splits,
        models=rules.probe.input.models,
        representations=rules.probe.input.representations,
        probes=rules.probe.output,
    output:
        verdicts=results.verdicts,
        nulls=results.nulls,
        comparisons=results.table("comparisons", "tsv"),
        confounds=results.table("confounds", "tsv"),
        demographics=results.table("demographics", "tsv"),
        data=results.table(settings.cohort.table_name, "tsv"),
        paper=results.table(f"{settings.cohort.table_name}_paper", "tsv"),
        table=report(
            results.table(settings.cohort.table_name, "md"),
            caption="../report/table.rst",
            category="Probes",
        ),
        latex=results.table(settings.cohort.table_name, "tex"),
        # The paper's table is of one disorder.
        beside=[results.table("beside_published", suffix) for suffix in ("tsv", "md") if settings.cohort.is_published],
    log:
        results.log("tables"),
    benchmark:
        results.benchmark("tables")
    conda:
        environment
    resources:
        mem_mb=needs.memory("tables"),
        runtime=needs.minutes("tables"),
    shell:
        "logged {log:q} sepclr-neuro tables {input.run:q}"


rule leakage:
    input:
        run=results.run_file("leakage"),
        cohort=results.cohort,
        index=results.index,
        grid=results.grid,
        splits=results.splits,
        standardisation=expand(rules.standardise.output, fold=folds),
        models=rules.probe.input.models,
        representations=rules.probe.input.representations,
    output:
        results.table("site_leakage", "tsv"),
    log:
        results.log("leakage"),
    benchmark:
        results.benchmark("leakage")
    conda:
        environment
    threads: needs.threads()
    resources:
        mem_mb=needs.memory("leakage"),
        runtime=needs.minutes("leakage"),
    shell:
        "logged {log:q} sepclr-neuro leakage {input.run:q}"
