"""A finished model whose objective reads a teacher has no terms to show."""

from tests.models.small import small_clip

from explorer import Explorer  # isort: skip


def test_terms_that_read_a_teacher_are_not_computed():
    explorer = Explorer.__new__(Explorer)
    explorer.model = small_clip(regularizers={"distillation": {}})
    explorer.recipe = {"views": {"image": {"kind": "image"}, "text": {"kind": "words"}}}
    assert explorer.views is None
