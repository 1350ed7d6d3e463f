"""What the Space does under load: its memory over many calls, and how long visitors wait.

    python benchmarks/space_soak.py [RUN ...] [--calls 5000] [--visitors 20] [--seconds 30] [--unread 1400]

Serves the runs in a process of its own, as `hf-latent space` does; without one, small untrained models. Puts calls of
all end points, with varying images and texts, and prints the resident memory of the server. Submits calls without
reading their answers, and prints how long another visitor's next answer takes. Lets visitors ask one call after
another for a while, and prints how many were answered. Only 127.0.0.1 is asked.
"""

import argparse
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

WORDS = (
    "red",
    "blue",
    "green",
    "pink",
    "star",
    "circle",
    "square",
    "letter",
    "photo",
    "stripes",
    "unknown",
    "of",
    "a",
)
SHAPES, COLORS = ("star", "circle", "square"), ("red", "blue", "green")
TEXTURES = ("dots", "solid", "stripes")
PATIENCE = 60  # seconds
# The command `hf-latent space`, with fewer pairs to fit probes on: it starts sooner, and an answer takes as long.
SERVE = """
import sys
from hf_latent.cli import main
from hf_latent.resources import resource_path
sys.path.insert(0, str(resource_path("spaces", "app.py").parent))
import composed
composed.ROWS = 600
sys.exit(main(sys.argv[1:]))
"""


class Server:
    """The page of some runs, in a process of its own.

    Attributes:
        url: Its address.
        names: The end points, each with its parameters as the page describes them.
    """

    def __init__(self, runs: Sequence[str | Path], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ["space", *map(str, runs), "--port", str(port)]
        self.log = log
        with log.open("w", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, *arguments], stdout=output, stderr=subprocess.STDOUT
            )
        self.url = f"http://127.0.0.1:{port}/gradio_api"
        self.names = self._wait()

    def _wait(self) -> dict[str, list[dict[str, Any]]]:
        end = time.monotonic() + 600
        while time.monotonic() < end and self.process.poll() is None:
            try:
                info = httpx.get(f"{self.url}/info", timeout=PATIENCE).json()["named_endpoints"]
                return {name.removeprefix("/"): endpoint["parameters"] for name, endpoint in info.items()}
            except httpx.TransportError:
                time.sleep(0.5)
        self.close()
        raise RuntimeError(f"the page did not start: {self.log.read_text(encoding='utf-8')[-2000:]}")

    def memory(self) -> float:
        """Its resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving(runs: Sequence[str | Path] = ()) -> Iterator[Server]:
    """A server of runs; of small untrained models where none is named."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(runs or small_runs(Path(folder)), Path(folder) / "log.txt")
        try:
            yield server
        finally:
            server.close()


