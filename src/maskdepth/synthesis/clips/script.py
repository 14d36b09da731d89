"""The script of a drawn clip: who walks where and when, what the camera and the light do.

Script ``i`` is a pure function of (rules, pool of assets, seed, ``i``), by the counter-based
generator of `maskdepth.synthesis.draws`. Its plate and what objects do to their surroundings are
those of recipe ``i``. A frame's recipe follows from the script and the frame's number alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from maskdepth.errors import UsageError
from maskdepth.synthesis.assets import CutoutAsset
from maskdepth.synthesis.clips.paths import Actor, GroundView, Path
from maskdepth.synthesis.clips.rules import MAX_FRAMES, ClipRules
from maskdepth.synthesis.draws import Array, Stream, draw_uniforms
from maskdepth.synthesis.effects import CameraMotion, Effects
from maskdepth.synthesis.placement import Placement
from maskdepth.synthesis.recipes import Pool, Recipe, sample_recipe
from maskdepth.synthesis.rules import Range

MAX_CLIPS: Final = 1_000_000
_MAX_ACTORS: Final = 16  # spans of random numbers that a clip owns in the stream of objects
_THINGS: Final = (8, 9)  # numbers of what is left and of what is taken, after the walkers
_WAVES: Final = 3  # sines of which a shake is the sum
_WAVE_RATES: Final = (0.01, 0.3)  # cycles a frame
_DRIFT_PERIODS: Final = (0.7, 2.0)  # of the clip
_MIN_EVENT: Final = 5  # frames before an event, and after its start
_SAME_SIDE: Final = 0.3  # share of ways that leave the frame where they entered it
_BEFORE: Final = 0.3  # of its time an object may have spent before the clip begins, or after it
_GAP: Final = 1.2  # widths between the middles of an object and what it carries
_LIGHT_RAMP: Final = (1.0, 8.0)  # frames
_MOVED_RAMP: Final = (1.0, 4.0)

EventKind = Literal["left", "taken", "light", "moved"]


@dataclass(frozen=True)
class ClipEvent:
    """Something after which the frames differ from the plate for good.

    Attributes:
        kind: ``"left"``, something stands in the scene that was not there; ``"taken"``, something
            is gone that the plate shows; ``"light"``, the light changed; ``"moved"``, the camera.
        start, end: the first and the last frame that differ by it.
        box: left, top, right and bottom of what was left or taken, in the plate's pixels, cut to
            the frame; None of the others.
    """

    kind: EventKind
    start: int
    end: int
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class _Ramp:
    """A change that begins in a frame and is complete some frames later."""

    start: int
    frames: float

    def at(self, frame: int) -> float:
        """How far the change has come, 0 to 1."""
        return min(max((frame - self.start + 1) / self.frames, 0.0), 1.0)


@dataclass(frozen=True, eq=False)
class _Camera:
    """The camera's shake, drift and changes; arrays have a row for x, y and the turn."""

    amplitudes: Array  # (3,): px, px, degrees
    rates: Array  # (3, waves): cycles a frame
    phases: Array  # (3, waves)
    moved: tuple[float, float, float]
    moved_when: _Ramp | None
    drift: tuple[float, float, float]  # stops, period in frames, phase
    light_stops: float
    light_when: _Ramp | None

    def motion(self, frame: int) -> CameraMotion:
        waves = np.sin(2 * np.pi * (self.rates * frame + self.phases)).mean(axis=1)
        dx, dy, angle = self.amplitudes * waves
        if self.moved_when is not None:
            come = self.moved_when.at(frame)
            dx, dy, angle = (
                value + come * total
                for value, total in zip((dx, dy, angle), self.moved, strict=True)
            )
        return CameraMotion((float(dx), float(dy)), float(angle))

    def gain(self, frame: int) -> float:
        stops, period, phase = self.drift
        exposure = stops * np.sin(2 * np.pi * (frame / period + phase))
        if self.light_when is not None:
            exposure += self.light_stops * self.light_when.at(frame)
        return float(2.0**exposure)


