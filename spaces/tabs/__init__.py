"""The tabs of the page, one file each.

A tab has a `TITLE`, `refusal(explorer)`, which says why it cannot show a model or gives None, and `build(explorers)`,
which draws it for the models that it can show.
"""
