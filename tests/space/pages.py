"""A served page as `benchmarks.space_soak` asks it, and waiting for what it does in the background."""

import time


class Page:
    """The address of a page that the fixtures serve in this process."""

    def __init__(self, served):
        self.url, self.names = f"{served.url.rstrip('/')}/gradio_api", {}


def eventually(holds, seconds=30):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)
