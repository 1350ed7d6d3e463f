"""Text is read and written as UTF-8, whatever the encoding of the system is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for name in ("hf_latent", "spaces", "examples", "benchmarks") for path in (ROOT / name).rglob("*.py")]
# The place of the mode among the arguments, where there is one.
OPENERS = {"open": 1, "NamedTemporaryFile": 0, "TemporaryFile": 0, "fdopen": 1}
# Objects whose `open` opens no text: a picture, a page of the browser, an archive, a descriptor, our own method.
NO_TEXT = {"Image", "webbrowser", "tarfile", "zipfile", "os", "self"}
WRITERS = {"write_text", "to_csv"}


def complaints(tree):
    """`(line, what is missing)` of each call that reads or writes text in the encoding or newlines of the system."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = getattr(function.value, "id", "") if isinstance(function, ast.Attribute) else ""
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in OPENERS and owner not in NO_TEXT:
            place = OPENERS[name] if not (name == "open" and owner not in ("", "io")) else 0  # of Path.open
            mode = named.get("mode", node.args[place] if len(node.args) > place else None)
            value = getattr(mode, "value", "r" if "File" not in name else "w+b")
            if "b" not in str(value) and "encoding" not in named:
                yield node.lineno, "encoding"
        elif name in ("read_text", "read_csv") and "encoding" not in named:
            yield node.lineno, "encoding"
        elif name in WRITERS:
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
