"""The run as a user sees it: ``snakemake --cores all`` makes everything that the last rule asks for.

Paths come from sepclr_neuro.core.layout, settings from config.yaml, computations from the command ``sepclr-neuro``.
"""

import os
import re
import shlex
import sys

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

from sepclr_neuro.config.training import TENSORBOARD
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.jobs import ENDED
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run.resources import Needs
from sepclr_neuro.run.runfiles import atlas_files, cohort_tables, digits_files, workflow_config, write_run_files
from sepclr_neuro.core.runs import PROCESS, resume
from sepclr_neuro.run.plan import write_plan
from sepclr_neuro.run.warm import start_server

min_version("9.27")


# A file given with --configfile stands for config.yaml, it is not merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


try:
    settings = workflow_config(workflow.configfiles, workflow.config_settings.config)
except InputError as error:
    sys.exit(f"{error}")
results = Results(settings.output)
folds = range(settings.splits.count)
if workflow.is_main_process:
    resume(workflow, results, undo=write_run_files(settings, results))

# The command is found beside the Python that runs Snakemake, also where no environment is activated. `logged` shows
# what a command says and keeps it; when the job is stopped, the shell and `tee` stay until the command has saved. The
# last line of a failed job's log is the shell's, who sees it also where a command was killed. By the process that is
# named to it, a command sees when Snakemake itself was killed, and ends too.
in_container = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
beside_python = "" if in_container else f"{shlex.quote(os.path.dirname(sys.executable))}:"
shell.prefix(f"""
set -euo pipefail
export PATH={beside_python}$PATH PYTHONUNBUFFERED=1 {PROCESS}={os.getpid()}
export {TENSORBOARD}={"1" if settings.training.tensorboard else ""}
trap : INT TERM
kept() {{{{ (trap '' INT TERM; exec tee "$@"); }}}}
logged() {{{{ local log=$1 end=0; shift; "$@" 2>&1 | kept "$log" || end=$?
((end == 0)) || echo "{ENDED} $end" | kept -a "$log"; return $end; }}}}
""")


# `sepclr-neuro status` reads which jobs there are. On one machine jobs share a process that has imported what they need;
# on a cluster each one starts by itself.
onstart:
    if workflow.is_main_process:
        write_plan(workflow.dag, results, workflow.configfiles[0])
        if workflow.local_exec:
            start_server()


report: "workflow/report/workflow.rst"


# What jobs need, as Snakemake documents it; seen from workflow/rules. They use what Snakemake itself was started in.
environment = "../../envs/environment-gpu.yaml"


# The image, or a link to it, in the folder in which the run is started; for `--software-deployment-method apptainer` alone.
container: "sepclr_neuro.sif"


# Methods with a salient space, of which there are patterns.
two_spaces = [name for name in settings.methods if settings.for_method(name).adjusts]
# Methods with a loop of training, and those without.
in_epochs = [name for name in settings.methods if settings.for_method(name).settings.trained]
solved = [name for name in settings.methods if name not in in_epochs]


# Memory and time that each job asks for; a profile's own, in `set-resources`, hold instead.
set_by_profile = workflow.resource_settings.overwrite_resources
needs = Needs(settings, results, [rule for rule, asked in set_by_profile.items() if {"gpu", "gres"} & set(asked)])

# Those whose patients are divided into subtypes.
with_subtypes = two_spaces if settings.subtypes.clusters else []


# Threads of a long job: on one machine half of its cores, so that while one job starts or reads, which takes one core,
# another one computes.
half_of_cores = min(8, max(1, (workflow.resource_settings.cores or 16) // 2))


# Seconds each; a cluster job would take longer to start.
localrules:
    all,
    cohort,
    splits,
    digits,
    separation,


wildcard_constraints:
    method="|".join(map(re.escape, settings.methods)),
    fold=r"\d+",


include: "workflow/rules/cohort.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/probing.smk"
include: "workflow/rules/saliency.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/digits.smk"
include: "workflow/rules/separation.smk"


rule all:
    default_target: True
    input:
        rules.tables.output,
        rules.leakage.output,
        expand(results.patterns("{method}"), method=two_spaces),
        expand(results.subtypes("{method}"), method=with_subtypes),
        expand(results.saliency("{method}"), method=settings.methods),
        rules.report.output,
