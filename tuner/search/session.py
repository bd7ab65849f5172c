"""Where the workers come from: a Ray of our own on this machine, or one that runs already."""

import gc
import logging
import os
import secrets
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._raylet import AuthenticationTokenLoader
from ray.exceptions import RayError

from tuner.campaign.faults import DocumentError, Fault

OWN = "local"
"""The address of a Ray that is started for this run, and ends with it."""

CONNECT_SECONDS = 10.0
"""Ray itself takes minutes to give an address up."""


@contextmanager
def ray_session(address: str = OWN) -> Iterator[None]:
    """A Ray of our own, or the one at an address: no dashboard, nothing of its output on the screen.

    Our own listens on the loopback address alone (see `tuner.search`) and wants a token that nobody else has.

    Args:
        address: `local`, `auto` for the Ray of this machine, or HOST:PORT of a cluster that this machine is part of.
    Raises:
        DocumentError: there is no Ray at the address, or it does not let us in.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a trial without a GPU sees none
    # No processes in advance: Ray Tune does not use them, since its workers have environment variables of their own.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    with _own_token() if address == OWN else _joining(address):
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    # A lost worker is a traceback to Ray Tune, and a paragraph to Ray; here its trial goes on, or ends with one line of
    # our own. Ray prints what its nodes say whatever `log_to_driver` is; the switch is the one that its debugger uses.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        with _no_garbage():
            ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


@contextmanager
def _no_garbage() -> Iterator[None]:
    """What nobody holds any more is gone, and no thread looks for more of it.

    Ray Tune leaves references to Ray's objects in cycles. Where any thread, such as one that imports MLflow, happens to
    collect one while Ray shuts down, Ray ends the process at once, with exit code 1.
    """

    class Cycle:
        def __init__(self):
            self.itself = self

    enabled = gc.isenabled()
    gc.disable()  # no thread begins a search
    try:
        collected = weakref.ref(Cycle())
        while collected():  # not while another thread, in the middle of one, keeps us from ours
            gc.collect()
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _own_token() -> Iterator[None]:
    """A fresh token for the Ray that is started in here, unless the user has one of their own.

    Ray's default would be one for ever, in the home folder. This one is in the environment of Ray's processes, where
    only their user can read it, and in no file; what else this process starts does not inherit it.
    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        yield
        return
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    AuthenticationTokenLoader.instance().reset_cache()  # of an earlier session of this process
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN"]


@contextmanager
def _joining(address: str) -> Iterator[None]:
    """Turns Ray's ways of not being there into one sentence."""
    AuthenticationTokenLoader.instance().reset_cache()
    if "://" in address:
        raise _refusal(
            f'"{address}" is no address that a driver can join. Give HOST:PORT of the head node (usually port 6379), '
            "or `auto` on a node of the cluster; from outside, use `ray job submit --address http://HEAD:8265`."
        )
    try:
        if ":" in address:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        yield
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise _refusal(
            f'no Ray can be joined at "{address}": {" ".join(str(error).split()).rstrip(".")}. Is it running, is this '
            "machine one of its nodes, and if it wants a token, is RAY_AUTH_MODE=token set, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH to the cluster's own?"
        ) from error


def _refusal(sentence: str) -> DocumentError:
    return DocumentError([Fault("--address", "", sentence)])
