"""Calls that no page makes: each is answered in a sentence, and the next one as ever."""

import itertools
import json
import math
import re

import httpx
import pytest

from benchmarks.space_soak import Visitor
from hf_latent.errors import UserError
from tests.space.pages import Page

import inputs  # isort: skip

PICTURES = ["star", "dots", "red", 10, "star", "solid", "blue", -30]
FIND = ["captions_model", "a photo of a red star"]
GOOD = {
    "latent_map": ["captions_model", "pairs_model", "PCA", "modality", True],
    "interactions": ["pairs_model", *PICTURES],
    "labels": ["captions_model", 4],
    "ask": ["captions_model", None, "a photo of a red star"],
    "find": FIND,
    "walk": ["captions_model", 4, 9, "a photo of a red star"],
    "close_gap": ["captions_model", 35],
}
GOOD_HEADS = {
    "look": ["pretrained", None, "a red star"],
    "question": ["questions", None, None, "what color is the star?"],
}
WRONG = [
    None, "", "nothing of the kind", "x" * 10_000, "NUL \0 here", "half \ud83d of a pair", True, 10**400, -1, 1e308,
    math.nan, math.inf, [], ["star"] * 3, {}, {"path": "/etc/passwd"}, {"path": "data:image/png;base64,AAAA"},
    {"path": "http://127.0.0.1:9/a.png"}, {"path": "/tmp/never uploaded.png", "meta": {"_type": "gradio.FileData"}},
    {"path": None, "url": "data:image/png;base64,AAAA"}, {"path": "a\0b"}, {"path": 3}, [[None]],
    {"path": "a.png", "size": "large", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip


class Caller(Visitor):
    """A visitor that says what JSON cannot, too: NaN, and halves of characters."""

    def submit(self, name, arguments):
        content = json.dumps({"data": arguments}).encode()
        return self.client.post(
            f"{self.server.url}/call/{name}", content=content, headers={"Content-Type": "application/json"}
        )


def asked(caller, name, arguments):
    """The outcome of a call and what was told, with what must hold of every answer."""
    outcome, told = caller.ask(name, arguments)
    assert "Traceback" not in str(told) and outcome in ("complete", "error"), (name, arguments, outcome, told)
    if outcome == "error":
        sentence = told["error"]
        assert isinstance(sentence, str) and sentence[-1] in ".}?)" and "\n" not in sentence, (name, arguments, told)
        assert len(sentence) < 700, (name, arguments, sentence)
    return outcome, told


def each_wrong(good, values=None):
    """The good calls with a wrong value at each place in turn: some of the values there, each of them somewhere."""
    turns = itertools.cycle(WRONG)
    for name, arguments in good.items():
        for place in range(len(arguments)):
            for wrong in values or itertools.islice(turns, 4):
                yield name, [*arguments[:place], wrong, *arguments[place + 1 :]]


@pytest.mark.parametrize(
    ("page", "good"), [pytest.param("served", GOOD, marks=pytest.mark.slow), ("served_heads", GOOD_HEADS)]
)
def test_a_wrong_value_is_told_in_a_sentence(request, page, good, capfd):
    caller = Caller(Page(request.getfixturevalue(page)), 0)
    outcomes = [asked(caller, name, arguments)[0] for name, arguments in each_wrong(good)]
    assert outcomes.count("error") > len(outcomes) / 2
    assert "Traceback" not in capfd.readouterr().err  # a visitor's mistake is no failure of the page
    for name, arguments in good.items():
        assert asked(caller, name, arguments)[0] == "complete"


@pytest.mark.parametrize(
    ("page", "good"), [pytest.param("served", GOOD, marks=pytest.mark.slow), ("served_heads", GOOD_HEADS)]
)
def test_every_wrong_value_at_every_place_is_refused_or_can_be_read(request, page, good):
    functions = {fn.api_name: fn.inputs for fn in request.getfixturevalue(page).demo.fns.values()}
    refused = 0
    for name, arguments in each_wrong(good, WRONG):
        try:
            inputs.check(functions[name], arguments)
        except UserError as error:
            refused += 1
            assert re.fullmatch(r"'.+' is .+: (choose|write|upload) .+\.", str(error)) and len(str(error)) < 700
        else:  # what is left is what the page itself could send, with a file that may not be there
            assert all(isinstance(value, str | int | dict | None) for value in arguments)
    assert refused > 0.8 * len(WRONG) * sum(map(len, good.values()))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("call/nothing", {"data": []}),
        ("call/v2/nothing", {}),
        ("call/v2/find", {"no_such_parameter": 1}),
        ("call/v2/find", {"text": 1, "no_such_parameter": 1}),
        ("call/find", {"data": "text"}),
        ("call/find", {"data": None}),
        ("call/find", [1]),
        ("run/find", {"data": FIND}),
        ("queue/join", {"data": FIND, "fn_index": 9999, "session_hash": "a"}),
        ("queue/join", {"data": FIND, "fn_index": -1, "session_hash": "a"}),
        ("queue/join", {"data": FIND, "fn_index": 10**30, "session_hash": "a"}),
        ("queue/join", {"data": FIND, "session_hash": "a"}),
        ("queue/join", {"data": FIND, "fn_index": 0}),
    ],
)
def test_a_call_of_nothing_is_refused(served, path, body):
    response = httpx.post(f"{Page(served).url}/{path}", json=body)
    assert 400 <= response.status_code < 500 and response.json()["detail"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize("arguments", [[], FIND[:1], [*FIND, "more"], FIND * 500])
def test_the_wrong_number_of_values_is_told_with_what_is_taken(served, arguments):
    outcome, told = asked(Caller(Page(served), 0), "find", arguments)
    assert outcome == "error"
    assert told["error"] == f"The call has {len(arguments)} values and takes 2: 'Model', 'A text'."
