"""The sheet of styles: everything there is, and commands that give what they stand under."""

import shlex

import numpy as np
import pytest
from PIL import Image

from censor import cli, demo
from censor.demo import DEMOS, SIDE, demo_picture, demo_region, demo_sheet
from censor.masks import mask_of
from censor.paint import paint
from censor.stickers import STICKERS
from censor.styles import SHAPES, STYLES

CHANGES = [changes for row in DEMOS.values() for changes in row]


def test_every_style_shape_sticker_and_strength_is_shown():
    looks = [demo_region(changes).style for changes in CHANGES]
    assert {look.style for look in looks} == set(STYLES)
    assert {look.shape for look in looks} == set(SHAPES)
    assert {look.sticker.name for look in looks if look.sticker} == set(STICKERS)
    for style in ("blur", "pixelate"):
        assert {look.cells for look in looks if look.style == style} >= {1, 2, 4, 6, 8}
    assert any(look.caption for look in looks)
    assert any(changes.get("whole") for changes in CHANGES)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: " ".join(f"{k}={v}" for k, v in changes.items()))
def test_the_options_under_a_picture_give_it(changes):
    words = shlex.split(" ".join(demo._options(changes)))
    given = cli._changes(cli.command.make_context("censor", [*words, "in.png", "out.png"]).params)
    assert demo_region({name: value for name, value in given.items() if value is not None}) == demo_region(changes)


def test_no_picture_shows_what_it_hides():
    """The sheet's own pictures with something else drawn there come out alike, but for the means of the soft ones."""
    plain = demo_picture()
    for changes in CHANGES:
        region = demo_region(changes)
        canvas = plain.copy()
        [painted] = paint(canvas, [region])
        assert painted.changed > 0.9, changes
        if region.style.style in ("blur", "pixelate"):
            continue
        hidden = mask_of(region.box, region.style, (SIDE, SIDE))
        other = np.asarray(plain).copy()
        other[hidden] = 255 - other[hidden]
        paint(other, [region])
        np.testing.assert_array_equal(np.asarray(canvas), other, err_msg=repr(changes))


@pytest.mark.slow
def test_the_sheet_is_written_in_one_step_and_is_the_same_each_time(tmp_path, capsys):
    path = tmp_path / "styles.png"
    with pytest.raises(SystemExit) as done:
        cli.main(["--demo-styles", str(path)])
    assert done.value.code == 0
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(demo_sheet()))
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo-styles", "sheet.png", "in.jpg", "out.jpg"], "--demo-styles OUT must be given without pictures"),
        (["--demo-styles", "sheet"], "the sheet must have a picture's name, such as styles.png; got 'sheet'"),
        (["--demo-styles", "sheet.pgn"], "must end in one of"),
    ],
)
def test_what_makes_no_sheet_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert message in capsys.readouterr().err
