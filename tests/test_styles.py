"""Styles: what is allowed, and that a refusal names the nearest allowed word."""

from dataclasses import replace

import pytest

from censor.stickers import load_sticker
from censor.styles import COLOURS, OPAQUE_STYLES, SOFT_STYLES, STYLES, Style, parse_colour
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
        (
            {"style": "blurr"},
            "style must be one of blur, pixelate, box, match, sticker, inpaint; got 'blurr'; the nearest is blur",
        ),
        ({"style": "Pixelated"}, "the nearest is pixelate"),
        ({"shape": "elipse"}, "shape must be one of rectangle, ellipse, rounded; got 'elipse'; the nearest is ellipse"),
        ({"style": 3}, "style must be one of"),
        ({"grow": -0.1}, "grow must be a number from 0 to 4; got -0.1"),
        ({"grow": 20}, "grow must be a number from 0 to 4; got 20; 0.2 makes the hidden box 20 % wider"),
        ({"grow": 10**400}, "grow must be a number from 0 to 4"),
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
        ({"style": "inpant"}, "the nearest is inpaint"),
        ({"style": "sticker", "sticker": "smilly"}, "got 'smilly'; the nearest is smiley"),
        ({"style": "sticker", "sticker": 7}, "a sticker must be one of heart, smiley, star, or a picture file"),
        ({"style": "box", "caption": 7}, "a caption must be one line"),
        ({"style": "box", "caption": "two\nlines"}, "a caption must be one line of at most 60 printable characters"),
        ({"style": "box", "caption": "x" * 61}, "at most 60"),
        ({"style": "box", "caption": "\x1b[31m"}, "printable"),
        ({"style": "box", "caption": "Größe – ok…"}, "of letters that the font has, ASCII and a few signs; got 'öß–'"),
        (
            {"style": "blur", "caption": "me"},
            "one of the styles box, match, sticker, inpaint; got 'me' with blur",
        ),
    ],
)
def test_what_is_not_allowed_is_refused(parts, text):
    with pytest.raises(PolicyError) as caught:
        Style(**parts)
    assert text in str(caught.value)


def test_numbers_are_kept_as_given():
    style = Style(style="box", shape="rounded", grow=1, feather=0.25, colour="red", cells=3)
    assert (style.grow, style.feather, style.colour, style.cells) == (1.0, 0.25, (255, 0, 0), 3)


def test_only_stickers_carry_a_sticker():
    assert Style(style="sticker").sticker == load_sticker("smiley")
    assert Style(style="sticker", sticker="star").sticker == load_sticker("star")
    assert Style(style="box", sticker="star") == Style(style="box")
    assert Style(style="sticker", sticker="star") != Style(style="sticker")
    assert replace(Style(style="sticker", sticker="star"), style="box").sticker is None


def test_every_style_is_soft_or_opaque():
    assert set(STYLES) == set(SOFT_STYLES) | set(OPAQUE_STYLES)
    assert not set(SOFT_STYLES) & set(OPAQUE_STYLES)
