"""Draw the structure study from its table in RESULTS.md, so that picture and table show the same numbers.

python benchmarks/trade_offs.py benchmarks/figures/trade_offs.png
"""

import sys
from pathlib import Path

from hf_latent.plots import plot_trade_offs
from hf_latent.results import RESULTS

RESULTS_PAGE = Path(__file__).with_name("RESULTS.md")


def read_table(page: str) -> dict[str, dict[str, dict[str, float]]]:
    """structure -> metric -> mean and spread, of the table under "The structure study"."""
    keys = {result.short or key: key for key, result in RESULTS.items() if result.column}
    section = page.split("## The structure study")[1].split("\n## ")[0]
    head, _, *rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for name, *cells in rows:
        row = summary.setdefault(name.strip(), {})
        for column, cell in zip(head[1:], cells, strict=True):
            if cell.strip():
                mean, std = map(float, cell.split("±"))
                row[keys[column.strip()]] = {"mean": mean, "std": std}
    return summary


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "trade_offs.png"
    print(plot_trade_offs(read_table(RESULTS_PAGE.read_text(encoding="utf-8")), path))


if __name__ == "__main__":
    main()
