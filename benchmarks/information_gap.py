"""Draw theorem 3.1 of Jiang et al. (CVPR 2023): what perfect alignment costs, against the information gap.

    python benchmarks/information_gap.py benchmarks/figures/information_gap.png

Every point is a discrete distribution of which all terms are computed exactly: a label that one, both or neither of
the modalities tell. The cost is that of the best pair of encoders whose outputs are always equal.
"""

import sys

import numpy as np

from hf_latent.metrics.information import factor_joint
from hf_latent.plots import plot_information_gap


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "information_gap.png"
    shares = np.linspace(0, 1, 9)
    families = {
        "only the image has something of its own": [factor_joint(share) for share in shares],
        "the text has half as much of its own": [factor_joint(share, share / 2) for share in shares],
        "both have as much of their own": [factor_joint(share, share) for share in shares],
    }
    print(plot_information_gap(families, path))


if __name__ == "__main__":
    main()
