import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def little_to_collect():
    """accelerate collects garbage at the end of each training; here not among what earlier tests have imported."""
    gc.collect()
    gc.freeze()
