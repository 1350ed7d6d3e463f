"""Views: batched random augmentations of images, text, series and tables, on whatever device the tensors are on.

A `View` augments one modality in two steps. `draw` makes every random number, on the CPU; `augment` applies them, and
an output row depends on its own input row and its own numbers only. `Views` holds one view a modality and draws for
the whole global batch from a generator keyed by (seed, rows consumed so far, view, modality). So a row looks the same
on one process or many, in one piece or in chunks, and after a resume.

    views = Views({"image": build_view("image", size=64), "text": build_view("text", mask_token_id=103)}, seed=0)
    second = views.augmented(batch, view=1, position=rows_seen)

Text and series may be right-padded to different widths in different chunks: the numbers of a step do not depend on
how many steps follow it.
"""

from ..discovery import import_modules
from .base import VIEWS, NoView, View
from .batch import Views, build_view
from .image import ImageView
from .masked import MaskedView
from .sequences import SeriesView, TableView
from .text import TextView, WordsView

__all__ = [
    "VIEWS",
    "ImageView",
    "MaskedView",
    "NoView",
    "SeriesView",
    "TableView",
    "TextView",
    "View",
    "Views",
    "WordsView",
    "build_view",
]

import_modules(__name__, __path__)
