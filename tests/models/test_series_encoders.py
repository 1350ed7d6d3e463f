"""Encoders of series and tables: neither padding nor other rows change what a row becomes."""

import pytest
import torch

from hf_latent.models.encoders import build_encoder

SERIES = {
    "gru": {"encoder": "gru", "input_dim": 3, "hidden_size": 8, "num_layers": 2},
    "series_cnn": {"encoder": "series_cnn", "input_dim": 3, "channels": [4, 6]},
    "tokens": {"encoder": "series_cnn", "input_dim": 3, "channels": [4, 6], "token_dim": 5},
}


def padded(rows, length):
    """Rows of any lengths, with something else than zeros behind their ends."""
    values = torch.full((len(rows), length, 3), 7.0, dtype=torch.float64)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for place, row in enumerate(rows):
        values[place, : len(row)], mask[place, : len(row)] = row, 1
    return {"values": values, "attention_mask": mask}


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("length", [7, 8, 13])
def test_padding_and_neighbours_change_no_token(name, length):
    torch.manual_seed(0)
    encoder = build_encoder(SERIES[name]).double().eval()
    rows = [torch.randn(steps, 3, dtype=torch.float64) for steps in (1, 4, 5, 7)]
    together = encoder(**padded(rows, length))
    for place, row in enumerate(rows):
        alone = encoder(values=row[None])
        count = alone.tokens.shape[1]
        torch.testing.assert_close(together.tokens[place, :count], alone.tokens[0])
        torch.testing.assert_close(together.pool()[place], alone.pool()[0])
        if together.attention_mask is not None:
            assert together.attention_mask[place].tolist() == [i < count for i in range(together.tokens.shape[1])]


def test_every_step_of_a_window_is_read():
    """Also the last of 32, which the published network of five layers does not see."""
    torch.manual_seed(0)
    encoder = build_encoder({"encoder": "series_cnn", "input_dim": 2}).double()
    values = torch.randn(1, 32, 2, dtype=torch.float64, requires_grad=True)
    output = encoder(values=values)
    assert output.tokens.shape == (1, 1, 128) and output.attention_mask is None
    output.tokens.sum().backward()
    assert (values.grad.abs().sum(2) > 0).all()


def test_convolutions_are_those_of_their_weights():
    torch.manual_seed(0)
    encoder = build_encoder({"encoder": "series_cnn", "input_dim": 2, "channels": [3]}).double()
    values, layer = torch.randn(2, 5, 2, dtype=torch.float64), encoder.layers[0]
    tokens = encoder(values=values).tokens
    steps = torch.cat([values, torch.zeros(2, 1, 2, dtype=torch.float64)], dim=1)
    for place in range(3):
        sums = steps[:, 2 * place] @ layer.weight[:, :, 0].T + steps[:, 2 * place + 1] @ layer.weight[:, :, 1].T
        hidden = sums + layer.bias
        torch.testing.assert_close(tokens[:, place], torch.where(hidden > 0, hidden, 0.1 * hidden))


def test_numbers_become_tokens_or_one():
    torch.manual_seed(0)
    values = torch.randn(2, 5)
    one = build_encoder({"encoder": "table", "input_dim": 5, "hidden_dims": [4, 6], "token_dim": None})
    many = build_encoder({"encoder": "table", "input_dim": 5, "hidden_dims": [4, 6], "token_dim": 3})
    many.layers.load_state_dict(one.layers.state_dict())
    assert one(values).tokens.shape == (2, 1, 6) and one.hidden_size == 6
    wanted = one(values).tokens[:, 0, :, None] * many.tokenizer.weight + many.tokenizer.bias
    torch.testing.assert_close(many(values).tokens, wanted)
    cells = [{"name": "a", "mean": 0.0, "std": 1.0}, {"name": "b", "values": ["x"]}]
    told = build_encoder({"encoder": "table", "cells": cells, "hidden_dims": [4], "token_dim": None})
    missing, categories = torch.tensor([[False]]), torch.tensor([[2]])
    assert told(torch.ones(1, 1), missing, categories).tokens.shape == (1, 1, 4)


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match="channels="):
        build_encoder({"encoder": "series_cnn", "input_dim": 3, "channels": []})
