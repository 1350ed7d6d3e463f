"""A test and the processes that it starts compute on equal threads: only then are equal bits promised."""

import os
import subprocess
import sys

import pytest
import torch

from tests.hub.server import serving


@pytest.mark.slow
def test_a_process_computes_on_the_threads_of_its_test(tmp_path):
    with serving() as server:
        for environment in (None, server.environment(tmp_path)):
            command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            assert int(done.stdout) == torch.get_num_threads() == int(os.environ["HF_LATENT_TEST_THREADS"])
