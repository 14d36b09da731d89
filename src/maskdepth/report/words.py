"""The words of a report that a reader may not have met, each with its meaning in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final


@dataclass(frozen=True)
class Word:
    """A word, what it means, and how it is written in the heads of tables."""

    name: str
    meaning: str
    heads: tuple[str, ...] = ()


WORDS: Final = {
    "composite": Word(
        "Composite",
        "a cutout pasted on a photo or a drawn scene, so that the true mask is known.",
    ),
    "recipe": Word(
        "Recipe", "the choices that make one composite: its assets, place, size and light."
    ),
    "slice": Word(
        "Slice",
        "composites of one kind. clean: as they are pasted; jpeg: picture and plate saved as JPEG; "
        "hard: with shadow, other light, noise, and a plate that has moved.",
    ),
    "cell": Word(
        "Cell, seen, unseen",
        "composites whose cutouts and backgrounds the network was trained on (seen) or not: four "
        "cells a slice.",
    ),
    "threshold": Word(
        "|picture − plate|, threshold",
        "a mask without any network: the pixels in which picture and plate differ by more than a "
        "threshold, which is tuned on other composites.",
    ),
    "registration": Word(
        "Registration", "moving the plate onto the picture and lighting it alike, as predict does."
    ),
    "interval": Word(
        "95 % interval",
        "how much depends on the choice of cutouts and backgrounds: with 95 of 100 random choices "
        "out of those here the mean lies in it.",
    ),
    "dice": Word(
        "Dice, IoU", "overlap of a mask with the true one; 1 is perfect.", ("Dice", "IoU")
    ),
    "boundary_f": Word(
        "Boundary F",
        "the same for outlines: the share of them that is right to 2 pixels.",
        ("Bound. F", "Bound. F1"),
    ),
    "alpha": Word(
        "SAD, MSE, Grad, Conn",
        "errors of alpha, also of soft edges, summed (SAD) or squared (MSE), in its slopes and in "
        "loose parts; 0 is perfect.",
        ("SAD", "MSE", "Grad", "Conn"),
    ),
    "labels": Word(
        "Labels",
        "the depth that counts as true: exact in drawn scenes, else of a sensor, or of another "
        "depth network, the teacher.",
    ),
    "abs_rel": Word(
        "AbsRel", "mean error of depth as a share of the true depth; 0 is perfect.", ("AbsRel",)
    ),
    "delta": Word(
        "delta 1 (δ1)",
        "share of the pixels whose depth is right to a factor of 1.25; δ2 and δ3: of its square "
        "and cube.",
        ("δ1", "δ2", "δ3"),
    ),
    "silog": Word(
        "RMSE, log10, SILog",
        "errors of depth: root of the mean square, mean of the logarithms, and the spread "
        "of the latter, which leaves most of a common factor out.",
        ("RMSE", "log10", "SILog"),
    ),
    "order": Word(
        "Order",
        "share of pairs of pixels of which the nearer one is found; 0.5 is a guess.",
        ("Order",),
    ),
    "ssim": Word(
        "SSIM", "likeness of two disparity maps in small windows; 1 is perfect.", ("SSIM",)
    ),
}
_BY_HEAD: Final = {head: key for key, word in WORDS.items() for head in word.heads}


def link(text: str, key: str) -> str:
    """A text as HTML that leads to the meaning of a word, and shows it under the pointer."""
    return f'<a href="#word-{key}" title="{escape(WORDS[key].meaning)}">{escape(text)}</a>'


def link_head(text: str) -> str:
    """The head of a column as HTML, linked where it is one of the words."""
    name = text.rstrip(" ↑↓")
    key = _BY_HEAD.get(name)
    return escape(text) if key is None else link(name, key) + text[len(name) :]


def glossary() -> str:
    """All words with their meanings."""
    items = "".join(
        f'<div id="word-{key}"><dt>{escape(word.name)}</dt><dd>{escape(word.meaning)}</dd></div>'
        for key, word in WORDS.items()
    )
    return (
        f'<details class="words" open><summary>Words used here</summary><dl>{items}</dl></details>'
    )
