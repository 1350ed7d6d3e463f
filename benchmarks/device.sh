#!/usr/bin/env bash
# What hf_latent does on a machine with a GPU, checked and timed in 8 minutes; the most valuable parts come first.
#
#   benchmarks/device.sh --output FOLDER             results.json and results.md, rewritten whenever a part has ended
#   benchmarks/device.sh --parts checks,losses       some parts only
#   benchmarks/device.sh --toy --device cpu          small sizes: does it run?
#
# Nothing is downloaded. The Python of PYTHON (default: python3) needs torch for the GPU at hand and, beside it, the
# packages of pyproject.toml (transformers 5.23 or newer, accelerate, peft, huggingface_hub, datasets, omegaconf,
# scikit-learn, matplotlib, jinja2). On a machine without a network, take along as wheels what is missing there, made with
#
#   pip download --no-deps -d wheels 'transformers>=5.23' 'huggingface_hub>=2.4' 'tokenizers>=0.23' omegaconf datasets
#
# and install them there by `pip install --no-index --no-deps wheels/*`. torchvision may be there: nothing here uses it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python3}" -W ignore -m benchmarks.device "$@"
