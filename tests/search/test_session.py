"""What a Ray session of ours leaves: nothing on the screen, and the process that it ran in."""

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


THREADS_COLLECT = """
import gc, threading
from tuner.search.session import ray_session
import ray

class Left:  # as Ray Tune leaves its references: where only a collection finds them
    def __init__(self, reference):
        self.itself, self.reference = self, reference

def work():
    while not ended.is_set():
        if left:
            left.pop()
        [[] for _ in range(1000)]

ended = threading.Event()
thread = threading.Thread(target=work)
with ray_session():
    left = [Left(ray.put(number)) for number in range(3000)]
    gc.set_threshold(100)
    thread.start()
ended.set()
thread.join()
print("on" if gc.isenabled() else "off")
"""


def printed_by(script: str, ray_folder: str) -> str:
    outcome = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RAY_TMPDIR": ray_folder},
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_what_ray_says_of_a_dead_worker_does_not_reach_the_screen(ray_folder):
    assert printed_by(A_WORKER_DIES, ray_folder) == "it died\n"


def test_garbage_that_another_thread_would_collect_does_not_end_the_process_while_ray_shuts_down(ray_folder):
    assert printed_by(THREADS_COLLECT, ray_folder) == "on\n"
