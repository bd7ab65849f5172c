"""How a command's process ends."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tuner.campaign.reading", "torchvision"])
def test_nothing_is_printed_at_the_exit_whatever_was_imported(module):
    code = f"from tuner.commands.garbage import collect_rarely\ncollect_rarely()\nimport {module}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
