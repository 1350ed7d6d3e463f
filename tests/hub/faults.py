"""A push that breaks at every request in turn: what has to hold after each, whatever is pushed."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from hf_latent.cli import main
from tests.hub.server import Fault, Server

# What may happen to a request, once or from there on.
FAULTS = {
    "cut": Fault("cut"),
    "cut for good": Fault("cut", lasting=True),
    "answer lost": Fault("lose"),
    "answer cut": Fault("half"),
    "answers lost": Fault("lose", lasting=True),
    "error 500": Fault(500),
    "errors 503": Fault(503, lasting=True),
    "unauthorized": Fault(401),
    "forbidden": Fault(403, lasting=True),
    "conflict": Fault(409),
    "conflicts": Fault(409, lasting=True),
    "slow": Fault("slow", seconds=0.02, lasting=True),
}


QUICK = ("answer lost", "conflict")


def some(*names: str) -> list[object]:
    """Faults by their names, as parameters of a test; all but two kinds are slow."""
    return [pytest.param(FAULTS[n], id=n, marks=[] if n in QUICK else pytest.mark.slow) for n in names]


def survives(server: Server, fault: Fault, arguments: list[str], name: str, kind: str = "model") -> int:
    """Run a command with the fault at its first request, at its second ... until it ends before the fault strikes.

    After each the repository is as it was or complete, and the same command completes it with one commit in all.

    Returns:
        How many requests there were to strike.
    """
    hub = server.hub
    before = copy.deepcopy(hub.repositories)
    old = before[kind, name].files() if (kind, name) in before else {}
    commits = len(before[kind, name].messages()) if (kind, name) in before else 0

    def run() -> int:
        return main(arguments)

    assert run() == 0
    new = hub.repository(name, kind).files()
    assert new != old

    for at in itertools.count():
        hub.repositories = copy.deepcopy(before)
        server.fault = replace(fault, at=at)
        code = run()
        struck = server.reached.is_set()
        server.fault = None
        there = hub.repositories.get((kind, name))
        found = there.files() if there else {}
        assert found in (old, new), f"half a push after request {at}"
        assert code in (0, 2) and (code == 2 or found == new), f"request {at} was lost, and nobody was told"
        assert struck or code == 0
        assert run() == 0
        assert hub.repository(name, kind).files() == new
        assert len(hub.repository(name, kind).messages()) == commits + 1
        if not struck:
            return at
    raise AssertionError


def told_after(server: Server, fault: Fault, push: Callable[[], object]) -> str:
    """What a push says that meets a fault."""
    server.fault = fault
    try:
        push()
    except ValueError as error:
        return str(error)
    finally:
        server.fault = None
    return ""
