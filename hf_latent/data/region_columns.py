"""Phrases and the boxes of what they name, from columns of a data set."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast

import numpy as np

from ..errors import UserError, suggest
from .cells import is_missing
from .columns import check_column
from .loaded import Regions
from .rows import ModalityRows

FORMATS = ("xywh", "xyxy")
SIDE = 224  # pixels of the squares that pictures are made


@dataclass(frozen=True)
class RegionColumns:
    """`data.regions` of a recipe: what the benchmark `grounding` reads of the rows to measure on.

    Args:
        phrases: The column of what is named: a string, or a list of strings.
        boxes: The column of the boxes, in pixels of the picture: a list of four numbers for each phrase, of which the
            others of a row are those that a phrase can be mistaken for; or four numbers, of all phrases of a row.
        format: Of a box: `xywh`, left, top, width and height, as COCO has them; or `xyxy`, left, top, right, bottom.
        template: The sentence in which the model reads a phrase, with {} in its place, such as "a photo of {}".
        most: Phrases that are measured at most, of rows that are evenly spaced.
    """

    phrases: str
    boxes: str
    format: str = "xywh"
    template: str = "{}"
    most: int = 1000


def region_columns(written: Mapping[str, Any] | None) -> RegionColumns | None:
    """The section `data.regions`, checked; None of none.

    Raises:
        UserError: If a key is missing or does not exist, or a value is of another type.
    """
    if written is None:
        return None
    known = {spec.name: spec for spec in fields(RegionColumns)}
    for key, value in written.items():
        if key not in known:
            raise UserError(f"unknown key data.regions.{key}: {suggest(key, known)}")
        wanted = int if key == "most" else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UserError(f"data.regions.{key}={value!r}: expected {wanted.__name__}")
    for key, spec in known.items():
        if spec.default is MISSING and key not in written:
            raise UserError(f"data.regions.{key} is missing: write the column that holds them")
    found = RegionColumns(**written)
    if found.format not in FORMATS:
        raise UserError(f"data.regions.format={found.format!r}: {suggest(found.format, FORMATS)}")
    if found.template.count("{}") != 1:
        raise UserError(f"data.regions.template={found.template!r}: write {{}} once, in the place of the phrase")
    if found.most < 1:
        raise UserError(f"data.regions.most={found.most}: write 1 or more")
    return found


def read_regions(columns: RegionColumns, rows: ModalityRows, image: str) -> Regions:
    """The phrases of the rows to measure on. Pictures become squares, squashed, and boxes with them.

    Args:
        columns: What to read.
        rows: The rows.
        image: The column of the images.

    Raises:
        UserError: If a row has other phrases than boxes, or a box is none or lies outside of its picture; it names the
            row.
    """
    for name in (columns.phrases, columns.boxes):
        check_column(f"data.regions: {name}", name, rows.dataset.column_names)
    phrases, _ = rows.values(columns.phrases)
    boxes, places = rows.values(columns.boxes)
    firsts = np.unique(places, return_index=True)[1]  # of a row of the data set with several captions, the first
    each = [_phrases(own) for own in phrases]
    wanted = [number for number, own in enumerate(each) if own]
    if not wanted:
        raise UserError(f"data.regions: the column {columns.phrases!r} holds no phrase in any row to measure on")
    share = max(1, round(sum(len(each[number]) for number in wanted) / columns.most))
    images, pictures, said, found = [], [], [], []
    for number in wanted[::share]:
        where = f"row {rows.numbers[firsts[number]]}, column {columns.boxes!r}"
        picture = cast(Any, rows[int(firsts[number])])[image]
        own = _boxes(where, boxes[number], len(each[number]), columns.format, picture.size)
        images.append(np.asarray(picture.convert("RGB").resize((SIDE, SIDE))))
        for place, phrase in enumerate(each[number]):
            pictures.append(len(images) - 1)
            said.append(phrase)
            found.append(own if len(own) == 1 else np.concatenate([own[[place]], np.delete(own, place, axis=0)]))
    most = max(map(len, found))
    padded = np.zeros((len(found), most, 4))
    for place, own in enumerate(found):
        padded[place, : len(own)] = own
    return Regions(np.stack(images), np.array(pictures), said, padded, columns.template)


def _phrases(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [str(phrase) for phrase in listed if not is_missing(phrase)]


def _boxes(where: str, value: Any, count: int, form: str, size: tuple[int, int]) -> np.ndarray:
    """`(count, 4)` left, top, right, bottom in pixels of the square; `(1, 4)` of one box for all phrases."""
    try:
        boxes = np.asarray(value, dtype=np.float64).reshape(-1, 4)
    except (TypeError, ValueError):
        raise UserError(f"{where} holds no boxes of four numbers: {value!r}"[:300]) from None
    if len(boxes) not in (1, count):
        raise UserError(f"{where} holds {len(boxes)} boxes for {count} phrases: write one for each, or one for all")
    if form == "xywh":
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    width, height = size
    inside = (boxes[:, :2] >= -1).all() and (boxes[:, 2] <= width + 1).all() and (boxes[:, 3] <= height + 1).all()
    if not np.isfinite(boxes).all() or not inside or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise UserError(
            f"{where}: a box is empty or lies outside of its picture of {width} x {height} px: write "
            f"data.regions.format as it is, one of {', '.join(FORMATS)}"
        )
    return boxes.clip(0) * (SIDE / np.array([width, height, width, height]))
