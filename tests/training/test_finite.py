"""A loss that is not finite stops the run; on an accelerator the answer is read one step later."""

import pytest
import torch

from hf_latent.errors import UserError
from hf_latent.training.finite import FiniteCheck

NAN = torch.tensor(float("nan"))


def test_on_a_cpu_it_is_told_at_once():
    check = FiniteCheck()
    check.note(1, torch.tensor(2.0), {"contrastive": torch.tensor(2.0)})
    terms = {"contrastive": torch.tensor(1.0), "alignment": NAN}
    with pytest.raises(UserError, match="the loss is nan at step 2, from alignment=nan: look for NaN in the inputs"):
        check.note(2, NAN, terms)


class Event:
    """Of an accelerator: the answer is there when it has been waited for."""

    def __init__(self, answer):
        self.answer = answer

    def synchronize(self):
        self.answer.fill_(False)


@pytest.mark.parametrize("look", ["note", "flush"])
def test_an_open_answer_is_read_before_the_next(look):
    check = FiniteCheck()
    check._open = (7, NAN, {}, (answer := torch.tensor(True)), Event(answer))
    with pytest.raises(UserError, match="the loss is nan at step 7, from its weights"):
        check.flush() if look == "flush" else check.note(8, torch.tensor(1.0), {})
    check.flush()