@dataclass(frozen=True, eq=False)
class ClipScript:
    """Everything that happens in a clip.

    Attributes:
        number: the clip's number.
        rules: the rules that it was drawn from.
        events: in the order of their starts.
    """

    number: int
    rules: ClipRules
    events: tuple[ClipEvent, ...]
    _seed: int
    _scene: Recipe
    _ground: GroundView
    _actors: tuple[Actor, ...]
    _camera: _Camera

    def camera(self, frame: int) -> CameraMotion:
        """How far the camera of a frame is from the plate's."""
        return self._camera.motion(frame)

    def gain(self, frame: int) -> float:
        """Factor of a frame's brightness, to that of the plate."""
        return self._camera.gain(frame)

    def recipe(self, frame: int) -> tuple[Recipe, frozenset[int]]:
        """A frame's recipe, and which of its objects belong to the plate.

        It is a recipe of the rendered square: the frame and `ClipRules.margin` around it.
        """
        placed = [
            (placement, actor.is_fixture(frame))
            for actor in self._actors
            if (placement := actor.place(self._ground, frame)) is not None
        ]
        placed.sort(key=_distance_order)
        span = self.number * MAX_FRAMES + frame
        noise_seed = int(draw_uniforms(self._seed, Stream.CLIP_NOISE, span, span + 1)[0, 0] * 2**53)
        effects = replace(self._scene.effects, gains=(self.gain(frame),) * 3)
        recipe = replace(
            self._scene,
            objects=tuple(placement for placement, _ in placed),
            effects=effects,
            noise_seed=noise_seed,
        )
        return recipe, frozenset(number for number, (_, fixed) in enumerate(placed) if fixed)

    def plate_recipe(self) -> Recipe:
        """The recipe whose picture is the plate: without noise, and encoded without losses."""
        fixtures = [actor.place(self._ground, 0) for actor in self._actors if actor.is_fixture(0)]
        return replace(
            self._scene,
            objects=tuple(placement for placement in fixtures if placement is not None),
            effects=replace(self._scene.effects, row_noise=0.0),
            noise_sigma=0.0,
            jpeg_picture=None,
        )


def _distance_order(placed: tuple[Placement, bool]) -> float:
    """Sorts objects from far to near: by disparity, or by the row where they stand."""
    placement, _ = placed
    standing = placement.standing
    return placement.y + placement.height if standing is None else standing.disparity


def sample_script(rules: ClipRules, pool: Pool, seed: int, number: int) -> ClipScript:
    """The script of one clip.

    Args:
        pool: the assets to choose from.
        seed: 0 or more.
        number: of the clip, from 0.

    Raises:
        UsageError: the number is below 0 or beyond a million.
    """
    if not 0 <= number < MAX_CLIPS:
        raise UsageError(
            f"a clip number from 0 to {MAX_CLIPS - 1}",
            str(number),
            "choose such a number",
            f"There is no clip {number}: numbers go from 0 to {MAX_CLIPS - 1}.",
        )
    u = _Numbers(draw_uniforms(seed, Stream.CLIP, number, number + 1)[0])
    scene = _fixed_scene(sample_recipe(rules.scene, pool, seed, number))
    scene = replace(scene, noise_sigma=u.between(rules.noise_sigma))
    background = next(each for each in pool.backgrounds if each.id == scene.background)
    side = scene.crop_side * min(background.width, background.height)
    crop = scene.crop_x * (background.width - side), scene.crop_y * (background.height - side), side
    size = rules.rendered_size
    ground = GroundView.of(background, crop, size, horizon=u.between((0.05, 0.35)))
    low, high = rules.walkers
    count = low + int(u.take() * (high - low + 1))
    leaves, takes = (u.take() < each for each in (rules.left_probability, rules.taken_probability))
    camera = _sample_camera(rules, seed, number)
    cast = _Cast(rules, pool, seed, number, ground, size)
    walkers = [
        cast.walker(index, carries=leaves * (index == 0) + takes * (index == min(1, count - 1)) > 0)
        for index in range(count)
    ]
    actors, events = list(walkers), _camera_events(camera, rules.frames)
    if walkers and leaves:
        thing = cast.thing(_THINGS[0], walkers[0])
        start = int(np.ceil(thing.path.pause))
        thing = replace(thing, last=thing.path.pause)
        box = cast.visible_box(thing, rules.frames - 1)
        if _MIN_EVENT <= start <= rules.frames - _MIN_EVENT and box is not None:
            actors.append(thing)
            events.append(ClipEvent("left", start, rules.frames - 1, box))
    if walkers and takes:
        thing = cast.thing(_THINGS[1], walkers[min(1, count - 1)], outwards=leaves and count == 1)
        start = int(np.floor(thing.path.resume)) + 1
        thing = replace(thing, first=thing.path.resume, taken_from=start)
        box = cast.visible_box(thing, 0)
        if _MIN_EVENT <= start <= rules.frames - _MIN_EVENT and box is not None:
            actors.append(thing)
            events.append(ClipEvent("taken", start, rules.frames - 1, box))
    events.sort(key=lambda event: event.start)
    return ClipScript(number, rules, tuple(events), seed, scene, ground, tuple(actors), camera)


