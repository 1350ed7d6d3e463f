"""What is said and asked about Trifeature pictures: every sentence, every answer, and the words of all of them.

A picture is called by the words of its caption: "letter T", "five squares", "ocean blue". `blue` and `ocean blue` are
two colors. Where a sentence names a texture, that is "a dots texture".
"""

from collections.abc import Iterator

from .trifeature import CAPTIONS, COLOR_PHRASES, COLORS, SHAPES, TEXTURES, noun_phrase

FACTORS = ("shape", "texture", "color")
CLASS_NAMES = {"shape": SHAPES, "texture": TEXTURES, "color": COLORS}

# What one calls each class, in lower case: the tokens of an answer read back as the answer.
SHAPE_ANSWERS = {shape: noun_phrase(shape).lower().removeprefix("a ") for shape in SHAPES}
ANSWERS = (*COLOR_PHRASES.values(), *SHAPE_ANSWERS.values(), *TEXTURES, "yes", "no")

# No picture tells these.
OPEN = ("heavy", "old", "cheap", "famous", "fragile", "warm")

# Questions by kind, each with the factors that it asks for; what else it names is as in the picture. {is_the_shape}
# is "is the star" or "are the five squares", {color_thing} "the red thing".
QUESTIONS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "color": (
        ("what color is this?", ("color",)),
        ("what color does it have?", ("color",)),
        ("what color {is_the_shape}?", ("color",)),
    ),
    "shape": (
        ("what shape is this?", ("shape",)),
        ("what shape does it have?", ("shape",)),
        ("what shape is {color_thing}?", ("shape",)),
    ),
    "texture": (
        ("what texture does it have?", ("texture",)),
        ("what texture {does_the_shape} have?", ("texture",)),
        ("what texture does {color_thing} have?", ("texture",)),
    ),
    "yes_no": (
        ("{is_the_shape} {color}?", ("color",)),
        ("is this {a_shape}?", ("shape",)),
        ("is {color_thing} {a_shape}?", ("shape",)),
        ("{does_the_shape} have a {texture} texture?", ("texture",)),
        ("does it have a {texture} texture?", ("texture",)),
        ("is this {a_color_shape}?", ("shape", "color")),
    ),
}

# A hypothesis that is right where its second half is, open where only its shape is, and wrong where that is wrong.
EITHER = {
    "color": "{a_shape} that {is} {color} or {open}",
    "texture": "{a_shape} that {has} a {texture} texture or {is} {open}",
}

# Statements about two pictures by kind. {does} says something of one picture: "is red", "shows a red star", "has a
# dots texture"; {do} says it of both.
STATEMENTS: dict[str, tuple[str, ...]] = {
    "both": ("both {do}",),
    "one": ("exactly one {does}",),
    "same": ("both have the same {factor}",),
    "side": ("the left one {does}", "the right one {does}"),
}

# What else may be said of pictures with several things in them.
PLACES = "left right top bottom middle above below and or with of to in on at the one two three"


def question(template: str, shape: str, texture: str, color: str) -> str:
    """A template of `QUESTIONS` with the names of classes filled in."""
    many = shape == "fivesquare"
    the_shape = noun_phrase(shape, definite=True)
    return template.format(
        is_the_shape=f"{'are' if many else 'is'} {the_shape}",
        does_the_shape=f"{'do' if many else 'does'} {the_shape}",
        color_thing=noun_phrase(None, COLOR_PHRASES[color], definite=True),
        color=COLOR_PHRASES[color],
        a_shape=noun_phrase(shape),
        a_color_shape=noun_phrase(shape, COLOR_PHRASES[color]),
        texture=texture,
    )


def answer(factor: str, name: str) -> str:
    """What the question for a factor is answered with, where the picture is of the class `name`."""
    return {"color": COLOR_PHRASES, "shape": SHAPE_ANSWERS}.get(factor, {}).get(name, name)


def claim(values: dict[str, str], *adjectives: str) -> str:
    """What a picture shows, of the factors that are named: "a red star with a dots texture"; adjectives come first."""
    colors = [COLOR_PHRASES[values["color"]]] if "color" in values else []
    words = noun_phrase(values.get("shape"), *adjectives, *colors)
    return f"{words} with a {values['texture']} texture" if "texture" in values else words


def either(factor: str, shape: str, texture: str, color: str, open_word: str) -> str:
    """The sentence of `EITHER` for a factor: "a star that is red or heavy"."""
    many = shape == "fivesquare"
    names = {"a_shape": noun_phrase(shape), "is": "are" if many else "is", "has": "have" if many else "has"}
    return EITHER[factor].format(**names, color=COLOR_PHRASES[color], texture=texture, open=open_word)


def says(values: dict[str, str], both: bool = False) -> str:
    """A predicate of one picture, or of both: "is red", "show a red star", "has a dots texture"."""
    if "shape" in values:
        return f"{'show' if both else 'shows'} {claim(values)}"
    if "texture" in values:
        return f"{'have' if both else 'has'} a {values['texture']} texture"
    return f"{'are' if both else 'is'} {COLOR_PHRASES[values['color']]}"


def every_sentence() -> Iterator[str]:
    """Sentences in which all words of all sentences and answers occur: each template with each class."""
    yield from CAPTIONS
    yield from ANSWERS
    yield PLACES
    names = list(zip(SHAPES, TEXTURES, COLORS, strict=True))
    for shape, texture, color in names:
        values = {"shape": shape, "texture": texture, "color": color}
        yield from (question(template, shape, texture, color) for kind in QUESTIONS.values() for template, _ in kind)
        yield from (claim(values, word) for word in OPEN)
        yield from (either(factor, shape, texture, color, OPEN[0]) for factor in EITHER)
        for kind in STATEMENTS.values():
            for template in kind:
                for factor in FACTORS:
                    part = {factor: values[factor]}
                    yield template.format(do=says(part, both=True), does=says(part), factor=factor)
    yield claim({})
