"""What a Ray session of ours leaves on the screen: nothing."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

A_WORKER_DIES = """
import os, threading
from tuner.search.session import ray_session
import ray
from ray._private import worker

arrived = threading.Event()
as_ray_prints = worker.print_to_stdstream

def printed(*arguments, **settings):
    as_ray_prints(*arguments, **settings)
    arrived.set()

worker.print_to_stdstream = printed

@ray.remote(max_retries=0)
def die():
    os.kill(os.getpid(), 9)

with ray_session():
    try:
        ray.get(die.remote())
    except ray.exceptions.WorkerCrashedError:
        print("it died")
    assert arrived.wait(60), "Ray had nothing to say"
"""


def test_what_ray_says_of_a_dead_worker_does_not_reach_the_screen(ray_folder):
    environment = {**os.environ, "RAY_TMPDIR": ray_folder}
    command = [sys.executable, "-c", A_WORKER_DIES]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert (outcome.returncode, outcome.stdout) == (0, "it died\n"), outcome.stderr
