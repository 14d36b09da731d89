"""The page in headless Chromium, as a file that was opened by double click."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from browser import PageWatch, browser_driver, wait_until_ready
from maskdepth import Predictor
from maskdepth.depth import decode_disparity
from maskdepth.errors import PageNotBuiltError
from maskdepth.images import encode_jpeg, load_grey16, load_picture, save_png, shrink
from maskdepth.inference.plate.light import find_light, mean_cells
from maskdepth.inference.prediction import Prediction
from maskdepth.page import PAGE_FILES, write_page
from maskdepth.synthesis.worlds import render_cutout, render_scene
from servers import process_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from browser import Launch

Picture = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "web" / "sample"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
MIN_ALIKE = 0.995  # of the pixels that differ by at most two levels from Python's


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    try:
        write_page(path)
    except PageNotBuiltError as error:
        pytest.skip(str(error))
    return path.as_uri()


@pytest.fixture(scope="module")
def launch(address: str) -> Iterator[Launch]:
    assert address  # skips without the built page, before a browser is started
    with browser_driver() as launch:
        yield launch


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> tuple[Page, PageWatch]:
    """The page with its sample pair, which the tests of this file share."""
    page = browser.new_page()
    watch = PageWatch(page)
    page.goto(address)
    wait_until_ready(page)
    return page, watch


@pytest.fixture
def page(opened: tuple[Page, PageWatch]) -> Page:
    return opened[0]


def draw_pair(seed: int, height: int, width: int, light: float) -> tuple[Picture, Picture]:
    """A drawn scene with and without an animal, the first one in another light."""
    plate = render_scene("yard", seed, height, width).image
    rng = np.random.default_rng(seed)
    cutout = render_cutout("quadruped", seed, min(height, width) // 3).image
    rows, columns = cutout.shape[:2]
    top, left = rng.integers(0, height - rows), rng.integers(0, width - columns)
    picture = plate.astype(np.float64)
    alpha = cutout[..., 3:] / 255
    part = picture[top : top + rows, left : left + columns]
    part[:] = alpha * cutout[..., :3] + (1 - alpha) * part
    noisy = picture * light + rng.normal(0, 1.5, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), plate


def give(page: Page, files: dict[str, Path]) -> None:
    """Choose files for the slots, and wait for the result."""
    from playwright.sync_api import expect

    for slot, path in files.items():
        page.set_input_files(f"#file-{slot}", path)
        expect(page.locator(f"#name-{slot}")).to_have_text(path.name)
        wait_until_ready(page)


def download(page: Page, button: str, path: Path) -> Path:
    with page.expect_download() as started:
        page.click(f"#save-{button}")
    started.value.save_as(path)
    return path


def predict_in_python(picture: Picture, plate: Picture) -> Prediction:
    """What the page calculates: light, network and close-up, but no motion and no outlines."""
    predictor = Predictor.from_pretrained(register=False, refine=False)
    prepared = predictor.prepare(plate, picture.shape[:2])
    small_size = prepared.small_picture.shape[:2]
    cells = mean_cells(shrink(picture, *small_size))
    light = find_light(cells, mean_cells(prepared.small_picture))
    if light is not None:
        lit = light.apply(prepared.picture)
        prepared = replace(prepared, picture=lit, small_picture=shrink(lit, *small_size))
    return predictor.predict(picture, prepared)


def share_within_two_levels(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.mean(np.abs(first.astype(np.float64) - second) <= 2))


def test_the_sample_pair_is_cut_out_without_a_complaint_or_a_request(
    opened: tuple[Page, PageWatch], address: str
) -> None:
    page, watch = opened
    assert watch.complaints == []
    others = [url for url in watch.requests if not url.startswith(("data:", "blob:"))]
    assert others == [address]
    assert "The camera has not moved." in page.inner_text("#notes")


@pytest.mark.parametrize(
    ("seed", "height", "width", "light"),
    [(1, 224, 224, 1.0), (2, 480, 640, 1.12), (3, 540, 405, 0.85), (5, 128, 170, 1.0)],
)
def test_the_page_finds_what_python_finds(
    seed: int, height: int, width: int, light: float, page: Page, tmp_path: Path
) -> None:
    picture, plate = draw_pair(seed, height, width, light)
    files = {slot: tmp_path / f"{slot}_{seed}.png" for slot in ("plate", "picture")}
    save_png(files["plate"], plate)
    save_png(files["picture"], picture)
    give(page, files)
    expected = predict_in_python(picture, plate)
    assert expected.mask.any()
    alpha = load_picture(download(page, "alpha", tmp_path / "alpha.png"))[..., 0]
    assert share_within_two_levels(alpha, expected.alpha_8_bit()) >= MIN_ALIKE
    codes = load_grey16(download(page, "disparity", tmp_path / "disparity.png"))
    disparity = decode_disparity(codes)
    assert share_within_two_levels(255 * disparity, 255 * expected.disparity) >= MIN_ALIKE


def test_a_moved_camera_and_exchanged_pictures_are_noticed(page: Page, tmp_path: Path) -> None:
    moved = tmp_path / "moved.png"
    save_png(moved, np.roll(load_picture(SAMPLE / "plate.jpg"), (9, -16), axis=(0, 1)))
    give(page, {"plate": moved, "picture": SAMPLE / "picture.jpg"})
    assert "The camera has moved" in page.inner_text("#notes")
    picture, plate = draw_pair(2, 480, 640, 1.0)
    for name, pixels in (("picture", picture), ("plate", plate)):
        save_png(tmp_path / f"{name}.png", pixels)
    give(page, {"plate": tmp_path / "picture.png", "picture": tmp_path / "plate.png"})
    assert "seem to be exchanged" in page.inner_text("#notes")
    page.click("#exchange")
    wait_until_ready(page)
    assert "The camera has not moved." in page.inner_text("#notes")
    assert "exchanged" not in page.inner_text("#notes")


def test_what_is_no_picture_and_what_does_not_fit_is_said_in_a_sentence(
    page: Page, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    text, narrow = tmp_path / "notes.png", tmp_path / "narrow.png"
    text.write_text("no picture")
    save_png(narrow, np.zeros((400, 100, 3), np.uint8))
    page.set_input_files("#file-picture", text)
    error = page.locator("#error")
    expect(error).to_have_text(
        "notes.png is not a picture that this browser can open. Try a JPEG or PNG."
    )
    page.click("#sample")
    wait_until_ready(page)
    assert error.is_hidden()
    page.set_input_files("#file-plate", SAMPLE / "plate.jpg")
    page.set_input_files("#file-picture", SAMPLE / "picture.jpg")
    expect(page.locator("#name-picture")).to_have_text("picture.jpg")
    wait_until_ready(page)
    page.set_input_files("#file-plate", narrow)
    expect(error).to_contain_text("The empty scene (100 × 400) has another shape")


def test_two_distances_make_metres(page: Page) -> None:
    page.click("#sample")
    wait_until_ready(page)
    page.check('input[value="depth"]', force=True)
    page.click("#calibrate")
    box = page.locator("#result").bounding_box()
    assert box is not None
    for (x, y), metres in (((0.5, 0.97), "1.5"), ((0.5, 0.62), "4")):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.fill("#distance", metres)
        page.press("#distance", "Enter")
    readout = page.locator("#readout")
    assert "the foreground is" in readout.inner_text()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.97 * box["height"])
    assert "1.5" in readout.inner_text().rpartition("·")[2]
    page.check('input[value="cutout"]', force=True)


def test_the_page_works_by_keyboard(page: Page) -> None:
    page.click("#sample")
    wait_until_ready(page)
    page.focus('input[value="cutout"]')
    page.keyboard.press("ArrowRight")
    assert page.is_checked('input[value="mask"]')
    page.focus("#result")
    page.keyboard.press("ArrowRight")
    assert "foreground" in page.inner_text("#readout")
    page.check('input[value="cutout"]', force=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_reads_well(scheme: Any, browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.goto(address)
    wait_until_ready(page)
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0
    if not AXE.exists():
        pytest.skip("axe-core is not installed (make web installs it)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(result => result.violations)")
    serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []
    page.close()


def test_the_camera_takes_the_empty_scene_and_cuts_out_what_comes(
    launch: Launch, address: str, tmp_path: Path
) -> None:
    """The camera is a drawn clip: ten seconds of an empty yard, then an animal is there."""
    picture, plate = draw_pair(2, 240, 320, 1.0)
    clip = tmp_path / "clip.mjpeg"  # thirty frames a second
    clip.write_bytes(encode_jpeg(plate, 95) * 300 + encode_jpeg(picture, 95) * 1800)
    fake = "--use-fake-device-for-media-stream"
    file = f"--use-file-for-fake-video-capture={clip}"
    with launch(fake, file, "--use-fake-ui-for-media-stream") as browser:
        page = browser.new_page()
        watch = PageWatch(page)
        page.goto(address)
        wait_until_ready(page)
        page.click("#camera-start")
        page.click("#camera-plate")
        page.wait_for_selector("text=Leave the picture: 5")
        page.wait_for_selector("text=/Live, [0-9]+ pictures a second/", timeout=60_000)
        page.wait_for_timeout(10_000)
        page.click("#camera-hold")
        wait_until_ready(page)
        alpha = load_picture(download(page, "alpha", tmp_path / "alpha.png"))[..., 0]
        expected = predict_in_python(picture, plate)
        both = (alpha > 127) & expected.mask
        assert 2 * both.sum() > 0.95 * ((alpha > 127).sum() + expected.mask.sum())
        assert watch.complaints == []


def test_the_server_shows_the_page_and_is_asked_for_its_files_alone(
    browser: Browser, tmp_path: Path
) -> None:
    with process_server(tmp_path / "plates") as server, browser.new_page() as page:
        watch = PageWatch(page)
        page.goto(server.url)
        wait_until_ready(page)
        assert "The camera has not moved." in page.inner_text("#notes")
        asked = {url.removeprefix(f"{server.url}/") for url in watch.requests if "data:" not in url}
        assert asked == {"", *PAGE_FILES} - {"index.html"}
        assert watch.complaints == []


def test_a_browser_source_shows_nothing_but_the_cutout(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}?transparent")
    wait_until_ready(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert page.locator("header").is_hidden()
    page.close()
