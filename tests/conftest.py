"""What holds for every test: no network, no one else's cache, no window, and a fixed number of threads.

The environment is set before anything can import huggingface_hub or torch, which read it once, at import. Processes
that a test starts inherit it, and so does each worker of pytest-xdist, which then makes a cache of its own.
"""

import atexit
import gc
import os
import shutil
import tempfile

_PRIVATE_HOME = tempfile.mkdtemp(prefix="hf_latent_tests_")
atexit.register(shutil.rmtree, _PRIVATE_HOME, ignore_errors=True)

# These would win over HF_HOME, or send requests (and a user's token) to a server.
for _name in (
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ASSETS_CACHE",
    "HF_DATASETS_CACHE",
    "HF_EVALUATE_CACHE",
    "HF_METRICS_CACHE",
    "HF_MODULES_CACHE",
    "HF_XET_CACHE",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
):
    os.environ.pop(_name, None)

os.environ.update(
    HF_HOME=_PRIVATE_HOME,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)

# Equal bits are promised on equal threads only, as sums are split among threads. So a test and the processes that it
# starts get the same number; one by default, since pytest-xdist already runs a test on each core.
THREADS = os.environ.setdefault("HF_LATENT_TEST_THREADS", "1")
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = THREADS
# Threads that wait for each other sleep: where processes have more threads than there are cores, spinning took ten
# times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["MKL_DYNAMIC"] = "FALSE"  # or MKL, and with it torch, takes no more threads than there are cores

import pytest  # noqa: E402  (the environment comes first)


def pytest_collection_modifyitems(items):
    """The longest files come first: beside the last of them, other workers would have nothing left to do."""
    items.sort(key=lambda item: item.path.parent.name not in ("training", "space", "hub"))


def pytest_collection_finish():
    """accelerate collects garbage at the end of each training, and to look through all that is imported took most of
    the time of a tiny one."""
    gc.freeze()


@pytest.fixture(scope="module")
def one_drawing():
    """Trifeature, and the objects of its scenes, are drawn once for all runs of the same options."""
    from hf_latent.data import trifeature_data, trifeature_scenes
    from tests.downstream import drawn_once, rendered_once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trifeature_data, "load_trifeature", drawn_once)
        patch.setattr(trifeature_scenes, "render", rendered_once)
        yield


@pytest.fixture(scope="session")
def downstream(tmp_path_factory):
    """A folder with a tiny pre-trained LatentALBEF and a run of two steps of each downstream recipe."""
    from tests.downstream import train_all

    return train_all(tmp_path_factory.mktemp("downstream"))


@pytest.fixture
def beside_pretrained(tmp_path, monkeypatch):
    """The working directory has the models that the downstream recipes begin with, with the weights of beginners."""
    from tests.downstream import save_pretrained

    monkeypatch.chdir(save_pretrained(tmp_path))