def small_runs(folder: Path) -> list[Path]:
    """Untrained models, for which every tab has something to show."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from tests.space.runs import captions_run, head_runs, pairs_run

    return [captions_run(folder / "captions"), pairs_run(folder / "pairs"), *head_runs(folder / "heads")[:2]]


@dataclass
class Visitor:
    """Puts calls by HTTP, drawn at random from its seed."""

    server: Server
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random, self.client = random.Random(self.seed), httpx.Client(timeout=PATIENCE)
        self.session = uuid.uuid4().hex

    def words(self, count: int) -> str:
        """A text that hardly comes twice."""
        return " ".join([*self.random.choices(WORDS, k=count), str(self.random.randrange(10**6))])

    def image(self) -> dict[str, Any]:
        """An image that was uploaded and comes only once."""
        noise = np.random.default_rng(self.random.randrange(2**32)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((192, 144)).save(buffer := BytesIO(), format="png")
        files = {"files": ("photo.png", buffer.getvalue(), "image/png")}
        path = self.client.post(f"{self.server.url}/upload", files=files).raise_for_status().json()[0]
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def arguments(self, name: str) -> list[Any]:
        """Of a call of one end point."""
        return [self._argument(name, parameter) for parameter in self.server.names[name]]

    def _argument(self, name: str, parameter: Mapping[str, Any]) -> Any:
        choices, kind = parameter["type"].get("enum"), parameter["component"]
        if choices:
            return self.random.choice(choices)
        if kind == "Slider":
            return self.random.randrange(0, 20)
        if kind == "Checkbox":
            return self.random.random() < 0.5
        if kind == "Textbox":
            return "\n".join(self.words(4) for _ in range(3 if name == "ask" else 1))
        return self.image()

    def submit(self, name: str, arguments: Sequence[Any]) -> httpx.Response:
        """Put a call; nobody reads its answer."""
        return self.client.post(f"{self.server.url}/call/{name}", json={"data": list(arguments)})

    def ask(self, name: str, arguments: Sequence[Any]) -> tuple[str, Any]:
        """Put a call and read its answer: `complete` or `error`, and what was told."""
        response = self.submit(name, arguments)
        if response.status_code != 200:
            return "refused", response.json()
        event = response.json()["event_id"]
        with self.client.stream("GET", f"{self.server.url}/call/{name}/{event}") as stream:
            kind = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    return kind, json.loads(line.removeprefix("data: "))
        return "nothing", None

    def random_call(self) -> float:
        """Put one call of any end point; the seconds until it was answered."""
        name = self.random.choice(sorted(self.server.names))
        start = time.monotonic()
        try:
            outcome, told = self.ask(name, self.arguments(name))
        except httpx.HTTPError as error:
            outcome, told = type(error).__name__, str(error)
        self.outcomes[outcome] += 1
        if outcome != "complete":
            self.failures.append(f"{name}: {outcome}: {told}")
        return time.monotonic() - start


def soak(server: Server, calls: int, every: int = 500, visitors: int = 4) -> tuple[dict[int, float], Visitor]:
    """Put calls, and read the memory of the server after each so many; a visitor with the outcomes of all."""
    crowd, memory = [Visitor(server, seed) for seed in range(visitors)], {0: server.memory()}
    with ThreadPoolExecutor(visitors) as pool:
        for done in range(every, calls + 1, every):
            turns = [every // visitors] * visitors
            list(pool.map(lambda visitor, count: [visitor.random_call() for _ in range(count)], crowd, turns))
            memory[done] = server.memory()
            print(f"after {done} calls: {memory[done]:.0f} MB", flush=True)
    return memory, _joined(crowd)


def rush(server: Server, visitors: int, seconds: float) -> tuple[list[float], Visitor]:
    """Visitors that each ask one call after another; the seconds of each call, and a visitor with all outcomes."""
    crowd, end = [Visitor(server, 1000 + seed) for seed in range(visitors)], time.monotonic() + seconds

    def stay(visitor: Visitor) -> list[float]:
        waits = []
        while time.monotonic() < end:
            waits.append(visitor.random_call())
        return waits

    with ThreadPoolExecutor(visitors) as pool:
        waits = list(itertools.chain(*pool.map(stay, crowd)))
    return waits, _joined(crowd)


def unread(server: Server, calls: int, session: str) -> tuple[float, Counter[int]]:
    """Submit calls of which no answer is read; the seconds until another visitor's next answer, and the status codes.

    Args:
        session: "none", calls without a session; "one", all in one; "each", each in its own.
    """
    flood, codes = Visitor(server, 7), Counter[int]()
    fns = {fn["api_name"]: fn["id"] for fn in httpx.get(f"{server.url[:-11]}/config").json()["dependencies"]}
    names = sorted(server.names)
    asked = {name: flood.arguments(name) for name in names}
    for number in range(calls):
        name = names[number % len(names)]
        if session == "none":
            response = flood.submit(name, asked[name])
        else:
            own = flood.session if session == "one" else uuid.uuid4().hex
            body = {"data": asked[name], "fn_index": fns[name], "session_hash": own}
            response = flood.client.post(f"{server.url}/queue/join", json=body)
        codes[response.status_code] += 1
    visitor, waits = Visitor(server, 8), []
    for name in names:
        arguments, start = visitor.arguments(name), time.monotonic()
        outcome, told = visitor.ask(name, arguments)
        if outcome != "complete":
            raise RuntimeError(f"after {calls} unread calls {name} was not answered: {told}")
        waits.append(time.monotonic() - start)
    return max(waits), codes


def _joined(crowd: Sequence[Visitor]) -> Visitor:
    first, *rest = crowd
    for visitor in rest:
        first.outcomes += visitor.outcomes
        first.failures += visitor.failures
    return first


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    for name, default in (("calls", 5000), ("visitors", 20), ("seconds", 30), ("unread", 1400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    with serving(options.runs) as server:
        print(f"serving: {server.memory():.0f} MB")
        _, outcomes = soak(server, options.calls)
        print(f"outcomes: {dict(outcomes.outcomes)}", *outcomes.failures[:5], sep="\n")
        for session in ("one", "each", "none") if options.unread else ():
            wait, codes = unread(server, options.unread, session)
            print(f"{options.unread} unread calls, session {session} (status codes {dict(codes)}): ", end="")
            print(f"the next answer of another visitor after {wait:.1f} s at most; {server.memory():.0f} MB")
        if options.visitors:
            waits, crowd = rush(server, options.visitors, options.seconds)
            print(f"{options.visitors} visitors for {options.seconds} s: {dict(crowd.outcomes)}, ", end="")
            print(f"{statistics.median(waits):.2f} s, at most {max(waits):.2f} s", *crowd.failures[:5], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
