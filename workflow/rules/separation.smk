"""How far recipes separate known factors: `snakemake separation`. Nothing else in the workflow needs it."""

from itertools import product


rule separation_cohort:
    input:
        run=results.run_file("separation-cohort", "{cohort}"),
    output:
        best=results.separation_best("{cohort}", "{seed}"),
    log:
        results.log("separation-cohort", "{cohort}", "seed-{seed}"),
    benchmark:
        results.benchmark("separation-cohort", "{cohort}", "seed-{seed}")
    wildcard_constraints:
        cohort="|".join(re.escape(cohort) for cohort in settings.separation.cohorts),
        seed=r"\d+",
    conda:
        environment
    resources:
        mem_mb=needs.memory("separation_cohort"),
        runtime=needs.minutes("separation_cohort"),
    shell:
        "logged {log:q} sepclr-neuro separation-cohort {input.run:q} --cohort {wildcards.cohort} --seed {wildcards.seed}"


rule separation_run:
    input:
        cohort=results.run_file("separation-cohort", "{cohort}"),
        run=results.run_file("separation", "{recipe}"),
        best=results.separation_best("{cohort}", "{seed}"),
    output:
        results.separation_run("{cohort}", "{seed}", "{recipe}"),
    log:
        results.log("separation", "{cohort}", "seed-{seed}", "{recipe}"),
    benchmark:
        results.benchmark("separation", "{cohort}", "seed-{seed}", "{recipe}")
    wildcard_constraints:
        cohort="|".join(re.escape(cohort) for cohort in settings.separation.cohorts),
        recipe="|".join(re.escape(recipe) for recipe in settings.separation.recipes),
        seed=r"\d+",
    conda:
        environment
    resources:
        mem_mb=needs.memory("separation_run"),
        runtime=needs.minutes("separation_run"),
    shell:
        "logged {log:q} sepclr-neuro separation {input.run:q} --cohort {wildcards.cohort} --seed {wildcards.seed}"
        " --recipe {wildcards.recipe}"


rule separation:
    input:
        run=results.run_file("separation"),
        runs=[
            results.separation_run(cohort, seed, recipe)
            for cohort, seed, recipe in product(
                settings.separation.cohorts, settings.separation.seeds, settings.separation.recipes
            )
        ],
    output:
        data=results.separation("separation.tsv"),
        comparisons=results.separation("comparisons.tsv"),
        table=results.separation("separation.md"),
        figure=multiext(str(results.separation("separation")), ".svg", ".png"),
    log:
        results.log("separation-table"),
    benchmark:
        results.benchmark("separation-table")
    conda:
        environment
    shell:
        "logged {log:q} sepclr-neuro separation-table {input.run:q}"
