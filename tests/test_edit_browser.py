"""The editing round in a real browser: what is moved on the page is what is covered in the file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from edit_rounds import FOUND, allow_loopback, drawing, editing_of, pixels, policy, serving
from webdriver import Browser, browser, missing

from censor.edit import server as server_module
from censor.edit.editing import SCREEN_SIDE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_loopback(monkeypatch)


def spot(window: Browser, x: float, y: float) -> tuple[float, float]:
    """Return where in the window a place of the picture is."""
    left, top, zoom = window.run(
        "const box = document.getElementById('overlay').getBoundingClientRect();"
        "return [box.left, box.top, box.width / Number(document.getElementById('overlay').viewBox.baseVal.width)]"
    )
    return left + x * zoom, top + y * zoom


def box_on_page(window: Browser) -> list[int]:
    """Return the selected box as the numbers on the page say: xyxy."""
    x, y, w, h = window.run("return ['x', 'y', 'w', 'h'].map((id) => document.getElementById(id).valueAsNumber)")
    return [x, y, x + w, y + h]


def save(window: Browser) -> str:
    window.click("#save")
    window.wait("document.getElementById('saved').open")
    return str(window.run("return document.getElementById('saved').innerText"))


def test_a_box_is_moved_by_mouse_and_saved(tmp_path: Path) -> None:
    source, target = drawing(tmp_path / "in.png", (400, 600)), tmp_path / "out.png"
    before = pixels(source)
    with serving(editing_of(source, target, FOUND)) as server, browser(tmp_path / "profile") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        assert "#" not in window.run("return location.href"), "the token leaves the address"
        window.drag(spot(window, 40, 55), spot(window, 440, 305))
        moved = box_on_page(window)
        assert moved == pytest.approx([420, 280, 460, 330], abs=1), "the mouse has whole pixels of the screen"
        assert (moved[2] - moved[0], moved[3] - moved[1]) == (40, 50)
        assert os.listdir(tmp_path).count("out.png") == 0
        assert "passed" in save(window)
        expected = before.copy()
        expected[moved[1] : moved[3], moved[0] : moved[2]] = 0
        assert np.array_equal(pixels(target), expected), "covered where it was moved to, and as before elsewhere"
        record = json.loads((tmp_path / "out.png.json").read_text())
        assert record["boxes"] == [{"label": "BUTTOCKS_EXPOSED", "box": moved, "hide": True}]
        window.click("#finish")
        window.wait("document.body.className === 'over'")
        assert server.ending.wait(10)
        assert window.errors() == []


def test_drawing_resizing_undo_and_keys(tmp_path: Path) -> None:
    source, target = drawing(tmp_path / "in.png", (400, 600)), tmp_path / "out.png"
    with serving(editing_of(source, target, FOUND)) as server, browser(tmp_path / "profile") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        window.click("#add")
        window.drag(spot(window, 300, 100), spot(window, 400, 180))
        drawn = box_on_page(window)
        assert drawn == pytest.approx([300, 100, 400, 180], abs=1)
        window.drag(spot(window, *drawn[2:]), spot(window, drawn[2] + 20, drawn[3] + 40))
        x1, y1, x2, y2 = box_on_page(window)
        assert [x1, y1] == drawn[:2]
        assert [x2, y2] == pytest.approx([drawn[2] + 20, drawn[3] + 40], abs=1), "the lower right grip"
        window.press("Right")
        window.press("Shift", "Down")
        assert box_on_page(window) == [x1 + 1, y1 + 10, x2 + 1, y2 + 10]
        window.press("Alt", "Right")
        assert box_on_page(window) == [x1 + 1, y1 + 10, x2 + 2, y2 + 10]
        for _ in range(4):
            window.press("Control", "z")
        assert box_on_page(window) == drawn
        window.press("Control", "Shift", "z")
        assert box_on_page(window) == [x1, y1, x2, y2]
        window.click("#boxes li:first-child .hide")
        window.wait("document.querySelectorAll('.box.shown').length === 1")
        save(window)
        expected = pixels(source).copy()
        expected[y1:y2, x1:x2] = 0
        assert np.array_equal(pixels(target), expected), "the found box was switched off"
        window.click("#again")
        window.click("#boxes li:last-child .name")
        window.run("document.querySelector('.box.chosen').focus()")
        window.press("Delete")
        window.wait("document.querySelectorAll('#boxes li').length === 1")
        said = save(window)
        assert "please look" in said
        assert "no box of the mask is to be hidden" in said
        assert np.array_equal(pixels(target), pixels(source))


def test_a_large_picture_is_shown_small_and_hidden_to_the_pixel(tmp_path: Path) -> None:
    size = (SCREEN_SIDE // 2 + 301, SCREEN_SIDE + 1001)
    source, target = drawing(tmp_path / "in.bmp", size), tmp_path / "out.bmp"
    with serving(editing_of(source, target, FOUND)) as server, browser(tmp_path / "profile") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        assert server.editing.factor == 2
        window.click("#boxes .name")
        for field, value in (("x", 1001), ("y", 503), ("w", 205), ("h", 307)):
            window.run(
                "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
                "field.dispatchEvent(new Event('change'))",
                field,
                value,
            )
        assert box_on_page(window) == [1001, 503, 1206, 810]
        left, top = spot(window, 1001, 503)
        drawn = window.run("const b = document.querySelector('.edge').getBoundingClientRect(); return [b.left, b.top]")
        assert drawn == pytest.approx([left, top], abs=2)
        save(window)
        expected = pixels(source).copy()
        expected[503:810, 1001:1206] = 0
        assert np.array_equal(pixels(target), expected)


def test_a_second_page_gets_nothing_and_a_reload_goes_on(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png", (200, 300))
    editing = editing_of(source, tmp_path / "out.png", FOUND, rules=policy())
    with serving(editing) as server, browser(tmp_path / "profile") as window:
        link = server.url
        window.open(link)
        window.wait("document.body.dataset.shown")
        window.open(f"http://127.0.0.1:{server.server_port}/")
        window.wait("document.body.dataset.shown")
        with browser(tmp_path / "stranger") as stranger:
            stranger.open(link)
            stranger.wait("document.body.innerText.includes('was used already')")
            assert stranger.run("return document.getElementById('picture').src") == ""
            stranger.open(f"http://127.0.0.1:{server.server_port}/")
            stranger.wait("document.body.innerText.includes('holds no session')")
        assert not server.ending.is_set()


def test_names_are_text_and_a_problem_goes_when_it_is_mended(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'&.png"
    source = drawing(tmp_path / name, (400, 600))
    with serving(editing_of(source, tmp_path / f"out {name}", FOUND)) as server, browser(tmp_path / "p") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        assert window.run("return document.getElementById('source').textContent") == str(source)
        for text, hidden in (("א", False), ("ok", True)):
            window.run(
                "const field = document.getElementById('caption'); field.value = arguments[0];"
                "field.dispatchEvent(new Event('input'))",
                text,
            )
            window.wait(f"document.getElementById('problem').hidden === {str(hidden).lower()}")
        assert "passed" in save(window)
        assert all("/preview" in error for error in window.errors())  # the caption's


def test_the_page_says_when_the_program_has_stopped(tmp_path: Path) -> None:
    editing = editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND)
    with serving(editing) as server, browser(tmp_path / "profile") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        server.ending.set()
        window.wait("document.getElementById('problem').innerText.includes('has ended')")


def test_leaving_the_page_ends_the_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE", 0.5)
    editing = editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND)
    with serving(editing) as server, browser(tmp_path / "profile") as window:
        window.open(server.url)
        window.wait("document.body.dataset.shown")
        assert not server.ending.wait(1.5)
        window.open("about:blank")
        assert server.ending.wait(10)
