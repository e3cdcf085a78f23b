#!/usr/bin/env python3
"""Hands a job of Snakemake to LSF, and prints its number. Any Python from 3.7 on runs it.

Resources that it knows: mem_mb, runtime, gpu, queue, gpu_queue, account, options.
"""

import json
import os
import re
import shlex
import subprocess
import sys

FOLDER = ".snakemake/cluster"  # what jobs say


def main(path: str) -> None:
    with open(path) as file:
        script = file.read()
    job = json.loads(script.partition("# properties = ")[2].partition("\n")[0])
    asks = job["resources"]
    on_gpu = bool(asks.get("gpu"))
    folder = os.path.abspath(FOLDER)
    os.makedirs(folder, exist_ok=True)
    command = ["bsub", "-J", job.get("rule", job.get("groupid")), "-n", str(job["threads"]), "-R", "span[hosts=1]"]
    # With the unit, since sites choose another one than KB for a plain number.
    command += ["-R", f"rusage[mem={asks['mem_mb']}MB]", "-M", f"{asks['mem_mb']}MB", "-W", str(asks["runtime"])]
    command += ["-o", f"{folder}/%J.out"]
    if on_gpu:
        command += ["-gpu", f"num={asks['gpu']}"]
    queue = asks.get("gpu_queue") if on_gpu else asks.get("queue")
    if queue:
        command += ["-q", queue]
    if asks.get("account"):
        command += ["-P", asks["account"]]
    command += shlex.split(asks.get("options", ""))
    done = subprocess.run(command, input=script, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"refused, as {command[0]} says above: {' '.join(map(shlex.quote, command))}")
    number = re.search(r"Job <(\d+)>", done.stdout)
    if number is None:
        sys.exit(f"bsub said no number of the job: {done.stdout}")
    print(number[1])


if __name__ == "__main__":
    main(sys.argv[1])
