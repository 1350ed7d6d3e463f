"""Names for classes that recipes and configs choose from."""

import pytest

from hf_latent.models.registry import Registry


def test_a_class_is_found_by_its_name():
    registry = Registry("kind of thing")

    @registry.register("one")
    class One:
        pass

    registry.register("first")(One)  # another name of it
    registry.register("one")(One)  # as when a module is read again
    assert registry["one"] is registry["first"] is One and One.__name__ == "One"
    assert list(registry) == ["one", "first"] and len(registry) == 2 and "two" not in registry
    assert dict(registry.items()) == {"one": One, "first": One} and registry.get("two") is None
    with pytest.raises(KeyError, match="two"):
        registry["two"]


def test_a_name_is_given_once():
    registry = Registry("benchmark")
    registry.register("one")(int)
    with pytest.raises(ValueError, match="there is a benchmark 'one' already, builtins.int: choose another name"):
        registry.register("one")(float)
    assert registry["one"] is int
    Registry("benchmark").register("one")(float)  # each has names of its own
