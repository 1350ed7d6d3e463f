"""Text is read and written as UTF-8, whatever the encoding of the system is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for name in ("hf_latent", "spaces", "examples", "benchmarks") for path in (ROOT / name).rglob("*.py")]
# The mode that a function opens files in by default.
OPENERS = {"open": "r", "fdopen": "r", "NamedTemporaryFile": "w+b", "TemporaryFile": "w+b"}
# Objects whose `open` opens no text: a picture, a sound, a page of the browser, an archive, a descriptor, our own.
NO_TEXT = {"Image", "archive", "webbrowser", "tarfile", "wave", "zipfile", "opener", "os", "self"}


def complaints(tree):
    """`(line, what is missing)` of each call that reads or writes text in the encoding or newlines of the system."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        place = function.value if isinstance(function, ast.Attribute) else None
        owner = getattr(place, "id", getattr(place, "attr", ""))  # of self.opener.open the opener
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in OPENERS and owner not in NO_TEXT:
            first = 1 if name == "fdopen" or (name == "open" and owner in ("", "io")) else 0  # the file comes before
            mode = [*node.args[first : first + 1], *filter(None, [named.get("mode")])]
            if "b" not in (mode[0].value if mode else OPENERS[name]) and "encoding" not in named:
                yield node.lineno, "encoding"
        elif name in ("read_text", "read_csv") and "encoding" not in named:
            yield node.lineno, "encoding"
        elif name in ("write_text", "to_csv"):
            yield from ((node.lineno, key) for key in ("encoding", "newline") if key not in named)
        elif {"text", "universal_newlines"} & named.keys() and owner == "subprocess" and "encoding" not in named:
            yield node.lineno, "encoding"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_file_names_its_encoding(path):
    assert list(complaints(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("open(path)", ["encoding"]),
        ("open(path, 'w')", ["encoding"]),
        ("open(path, mode='a')", ["encoding"]),
        ("open(path, 'rb')", []),
        ("open(path, encoding='utf-8')", []),
        ("io.open(path, 'wb')", []),
        ("path.open('rb')", []),
        ("path.open()", ["encoding"]),
        ("path.read_text()", ["encoding"]),
        ("path.write_text(text)", ["encoding", "newline"]),
        ("path.write_text(text, encoding='utf-8')", ["newline"]),
        ("tempfile.NamedTemporaryFile('w')", ["encoding"]),
        ("tempfile.NamedTemporaryFile()", []),
        ("subprocess.run(command, text=True)", ["encoding"]),
        ("Image.open(path)", []),
    ],
)
def test_what_the_search_for_encodings_finds(code, missing):
    assert [what for _, what in complaints(ast.parse(code))] == missing
