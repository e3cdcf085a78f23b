#!/usr/bin/env python3
"""Stands in for SLURM's `srun`: the tasks of all other nodes run on this machine.

Input goes to all of them, as does its end; output comes by lines. Once a task was killed, all are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    options = dict(each.removeprefix("--").partition("=")[::2] for each in arguments if each.startswith("--"))
    command = [each for each in arguments if not each.startswith("--")]
    on_each = int(options["ntasks-per-node"])
    tasks = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task % on_each)},
        )
        for task in range(int(options["ntasks"]))
    ]
    threading.Thread(target=hand_on, args=(tasks,), daemon=True).start()
    outputs = [threading.Thread(target=join_lines, args=(task,)) for task in tasks]
    for output in outputs:
        output.start()
    for task in tasks:
        if task.wait():
            for other in tasks:
                other.kill()
    for output in outputs:
        output.join()
    return max(abs(task.returncode) for task in tasks)


def hand_on(tasks: list[subprocess.Popen[bytes]]) -> None:
    while content := os.read(0, 2**16):
        for task in tasks:
            task.stdin.write(content)
            task.stdin.flush()
    for task in tasks:
        task.stdin.close()


def join_lines(task: subprocess.Popen[bytes]) -> None:
    for line in task.stdout:
        os.write(1, line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
