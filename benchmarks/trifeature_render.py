"""How long it takes to draw Trifeature: ours whole, and the official generator's drawing in the same run.

    python benchmarks/trifeature_render.py
    python benchmarks/trifeature_render.py --peer PATH/TO/CoMM --peer-images 60

PATH/TO/CoMM is a checkout of the official repository of Dufumier et al. (it needs SciPy). The official code draws
slowly, so a sample is timed and multiplied up; the table says so. Its pictures are timed without writing PNG files.
Where a texture is not random, our drawing is given the same draws and the two pictures are compared byte by byte.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hf_latent.data import trifeature_drawing as drawing
from hf_latent.data.trifeature import COLORS, RGB, SHAPES, TEXTURES, load_trifeature

WHOLE_SET = 2600


class RecordingGenerator(np.random.Generator):
    """A generator that remembers the whole numbers it gave, so that a picture can be drawn again."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.given: list[int] = []

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        value = super().integers(*args, **kwargs)
        self.given.append(int(value))
        return value


def peer_class(checkout: Path) -> Any:
    """The official `Trifeatures` class; what its file imports for training only is replaced by empty modules."""
    file = checkout / "dataset" / "trifeatures.py"
    if not file.is_file():
        raise SystemExit(f"--peer {checkout}: no dataset/trifeatures.py there; name a checkout of the CoMM repository")
    needless: dict[str, dict[str, Any]] = {
        "pytorch_lightning": {"LightningDataModule": object},
        "torchvision": {"transforms": None},
        "utils": {"make_dirs": None, "GaussianBlur": None},
    }
    for name, attributes in needless.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(attributes)
    module = ModuleType("official_trifeatures")
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), vars(module))
    return vars(module)["Trifeatures"]


def time_peer(checkout: Path, count: int, seed: int) -> tuple[float, int, int]:
    """Seconds for `count` official pictures, textures taken in turn; pictures compared with ours; how many differ."""
    peer_type = peer_class(checkout)
    peer = peer_type.__new__(peer_type)  # its __init__ would draw the whole set to disk
    peer.rng = RecordingGenerator(seed)
    peer._base_templates = {(s, peer_type.BASE_SIZE): peer_type._render_plain_shape(s) for s in SHAPES}
    seconds, compared, different = 0.0, 0, 0
    for k in range(count):
        # every ten pictures show all textures, all shapes and all colors, matched anew each time
        texture, shape, color = TEXTURES[k % 10], SHAPES[(k + k // 10) % 10], COLORS[(3 * k + k // 10) % 10]
        peer.rng.given.clear()
        start = time.perf_counter()
        theirs = (peer._render_stimulus(shape, color, texture) * 255.0).astype(np.uint8)
        seconds += time.perf_counter() - start
        if texture in ("noise", "rain"):
            continue
        angle, row, column, texture_column, texture_row, texture_angle = peer.rng.given
        pose = drawing.Pose(angle, row, column, texture_angle, texture_row, texture_column)
        ours = np.empty_like(theirs)
        drawing.paint(ours, shape, texture, RGB[color], pose, peer.rng)
        compared += 1
        different += not np.array_equal(ours, theirs)
    return seconds, compared, different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=224, help="side of our pictures in pixels (default 224)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--peer", type=Path, help="checkout of the official CoMM repository")
    parser.add_argument("--peer-images", type=int, default=60, help="official pictures to time (default 60)")
    arguments = parser.parse_args()
    if arguments.peer_images < 1:
        parser.error("--peer-images: write 1 or more")

    start = time.perf_counter()
    data = load_trifeature(arguments.image_size, seed=arguments.seed)
    ours = time.perf_counter() - start
    count = len(data.train) + len(data.test)

    software = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {software}\n")
    print("| Trifeature drawn by | side | pictures timed | ms a picture | whole set of 2,600 |")
    print("|---|---|---|---|---|")
    print(f"| hf_latent | {arguments.image_size} px | {count:,} | {1e3 * ours / count:.2f} | {ours:.1f} s |")
    if arguments.peer is not None:
        theirs, compared, different = time_peer(arguments.peer, arguments.peer_images, arguments.seed)
        each = theirs / arguments.peer_images
        whole = f"{each * WHOLE_SET:.0f} s (extrapolated)"
        print(f"| official generator | 224 px | {arguments.peer_images:,} | {1e3 * each:.1f} | {whole} |")
        print(f"\nRatio, a picture: {each * count / ours:.0f} times.", end=" ")
        print(f"Given the same draws, {compared - different} of {compared} pictures are equal byte for byte.")


if __name__ == "__main__":
    main()