class _Numbers:
    """Uniform numbers in [0, 1), one after another; their order is part of the format."""

    def __init__(self, uniforms: Array) -> None:
        self._rest = iter(uniforms.tolist())

    def take(self) -> float:
        return float(next(self._rest))

    def between(self, limits: Range) -> float:
        return limits[0] + self.take() * (limits[1] - limits[0])


def _fixed_scene(recipe: Recipe) -> Recipe:
    """The scene of a recipe, without what differs between picture and plate."""
    own = recipe.effects
    effects = Effects(
        shadows=own.shadows, reflection=own.reflection, blur_sigma=own.blur_sigma,
        scale=own.scale, row_noise=own.row_noise, recolour=own.recolour, exposure=own.exposure,
        defocus=own.defocus, tone_gains=own.tone_gains, tone_offset=own.tone_offset,
    )  # fmt: skip
    return replace(recipe, objects=(), stale=None, effects=effects, jpeg_plate=None)


def _sample_camera(rules: ClipRules, seed: int, number: int) -> _Camera:
    u = _Numbers(draw_uniforms(seed, Stream.CLIP_CAMERA, number, number + 1)[0])
    shake = u.between(rules.shake_px)
    amplitudes = np.array([shake, shake, u.between(rules.shake_deg)])
    shape = (3, _WAVES)
    rates = np.array([u.between(_WAVE_RATES) for _ in range(3 * _WAVES)]).reshape(shape)
    phases = np.array([u.take() for _ in range(3 * _WAVES)]).reshape(shape)

    def event(probability: float, ramp: Range) -> _Ramp | None:
        happens, moment, frames = u.take() < probability, u.between((0.2, 0.8)), u.between(ramp)
        start = int(moment * rules.frames)
        return _Ramp(start, frames) if happens and start > 0 else None

    def signed(limits: Range) -> float:
        value = u.between(limits)
        return value if u.take() < 0.5 else -value

    moved_when = event(rules.moved_probability, _MOVED_RAMP)
    moved = signed(rules.moved_px), signed(rules.moved_px), signed(rules.moved_deg)
    drift = u.between(rules.drift_stops), u.between(_DRIFT_PERIODS) * rules.frames, u.take()
    light_when = event(rules.light_probability, _LIGHT_RAMP)
    return _Camera(
        amplitudes, rates, phases, moved, moved_when, drift, signed(rules.light_stops), light_when
    )


