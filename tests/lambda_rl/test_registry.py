"""Registries."""

from __future__ import annotations

import pytest

from lambda_rl.registry import Registry


def shapes() -> Registry[int]:
    made: Registry[int] = Registry("shape")
    made.register("triangle", 3)
    made.register("square", 4)
    made.register("circle", 0)
    return made


def test_items_are_found_by_name_in_order_of_registration() -> None:
    made = shapes()
    assert made.get("square") == made["square"] == 4
    assert made["circle"] == 0
    assert made.names() == tuple(made) == ("triangle", "square", "circle")
    assert made.items() == (("triangle", 3), ("square", 4), ("circle", 0))
    assert len(made) == 3
    assert "square" in made
    assert "hexagon" not in made
    assert ["square"] not in made


def test_a_class_is_registered_where_it_is_written() -> None:
    made: Registry[type] = Registry("animal")

    @made.register("cat")
    class Cat:
        pass

    assert made["cat"] is Cat


@pytest.mark.parametrize("name", ["hexagon", "", "x" * 10**6, None, ["square"]])
def test_an_unknown_name_is_told_with_those_allowed(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown shape .*; allowed: triangle, square, circle$") as caught:
        shapes().get(name)
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match="allowed: none"):
        Registry("shape")[name]


def test_a_name_is_given_once() -> None:
    made = shapes()
    with pytest.raises(ValueError, match="there is a shape 'square' already"):
        made.register("square", 5)
    with pytest.raises(ValueError, match="there is a shape 'square' already"):
        made.register("square")(5)
    assert made["square"] == 4
    for name in ("", 7):
        with pytest.raises(ValueError, match="name of a shape must be a text"):
            made.register(name, 5)  # type: ignore[call-overload]


def test_a_temporary_item_is_gone_afterwards_whatever_happens() -> None:
    made = shapes()
    with made.temporarily("hexagon", 6) as six:
        assert six == made["hexagon"] == 6
    assert "hexagon" not in made
    with pytest.raises(KeyError), made.temporarily("hexagon", 6):
        raise KeyError
    assert "hexagon" not in made
    with pytest.raises(ValueError, match="already"), made.temporarily("square", 5):
        pass
    assert made["square"] == 4
