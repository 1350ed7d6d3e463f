"""Draw the structure study from its table in RESULTS.md, so that picture and table show the same numbers.

python benchmarks/trade_offs.py benchmarks/figures/trade_offs.png
"""

import sys
from pathlib import Path

from hf_latent.plots import Axis, plot_trade_offs

RESULTS_PAGE = Path(__file__).with_name("RESULTS.md")
# Of 100 captions and of 10 textures; the commonest of each have so many of the held-out images.
AXES = (
    (
        Axis("zero_shot", "Right caption: nearest of 100", "%", 2.5),
        Axis("probe_texture", "Texture, from the image embedding", "%", 13.5, "probe_texture_full"),
    ),
    (
        Axis("gap_centroid", "Modality gap: distance between the mean image and the mean text"),
        Axis("cka", "Linear CKA"),
    ),
)


def read_table(page: str) -> dict[str, dict[str, dict[str, float]]]:
    """structure -> column -> mean and spread, of the table under "The structure study"."""
    section = page.split("## The structure study")[1].split("\n## ")[0]
    head, _, *rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for name, *cells in rows:
        row = summary.setdefault(name.strip(), {})
        for column, cell in zip(head[1:], cells, strict=True):
            if cell.strip():
                mean, std = map(float, cell.split("±"))
                row[column.strip()] = {"mean": mean, "std": std}
    return summary


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "trade_offs.png"
    print(plot_trade_offs(read_table(RESULTS_PAGE.read_text(encoding="utf-8")), AXES, path))


if __name__ == "__main__":
    main()