def _camera_events(camera: _Camera, frames: int) -> list[ClipEvent]:
    """The events of the camera and of the light."""
    ramps: list[tuple[EventKind, _Ramp | None]] = [
        ("moved", camera.moved_when),
        ("light", camera.light_when),
    ]
    return [ClipEvent(kind, ramp.start, frames - 1) for kind, ramp in ramps if ramp is not None]


@dataclass(frozen=True)
class _Cast:
    """Draws the objects of a clip."""

    rules: ClipRules
    pool: Pool
    seed: int
    number: int
    ground: GroundView
    size: int  # of the rendered square

    def _draw(self, index: int) -> tuple[_Numbers, CutoutAsset, bool]:
        """Random numbers of an object's own, its cutout, and whether it is mirrored."""
        span = self.number * _MAX_ACTORS + index
        u = _Numbers(draw_uniforms(self.seed, Stream.CLIP_OBJECT, span, span + 1)[0])
        return u, self.pool.cutouts[int(u.take() * len(self.pool.cutouts))], u.take() < 0.5

    def _limited(self, cutout: CutoutAsset, height: float, units: Array) -> float:
        """A height in camera heights, so that the object is neither too small nor too large."""
        longest = max(cutout.width / cutout.height, 1.0)
        low, high = self.rules.scene.long_side_px
        height = max(height, low / (longest * float(units.mean())))
        return min(height, high / (longest * float(units.max())))

    def walker(self, index: int, *, carries: bool) -> Actor:
        """An object that crosses the frame; one that carries something enters it in the clip."""
        u, cutout, flip = self._draw(index)
        spots = self.ground.spots
        first, second = (spots[int(u.take() * len(spots))] for _ in range(2))
        height = self._limited(
            cutout, u.between(self.rules.height), np.array([first[3], second[3]])
        )
        on_left = u.take() < 0.5
        ends_left = on_left if u.take() < _SAME_SIDE else not on_left
        corners = np.stack([first, first, second, second])
        for row, left in ((0, on_left), (3, ends_left)):
            reach = max(cutout.width / cutout.height, 1.0) * height * corners[row, 3]
            corners[row, 0] = -reach if left else self.size + reach
        stay = u.between(self.rules.stay) * self.rules.frames
        earliest = 0.0 if carries else -_BEFORE * stay
        latest = self.rules.frames - stay * (1 if carries else 1 - _BEFORE)
        start = earliest + u.take() * (latest - earliest)
        still = u.between(self.rules.pause) * stay
        pause = start + u.between((0.4, 0.6)) * (stay - still)
        path = Path(corners, start, pause, pause + still, start + stay)
        return Actor(cutout, flip, height, u.take(), path)

    def thing(self, index: int, carrier: Actor, *, outwards: bool = False) -> Actor:
        """Something that an object carries, towards the frame's middle where it pauses."""
        u, cutout, flip = self._draw(index)
        unit = carrier.path.corners[1:3, 3]
        height = self._limited(cutout, u.between(self.rules.thing_height), unit)
        # Between the middles of the two, in camera heights.
        shapes = ((carrier.cutout, carrier.height), (cutout, height))
        apart = sum(each.width / each.height * tall for each, tall in shapes) / 2 * _GAP
        stop = carrier.path.at(carrier.path.pause)
        on_right = stop is not None and stop[0] > self.size / 2
        aside = -apart if on_right != outwards else apart
        return Actor(cutout, flip, height, u.take(), carrier.path, aside=aside)

    def visible_box(self, thing: Actor, frame: int) -> tuple[int, int, int, int] | None:
        """Its box in the clip's frame; None where less than half of it is visible."""
        placed = thing.place(self.ground, frame)
        if placed is None:
            return None
        margin, side = self.rules.margin, self.rules.scene.size
        x, y = placed.x - margin, placed.y - margin
        left, right = max(x, 0), min(x + placed.width, side)
        top, bottom = max(y, 0), min(y + placed.height, side)
        visible = max(right - left, 0) * max(bottom - top, 0)
        return (left, top, right, bottom) if 2 * visible >= placed.width * placed.height else None
