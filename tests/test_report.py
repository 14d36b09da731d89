"""The report is one file, says what was measured, and trusts no text."""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from maskdepth.errors import StorageError
from maskdepth.evaluation import Panel, read_evaluation
from maskdepth.images import decode_jpeg
from maskdepth.report import score_table, write_report

MASK = {
    "dice": 0.91, "iou": 0.84, "boundary_f": 0.8,
    "sad": 1.2, "mse": 0.01, "gradient": 2.0, "connectivity": 1.1,
}  # fmt: skip
DEPTH = {"abs_rel": 0.21, "rmse": 3.0, "delta1": 0.7, "ssim": 0.8}
EMPTY = {"pictures": 0, "mean": None, "interval": None, "reason": "there are 0 cutouts"}


def column(mean, spread=0.02, **more):
    interval = {name: [value - spread, value + spread] for name, value in mean.items()}
    counts = {"pictures": 20, "cutouts": 4, "backgrounds": 3}
    return {**counts, "mean": dict(mean), "interval": interval, **more}


def mask_column(dice, **more):
    return column({**MASK, "dice": dice}, **more)


def table(dice=0.91, baseline=0.8):
    cells = ("seen_seen", "seen_unseen", "unseen_seen", "unseen_unseen")
    tuned = {"on": "val", "threshold": 12, "median_px": 5, "val_dice": 0.9}
    return {
        "backgrounds_of": "user",
        "cells": {name: mask_column(dice) for name in cells},
        "no_plate": mask_column(0.5),
        "difference": mask_column(baseline, tuned=tuned),
        "difference_registered": mask_column(baseline, tuned=tuned),
        "centred_disc": mask_column(0.3),
        "empty": mask_column(0.0),
        "others": {},
    }


@pytest.fixture
def evaluation():
    regions = {"whole": column(DEPTH), "inside_mask": column(DEPTH)}
    inside = {**regions, "whole": EMPTY}
    asked = ("robustness", "frames", "sensor_depth", "withheld", "teacher")
    return {
        **dict.fromkeys(asked),
        "format": "maskdepth-evaluation",
        "version": 1,
        "maskdepth": "0.1.0",
        "made": "2031-05-06T07:08:09+00:00",
        "seconds": 12.3,
        "benchmark": {"version": 1, "seed": 2026, "count": 20, "size": 224, "slices": ["clean"]},
        "interval": {"confidence": 0.95, "resampled": "groups", "seed": 2026},
        "model": {
            "preset": "small", "weights": 412345, "depth": "exact", "maskdepth": "0.1.0",
            "sha256": "ab" * 32,
        },
        "others": {},
        "labels": {},
        "assets": {kind: {"train": 6, "val": 2, "test": 3} for kind in ("cutouts", "backgrounds")},
        "masks": {"clean": table()},
        "depth": {
            "depth_units": "multiples of the nearest distance",
            "silog_lambda": 0.85,
            "labels": ["exact"],
            "backgrounds_of": ["sample"],
            "columns": {"picture": regions, "plate": regions, "plate_and_disparity": inside},
            "baselines": {"vertical_gradient": regions, "plate_disparity": inside},
            "teacher": None,
            "others": {},
            "depth_dice": column(
                {"score": 0.52, "perfect": 0.5, "all_white": 0.54, "maximum": 0.64}
            ),
        },
    }  # fmt: skip


