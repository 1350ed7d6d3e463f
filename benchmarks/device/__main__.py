"""Runs the parts one after the other, each in a process with a time limit of its own. See `benchmarks/device.sh`.

What a part has found until it fails or runs out of time is kept, and the next one begins. The processes are forks of
this one, which has imported everything and never touches the GPU.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import cache, checks, comm, losses, towers, trifeature
from .common import Options, Row, machine

# In the order of their value, with the seconds that each may take: 8 minutes in all.
PARTS: dict[str, tuple[Callable[[Options], Iterator[Row]], float]] = {
    "checks": (checks.run, 80),
    "comm": (comm.run, 45),
    "trifeature": (trifeature.run, 240),
    "losses": (losses.run, 25),
    "towers": (towers.run, 60),
    "cache": (cache.run, 20),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/device.sh")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)} (default: all)")
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--toy", action="store_true", help="small sizes")
    parser.add_argument("--limit", type=float, help="seconds of each part, in place of its own limit")
    parser.add_argument("--output", type=Path, default=Path("outputs/device"), help="default: outputs/device")
    given = parser.parse_args(arguments)
    names = given.parts.split(",")
    for name in names:
        if name not in PARTS:
            parser.error(f"--parts: no part {name!r}; there are {', '.join(PARTS)}")
    given.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"parts": {}}
    for name in names:
        part, limit = PARTS[name]
        print(f"{name} ...", flush=True)
        found = in_a_process(part, Options(given.device, given.toy, given.limit or limit))
        results["machine"] = found.pop("machine") or results.get("machine") or platform.platform()
        results["parts"][name] = found
        print(f"{name}: {found['status']}, {found['seconds']:.0f} s", flush=True)
        (given.output / "results.json").write_text(
            json.dumps(results, indent=2) + "\n", encoding="utf-8", newline="\n"
        )
        (given.output / "results.md").write_text(markdown(results), encoding="utf-8", newline="\n")
    print(f"\n{markdown(results)}")
    return int(any(part["status"] != "done" for part in results["parts"].values()))


def in_a_process(part: Callable[[Options], Iterator[Row]], options: Options) -> dict[str, Any]:
    """What a part found, and how it ended: `done`, `failed: ...` or `out of time`."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(part, options, theirs), daemon=False)
    found: dict[str, Any] = {"status": "out of time", "seconds": 0.0, "machine": None, "tables": {}}
    start = time.monotonic()
    process.start()
    theirs.close()
    try:
        while ours.poll(max(0.0, start + options.seconds - time.monotonic())):
            kind, content = ours.recv()
            if kind == "row":
                table, row = content
                found["tables"].setdefault(table, []).append(row)
            elif kind == "machine":
                found["machine"] = content
            else:
                found["status"] = content
                break
    except EOFError:
        process.join()
        found["status"] = f"failed: its process ended with {process.exitcode}"
    process.kill()
    process.join()
    found["seconds"] = time.monotonic() - start
    return found


def _send(part: Callable[[Options], Iterator[Row]], options: Options, pipe: Any) -> None:
    status = "done"
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere  # the Trainer prints its log
        try:
            pipe.send(("machine", machine(options.device)))
            for row in part(options):
                pipe.send(("row", row))
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            status = f"failed: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            traceback.print_exc()
        pipe.send(("end", status))
        pipe.close()
        sys.stderr.flush()
        os._exit(0)  # whatever threads a library has left


def markdown(results: dict[str, Any]) -> str:
    """All tables, with the name of the machine above them."""
    lines = [f"Machine: {results['machine']}"]
    for name, part in results["parts"].items():
        lines += ["", f"## {name}: {part['status']}, {part['seconds']:.0f} s"]
        for title, rows in part["tables"].items():
            heads = list(dict.fromkeys(key for row in rows for key in row))
            lines += ["", f"{title}:", "", _line(heads), _line(["---"] * len(heads))]
            lines += [_line([_text(row.get(head)) for head in heads]) for row in rows]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return (
        "" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )


if __name__ == "__main__":
    sys.exit(main())
