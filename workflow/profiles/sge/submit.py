#!/usr/bin/env python3
"""Hands a job of Snakemake to Grid Engine, and prints its number. Any Python from 3.7 on runs it.

Resources that it knows: mem_mb, runtime, gpu, queue, gpu_queue, account, options, parallel_environment.
"""

import json
import os
import shlex
import subprocess
import sys

FOLDER = ".snakemake/cluster"  # what jobs say, and how they ended


def main(path: str) -> None:
    with open(path) as file:
        script = file.read()
    job = json.loads(script.partition("# properties = ")[2].partition("\n")[0])
    asks = job["resources"]
    on_gpu = bool(asks.get("gpu"))
    folder = os.path.abspath(FOLDER)
    os.makedirs(folder, exist_ok=True)
    threads = job["threads"]
    name = job.get("rule", job.get("groupid"))
    command = ["qsub", "-terse", "-V", "-cwd", "-S", "/bin/sh", "-N", name, "-j", "y", "-o", folder]
    if threads > 1:
        command += ["-pe", asks["parallel_environment"], str(threads)]
    # Memory is counted a core; GPUs are counted a job, where your site defines them so (`qconf -sc`).
    command += ["-l", f"h_vmem={-(-asks['mem_mb'] // threads)}M", "-l", f"h_rt={60 * int(asks['runtime'])}"]
    if on_gpu:
        command += ["-l", f"gpu={asks['gpu']}"]
    queue = asks.get("gpu_queue") if on_gpu else asks.get("queue")
    if queue:
        command += ["-q", queue]
    if asks.get("account"):
        command += ["-P", asks["account"]]
    command += shlex.split(asks.get("options", ""))
    # The exit status is kept, since Grid Engine forgets jobs that have ended.
    ended = f'{shlex.quote(folder)}/"$JOB_ID"'
    keep = f"code=$?; echo $code > {ended}.part; mv {ended}.part {ended}.exit; exit $code"
    wrapped = f"#!/bin/sh\n(\n{script}\n)\n{keep}\n"
    done = subprocess.run(command, input=wrapped, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"refused, as {command[0]} says above: {' '.join(map(shlex.quote, command))}")
    print(done.stdout.split()[0])


if __name__ == "__main__":
    main(sys.argv[1])