def make_extras(evaluation, name="rig", reason="no plate"):
    def columns(dice):
        return {
            "model": mask_column(dice),
            "difference": mask_column(dice / 2),
            "difference_tuned_here": {**EMPTY, "reason": reason},
            "difference_registered": mask_column(dice / 3),
            "difference_registered_tuned_here": mask_column(dice / 4),
            "others": {name: mask_column(dice)},
        }

    points = [{"value": value, "columns": columns(0.9 - value / 10)} for value in (0, 1, 4)]
    curve = {"title": name, "unit": "px", "how": name, "neutral": 0, "points": points}
    guesses = dict.fromkeys(("model", "centred_disc", "empty"), column(MASK))
    scores = {"f1": 0.871, "precision": 0.8, "recall": 0.9}
    threshold = {**scores, "tuned": {"threshold": 44, "median_px": 9, "on": 20}}
    frames = {
        **dict.fromkeys(("model", "no_plate", "mog2"), scores),
        **dict.fromkeys(("difference", "difference_registered"), threshold),
        "others": {name: scores},
        "frames": 20,
        "left_out": [{"frames": 7, "first": "in000003.jpg", "why": "no ground truth"}],
    }
    figures = {"abs_rel": 0.234, "delta1": 0.6, "ordinal_accuracy": 0.7}
    measured = dict.fromkeys(("model", "vertical_gradient", "teacher"), figures)
    depth = {**evaluation["depth"], "teacher": name}
    depth["baselines"] = {**depth["baselines"], "teacher": depth["columns"]["plate"]}
    depth["others"] = {name: {key: depth["columns"][key] for key in ("picture", "plate")}}
    return {
        "robustness": {
            "slice": "clean",
            "count": 33,
            "backgrounds_of": "user",
            "clean": {"columns": columns(0.9)},
            "curves": {"plate_shift": curve, "exposure": curve},
            "wrong_plate": {"columns": columns(0.2)},
            "no_plate": {"columns": guesses},
        },
        "frames": {name: frames},
        "sensor_depth": {name: {name: {"pictures": 5, **measured, "others": {name: figures}}}},
        "withheld": {"scenes": 40, "placements": {"standing": depth, "anywhere": depth}},
    }


