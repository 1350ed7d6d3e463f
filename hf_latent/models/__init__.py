"""The models. This folder is flat, and imports only torch, transformers and itself: it is the code that travels with
the weights, so that `trust_remote_code=True` loads a model where this package is not installed."""
