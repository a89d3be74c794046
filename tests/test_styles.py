"""Styles: what is allowed, and that a refusal names the nearest allowed word."""

import pytest

from censor.styles import COLOURS, Style, parse_colour
from detector.errors import PolicyError


@pytest.mark.parametrize(
    ("value", "colour"),
    [
        ("black", (0, 0, 0)),
        (" White ", (255, 255, 255)),
        ("grey", (128, 128, 128)),
        ("gray", (128, 128, 128)),
        ("#ff8000", (255, 128, 0)),
        ("#F80", (255, 136, 0)),
        ([1, 2, 3], (1, 2, 3)),
        ((0, 255, 7), (0, 255, 7)),
    ],
)
def test_colours_are_read(value, colour):
    assert parse_colour(value) == colour
    assert Style(colour=value).colour == colour


@pytest.mark.parametrize(
    "value", ["#12345", "#gg0000", "123456", "", [1, 2], [1, 2, 256], [1, 2, True], [1.0, 2, 3], None, 0]
)
def test_other_colours_are_refused(value):
    with pytest.raises(PolicyError, match="colour must be #rrggbb"):
        parse_colour(value)


def test_an_unknown_colour_names_the_nearest():
    with pytest.raises(PolicyError, match="got 'blak'; the nearest is black"):
        parse_colour("blak")


def test_named_colours_are_colours():
    assert all(parse_colour(list(colour)) == colour == parse_colour(name) for name, colour in COLOURS.items())


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"style": "blurr"}, "style must be one of blur, pixelate, box, match, sticker, inpaint; got 'blurr'; the nearest is blur"),
        ({"style": "Pixelated"}, "the nearest is pixelate"),
        ({"shape": "elipse"}, "shape must be one of rectangle, ellipse, rounded; got 'elipse'; the nearest is ellipse"),
        ({"style": 3}, "style must be one of"),
        ({"grow": -0.1}, "grow must be a number from 0 to 4; got -0.1"),
        ({"grow": 20}, "grow must be a number from 0 to 4; got 20; 0.2 makes the hidden box 20 % wider"),
        ({"grow": float("nan")}, "grow must be a number"),
        ({"grow": True}, "grow must be a number"),
        ({"grow": "0.2"}, "grow must be a number"),
        ({"feather": -1}, "feather must be a number from 0 to 1; got -1"),
        ({"feather": 1.5}, "feather must be a number from 0 to 1; got 1.5"),
        ({"feather": float("inf")}, "feather must be a number"),
        ({"cells": 9}, "cells must be a whole number from 1 to 8; got 9"),
        ({"cells": 0}, "cells must be a whole number"),
        ({"cells": True}, "cells must be a whole number"),
        ({"cells": 4.0}, "cells must be a whole number"),
        ({"colour": "no such"}, "a colour must be"),
    ],
)
def test_what_is_not_allowed_is_refused(parts, text):
    with pytest.raises(PolicyError) as caught:
        Style(**parts)
    assert text in str(caught.value)


def test_numbers_are_kept_as_given():
    style = Style(style="box", shape="rounded", grow=1, feather=0.25, colour="red", cells=3)
    assert (style.grow, style.feather, style.colour, style.cells) == (1.0, 0.25, (255, 0, 0), 3)