def make_example(**changes):
    colour = np.full((32, 32, 3), (200, 30, 60), np.uint8)
    grey = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    panel = Panel(
        group="masks", rank="worst", slice="clean", index=17, figures={"dice": 0.123},
        picture=colour, plate=colour, target_alpha=grey, pred_alpha=grey,
        target_disparity=None, pred_disparity=grey,
    )  # fmt: skip
    return replace(panel, **changes)


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    VOID = frozenset({"meta", "img", "line", "circle", "polyline", "polygon", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(path, evaluation, panels=(), log=None):
    write_report(path / "report.html", read_evaluation(evaluation), panels, log)
    return (path / "report.html").read_text(encoding="utf-8")


LOG = [{"step": step, "total": 2 / step, "val_dice": None} for step in range(1, 900)] + [
    {"step": step, "val_dice": step / 1000, "val_loss": 1.0} for step in (100, 500, 899)
]


def test_the_report_needs_nothing_else(tmp_path, evaluation):
    text = read(tmp_path, evaluation, [make_example()], LOG)
    page = Reader(text)
    assert not re.search(r"https?:|url\(|@import|//", re.sub(r"base64,[^\"]+", "", text))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name == "src"]
    links = [value for name, value in page.attributes if name == "href"]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert {("id", link.removeprefix("#")) for link in links} <= set(page.attributes)
    assert "default-src 'none'" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_it_says_the_figures_and_what_they_were_measured_on(tmp_path, evaluation):
    text = Reader(read(tmp_path, evaluation)).text
    for fact in ("0.910", "0.890–0.930", "over 12/255, median 5 px", "412,345 weights"):
        assert fact in text
    for fact in ("3 test", "seed 2026", "maskdepth 0.1.0", "ab" * 32, "2031-05-06"):
        assert fact in text


@pytest.mark.parametrize(
    ("baseline", "words"),
    [(0.8, "+0.110 over the tuned threshold"), (0.99, "the tuned threshold is better")],
)
def test_it_says_who_wins(tmp_path, evaluation, baseline, words):
    evaluation["masks"]["clean"] = table(0.91, baseline)
    assert words in Reader(read(tmp_path, evaluation)).text


def test_the_words_of_its_tables_lead_to_what_they_mean(tmp_path, evaluation):
    """Every head of a column with figures is a link, but for the number of pictures."""
    text = read(tmp_path, evaluation)
    heads = re.findall(r'<th scope="col">(.*?)</th>', text.split("The prior work’s depth Dice")[0])
    unlinked = {head for head in heads if not head.startswith('<a href="#word-')}
    assert unlinked == {"", "pictures"}
    words = Reader(text).text.split("Words used here")[1].split("Masks and alpha")[0]
    for term in ("Composite", "Recipe", "Slice", "Cell", "threshold", "Labels", "SILog"):
        assert term in words


def test_drawn_scenes_are_counted_apart_from_the_backgrounds_of_the_user(tmp_path, evaluation):
    assert "11 backgrounds (6 train, 2 val, 3 test), with any drawn" in read(tmp_path, evaluation)
    evaluation["drawn_backgrounds"] = {"train": 4, "val": 1, "test": 2}
    text = read(tmp_path, evaluation)
    assert "4 backgrounds of your own (2 train, 1 val, 1 test)" in text
    assert "7 scenes drawn by maskdepth (4 train, 1 val, 2 test)" in text
    evaluation["drawn_backgrounds"] = {"train": 0, "val": 0, "test": 0}
    assert "drawn by maskdepth" not in read(tmp_path, evaluation)


def test_texts_are_escaped(tmp_path, evaluation):
    evil = '<script>alert("x")</script><img src=//host/x onerror=a>'
    hostile = copy.deepcopy(evaluation)
    hostile["model"].update(preset=evil, depth=evil, maskdepth=evil, sha256=evil)
    hostile["masks"] = {evil: table()}
    hostile["masks"][evil]["others"] = {evil: column(MASK)}
    hostile["masks"][evil]["no_plate"] = {**EMPTY, "reason": evil}
    hostile["depth"].update(labels=[evil], depth_units=evil)
    hostile["made"] = evil
    panel = make_example(rank=evil, slice=evil, figures={evil: 1.0})
    page = Reader(read(tmp_path, hostile, [panel]))
    assert "script" not in page.tags
    assert all(not name.startswith("on") for name, _ in page.attributes)
    assert page.tags.count("img") == 5
    assert f"other: {evil}" in page.text


def test_panels_show_what_they_hold(tmp_path, evaluation):
    panels = [
        make_example(),
        make_example(
            group="depth", figures={"abs_rel": 0.4}, target_disparity=np.full((32, 32), np.nan)
        ),
    ]
    text = read(tmp_path, evaluation, panels)
    pictures = re.findall(r"base64,([^\"]+)", text)
    assert len(pictures) == 5 + 6
    decoded = [decode_jpeg(base64.b64decode(data)) for data in pictures]
    np.testing.assert_allclose(decoded[0][16, 16], (200, 30, 60), atol=6)
    words = Reader(text).text
    assert "this background has no label" in words
    assert "Dice 0.123" in words
    assert "AbsRel 0.400" in words
    assert "composite 17" in words


def test_holes_are_shown_with_their_reason(tmp_path, evaluation):
    bare = table()
    bare["cells"] = dict.fromkeys(bare["cells"], EMPTY)
    for name in ("no_plate", "difference", "difference_registered", "centred_disc", "empty"):
        bare[name] = EMPTY
    evaluation["masks"]["clean"] = bare
    evaluation["depth"] = {"depth_units": "u", "columns": None, "reason": "no labels here"}
    text = Reader(read(tmp_path, evaluation)).text
    assert text.count("there are 0 cutouts") == 9
    assert "Not judged: no labels here" in text


def test_an_unlearned_depth_is_said(tmp_path, evaluation):
    unlearned = {**EMPTY, "reason": "the model never learned depth"}
    for name in evaluation["depth"]["columns"]:
        evaluation["depth"]["columns"][name] = {"whole": unlearned, "inside_mask": unlearned}
    evaluation["depth"]["depth_dice"] = unlearned
    text = Reader(read(tmp_path, evaluation, [make_example(pred_disparity=None)])).text
    assert text.count("the model never learned depth") == 3 + 3 + 1 + 1


def test_limits_follow_the_evaluation(tmp_path, evaluation):
    assert "Do not set these figures beside" in read(tmp_path, evaluation)
    evaluation["benchmark"]["count"] = 500
    assert "Do not set these figures beside" not in read(tmp_path, evaluation)
    assert "drawn scenes only" not in read(tmp_path, evaluation)
    evaluation["model"]["depth"] = "synthetic only"
    assert "drawn scenes only" in read(tmp_path, evaluation)
    assert "nothing says how good it is on photographs" in read(tmp_path, evaluation)
    evaluation |= make_extras(evaluation)
    assert "only “Measured depth” says how good it is" in read(tmp_path, evaluation)


def test_curves_come_from_the_log(tmp_path, evaluation):
    text = read(tmp_path, evaluation, log=LOG)
    lines = re.findall(r'<polyline class="\w+" points="([^"]+)"', text)
    assert [len(line.split()) for line in lines] == [240, 3, 3]
    coordinates = np.array([point.split(",") for point in " ".join(lines).split()], float)
    assert np.isfinite(coordinates).all()
    assert (coordinates >= 0).all()
    assert (coordinates <= (480, 220)).all()
    assert "Dice: 0.899 at the end" in Reader(text).text
    for log in (None, [], [{"step": 1, "total": None}], [{"step": 3, "total": 0.5}]):
        assert "<h2>Training" not in read(tmp_path, evaluation, log=log)


def test_extras_have_a_section_each(tmp_path, evaluation):
    titles = ("Robustness", "Real frames", "Measured depth", "A withheld world")
    bare = read(tmp_path, evaluation)
    assert not [title for title in titles if f"<h2>{title}" in bare]
    text = read(tmp_path, evaluation | make_extras(evaluation))
    assert [title for title in titles if f"<h2>{title}" in text] == list(titles)
    words = Reader(text).text
    for fact in (
        "first 33 composites",
        "0.871",
        "over 44/255, median 9 px",
        "0.234",
        "40 drawn",
        "7 frames left out",
    ):
        assert fact in words
    assert "other: rig" in words


def test_robustness_curves_are_drawn_to_scale(tmp_path, evaluation):
    text = read(tmp_path, evaluation | make_extras(evaluation))
    charts = re.findall(r'<svg viewBox="0 0 480 240".*?</svg>', text)
    assert len(charts) == 2
    lines = dict(re.findall(r'<polyline class="([\w ]+)" points="([^"]+)"', charts[0]))
    assert set(lines) == {
        "first",
        "second dashed",
        "third",
        "third dashed",
        "fourth",
        "flat dashed",
    }
    x, y = np.array([each.split(",") for each in lines["first"].split()], float).T
    # Equal steps of Dice are equal steps down; x is in proportion to the value.
    np.testing.assert_allclose((x[2] - x[1]) / (x[1] - x[0]), 3, atol=0.02)
    np.testing.assert_allclose((y[2] - y[1]) / (y[1] - y[0]), 3, atol=0.05)
    flat = np.array([each.split(",") for each in lines["flat dashed"].split()], float)
    assert flat[0, 1] == flat[1, 1]
    assert charts[0].count('<polygon class="band"') == 1


def test_texts_of_the_extras_are_escaped(tmp_path, evaluation):
    evil = '<script>alert("x")</script><img src=//host/x onerror=a>'
    page = Reader(read(tmp_path, evaluation | make_extras(evaluation, evil, evil)))
    assert not {"script", "img"} & set(page.tags)
    assert f"other: {evil}" in page.text


def test_curves_without_unseen_assets_say_why(tmp_path, evaluation):
    evaluation["robustness"] = {"curves": None, "reason": "there are 0 cutouts"}
    assert "Not judged: there are 0 cutouts" in Reader(read(tmp_path, evaluation)).text


def test_terminals_see_the_model_between_its_baselines(evaluation):
    evaluation["masks"]["clean"]["difference_registered"] = mask_column(0.777)
    lines = score_table(read_evaluation(evaluation)).splitlines()
    (registered,) = [line for line in lines if "after registration" in line]
    assert "0.7770" in registered
    assert "0.757 to 0.797" in registered
    assert [line for line in lines if "this model" in line and "0.9100" in line]


def test_terminals_say_why_a_threshold_wins_and_hide_what_finds_nothing(evaluation):
    clean = evaluation["masks"]["clean"]
    text = score_table(read_evaluation(evaluation))
    assert ("is better here" in text, "without plate" in text) == (False, True)
    clean["difference_registered"], clean["no_plate"] = mask_column(0.95), mask_column(0.0)
    text = score_table(read_evaluation(evaluation))
    assert "the tuned threshold after registration is better here by 0.040" in text
    assert "without plate" not in text


def test_a_model_of_whatever_name_leaves_the_other_lines_alone(evaluation):
    evaluation["masks"]["clean"]["others"] = {"this model": mask_column(0.1)}
    lines = [
        line
        for line in score_table(read_evaluation(evaluation)).splitlines()
        if "this model" in line
    ]
    assert ["0.9100" in lines[0], "0.1000" in lines[1]] == [True, True]


def test_a_report_that_cannot_be_written_is_an_error(tmp_path, evaluation):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        read(tmp_path / "file", evaluation)
