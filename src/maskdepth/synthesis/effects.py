"""Effects: what happens between a scene and its two pictures, sampled from the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat, starmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.draws import Array, Stream, between, zip_rows
from maskdepth.synthesis.rules import (
    EffectRules,
    Range,
    RecipeRules,
    ShadeRules,
    ToneCurveRules,
)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A soft dark copy of the object's outline on the plate.

    Attributes:
        strength: share of the light that it takes away where it is deepest.
        sigma_px: strength of its blur, px.
        dx, dy: distance from the object, px.
        height: factor of the outline's height, which shrinks towards its lowest row; below 0 the
            shadow falls towards the camera.
        lean: how far its top lies aside, in heights of the object.
        blueness: where the share m of green light is left, m^(1 + blueness) of the red light and
            m^(1 - blueness) of the blue light are.
    """

    strength: float
    sigma_px: float
    dx: float
    dy: float
    height: float = 1.0
    lean: float = 0.0
    blueness: float = 0.0


@dataclass(frozen=True, slots=True)
class Recolour:
    """A change of colours, in this order.

    Attributes:
        hue_deg: angle by which the hue turns.
        saturation: factor of the saturation.
        contrast: factor of the distance from mid-grey.
        gain: factor of the brightness.
    """

    hue_deg: float
    saturation: float
    contrast: float
    gain: float


@dataclass(frozen=True, slots=True)
class Shade:
    """The shadow of something outside the frame, at one place in the plate and another later.

    Attributes:
        leaves: whether it is of irregular patches, as beneath a tree, or of straight stripes, as of
            poles and roofs.
        strength, plate_strength: share of the light that it takes away in picture and plate.
        sigma_px: strength of its blur, px.
        size_px: size of a patch, or of a stripe and the gap beside it.
        share: share of the ground that is dark.
        angle_deg: direction across the stripes, in which the shadow moved.
        moved_px: how far it moved.
        phase: where the stripes begin, or which patches there are, 0 to 1.
        blueness: as of ``Shadow``.
    """

    leaves: bool
    strength: float
    plate_strength: float
    sigma_px: float
    size_px: float
    share: float
    angle_deg: float
    moved_px: float
    phase: float
    blueness: float = 0.0


@dataclass(frozen=True, slots=True)
class ToneCurve:
    """A tone curve: with y = x^gamma, the value x in [0, 1] becomes y + contrast * (s(y) - y).

    Here s(y) = y^2 (3 - 2 y), which is S-shaped; a contrast within [-1, 1] keeps the order.
    """

    gamma: float
    contrast: float


@dataclass(frozen=True, slots=True)
class CameraMotion:
    """How far a frame's camera is from where it stood when the plate was taken.

    Attributes:
        shift: the way (dx, dy) that the picture moves, px.
        angle_deg: its turn about the centre, degrees anticlockwise.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    angle_deg: float = 0.0


NO_MOTION: Final = CameraMotion()


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of one recipe; the defaults leave everything as it is.

    Attributes:
        shadows: shadows that every object casts.
        reflection: strength of the object's mirror image at its feet.
        harmony: how far the object's colours move towards those of the plate around it.
        motion: the way (dx, dy) that the object moved during the exposure, px.
        gains: factors of the picture's red, green and blue.
        offset: value added to the picture, of 255.
        plate_shift: shift (dx, dy) of the plate, px.
        plate_angle: turn of the plate about its centre, degrees.
        blur_sigma: blur of picture, plate and alpha, px.
        scale: size to which picture and plate were reduced on their way, before they were
            enlarged again.
        row_noise: sigma of the brightness of rows, of 255.
        recolour: change of the objects' colours, before harmony; or None.
        exposure: exposure of picture and plate, in stops.
        plate_blur: sigma of the plate's own blur, px.
        defocus: sigma of the objects' own blur, px.
        tone_gains: factors of red, green and blue of picture and plate.
        tone_offset: value added to picture and plate, of 255.
        shade: shadow of something outside the frame, on picture and plate; or None.
        tone_curve: of the picture alone; or None.
        grey_plate: whether the plate has no colour.
    """

    shadows: tuple[Shadow, ...] = ()
    reflection: float = 0.0
    harmony: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0
    plate_shift: tuple[float, float] = (0.0, 0.0)
    plate_angle: float = 0.0
    blur_sigma: float = 0.0
    scale: float = 1.0
    row_noise: float = 0.0
    recolour: Recolour | None = None
    exposure: float = 0.0
    plate_blur: float = 0.0
    defocus: float = 0.0
    tone_gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tone_offset: float = 0.0
    shade: Shade | None = None
    tone_curve: ToneCurve | None = None
    grey_plate: bool = False

    @property
    def relights(self) -> bool:
        """Whether the light of the picture differs from that of the plate."""
        return self.gains != (1.0, 1.0, 1.0) or self.offset != 0.0

    @property
    def develops(self) -> bool:
        """Whether the exposure or the tone of picture and plate changes."""
        toned = self.tone_gains != (1.0, 1.0, 1.0) or self.tone_offset != 0.0
        return toned or self.exposure != 0.0

    @property
    def development(self) -> tuple[tuple[float, float, float], float]:
        """Factors of red, green and blue of picture and plate, and the value that is added."""
        exposed = 2.0**self.exposure
        red, green, blue = (exposed * gain for gain in self.tone_gains)
        return (red, green, blue), self.tone_offset

    @property
    def plate_motion(self) -> CameraMotion:
        """How far the plate is shifted and turned."""
        return CameraMotion(self.plate_shift, self.plate_angle)

    @property
    def plate_moves(self) -> bool:
        """Whether the plate is shifted or turned."""
        return self.plate_motion != NO_MOTION

    @property
    def changes_plate(self) -> bool:
        """Whether the plate becomes more than the background's crop."""
        return (
            self.plate_moves
            or self.blur_sigma > 0
            or self.scale != 1.0
            or self.row_noise > 0
            or self.develops
            or self.plate_blur > 0
            or self.shade is not None
            or self.grey_plate
        )


NO_EFFECTS: Final = Effects()


@dataclass(frozen=True)
class SampledEffects:
    """The effects of n samples.

    Attributes:
        u_crowd, u_stale: uniform numbers (n,) that decide on further objects; all 1 where no
            rule asks for effects.
        plain: bool (n,), the samples without effects; their pictures get no noise either.
        effects: one a sample, in order.
    """

    u_crowd: Array
    u_stale: Array
    plain: NDArray[np.bool_]
    effects: Iterator[Effects]


def sample_effects(rules: RecipeRules, uniforms: Callable[[Stream], Array]) -> SampledEffects:
    """Sample the effects of n samples.

    Args:
        uniforms: gives (n, 64) uniform numbers of a stream; not called where no rule asks for
            effects.
    """
    effects = [value for _, value in rules if isinstance(value, EffectRules)]
    if not any(effect.probability for effect in effects):
        never = np.ones(1)
        return SampledEffects(never, never, np.zeros(1, np.bool_), repeat(NO_EFFECTS))
    return _sample(
        rules, _Columns(uniforms(Stream.EFFECTS)), _Columns(uniforms(Stream.LATER_EFFECTS))
    )


class _Columns:
    """The uniform numbers of n samples, taken column by column.

    Their order is part of the dataset format: a new effect takes the next columns.
    """

    def __init__(self, uniforms: Array) -> None:
        self._columns = iter(uniforms.T)

    def take(self) -> Array:
        """The next column (n,)."""
        return next(self._columns)

    def between(self, limits: Range) -> Array:
        """The next column as values of a range."""
        return between(self.take(), limits)

    def applies(self, effect: EffectRules) -> Array:
        """1 in the samples in which an effect is applied, else 0; by the next column."""
        return np.asarray(self.take() < effect.probability, np.float64)

    def strength(self, effect: EffectRules, limits: Range) -> Array:
        """A strength within a range where an effect is applied, else 0; by two columns."""
        return self.applies(effect) * self.between(limits)


def _sample(rules: RecipeRules, u: _Columns, later: _Columns) -> SampledEffects:
    rule = rules.shadow
    shadow = [u.strength(rule, rule.strength), u.between(rule.sigma_px)]
    shadow += [u.between(rule.sideways_px), u.between(rule.down_px)]
    flat = rules.contact
    contact = [u.strength(flat, flat.strength), u.between(flat.height), u.between(flat.lean)]
    reflection = u.strength(rules.reflection, rules.reflection.strength)
    harmony = u.strength(rules.harmony, rules.harmony.strength)
    length = u.strength(rules.motion, rules.motion.length_px)
    angle = 2 * np.pi * u.take()
    lit = u.applies(rules.light)
    gain = u.between(rules.light.gain)
    gains = [1 + lit * (gain * u.between(rules.light.channel_gain) - 1) for _ in range(3)]
    offset = lit * u.between(rules.light.offset)
    moved = u.applies(rules.plate_motion)
    shift_px, angle_deg = rules.plate_motion.shift_px, rules.plate_motion.angle_deg
    plate_shift = [moved * u.between((-shift_px, shift_px)) for _ in range(2)]
    plate_angle = moved * u.between((-angle_deg, angle_deg))
    u_stale = u.take()
    blur_sigma = u.strength(rules.blur, rules.blur.sigma_px)
    scale = 1 + u.applies(rules.resize) * (u.between(rules.resize.scale) - 1)
    row_noise = u.strength(rules.row_noise, rules.row_noise.sigma)
    u_crowd = u.take()
    # Registration undoes most of the plate's motion and of the change of light.
    remains = 1 - u.applies(rules.registered) * (1 - u.between(rules.registered.remains))
    plain = u.applies(rules.plain) > 0
    colours = rules.recolour
    recolours = u.applies(colours) > 0
    recolour = [360 * u.take(), u.between(colours.saturation)]
    recolour += [u.between(colours.contrast), u.between(colours.gain)]
    exposure = u.strength(rules.exposure, rules.exposure.stops)
    plate_blur = u.strength(rules.soft_plate, rules.soft_plate.sigma_px)
    defocus = u.strength(rules.defocus, rules.defocus.sigma_px)
    blueness = u.strength(rules.skylight, rules.skylight.blueness)
    toned = u.applies(rules.tone)
    tone_gains = [1 + toned * (u.between(rules.tone.channel_gain) - 1) for _ in range(3)]
    tone_offset = toned * u.between(rules.tone.offset)
    long = rules.long_shadow
    low_sun = [later.strength(long, long.strength), later.between(long.sigma_px)]
    low_sun += [later.between(long.height), later.between(long.lean)]
    rows = zip(  # in the order of the fields of Effects
        starmap(_make_shadows, zip_rows(*shadow, *contact, *low_sun, blueness)),
        reflection.tolist(), harmony.tolist(),
        zip_rows(length * np.cos(angle), length * np.sin(angle)),
        zip_rows(*[1 + remains * (each - 1) for each in gains]), (offset * remains).tolist(),
        zip_rows(*[each * remains for each in plate_shift]), (plate_angle * remains).tolist(),
        blur_sigma.tolist(), scale.tolist(), row_noise.tolist(),
        (Recolour(*each) if on else None for on, *each in zip_rows(recolours, *recolour)),
        exposure.tolist(), plate_blur.tolist(), defocus.tolist(),
        zip_rows(*tone_gains), tone_offset.tolist(),
        _sample_shades(rules.shade, later, blueness), _sample_curves(rules.tone_curve, later),
        (later.applies(rules.grey_plate) > 0).tolist(), strict=True,
    )  # fmt: skip
    effects = (
        NO_EFFECTS if bare else Effects(*row)
        for bare, row in zip(plain.tolist(), rows, strict=True)
    )
    return SampledEffects(u_crowd, np.where(plain, 1.0, u_stale), plain, effects)


def _make_shadows(
    strength: float, sigma_px: float, dx: float, dy: float,
    contact: float, height: float, lean: float,
    long: float, long_sigma_px: float, long_height: float, long_lean: float, blueness: float,
) -> tuple[Shadow, ...]:  # fmt: skip
    """The cast, contact and long shadow of one sample, each where it has any strength."""
    shadows = []
    if strength > 0:
        shadows.append(Shadow(strength, sigma_px, dx, dy, blueness=blueness))
    if contact > 0:
        # The flatter the shadow lies, the nearer it is to the object, and the sharper.
        blur = 1.0 + 6.0 * height
        shadows.append(Shadow(contact, blur, 0.0, 0.0, height, lean * height, blueness))
    if long > 0:
        shadows.append(Shadow(long, long_sigma_px, 0.0, 0.0, long_height, long_lean, blueness))
    return tuple(shadows)


def _sample_shades(rule: ShadeRules, u: _Columns, blueness: Array) -> Iterator[Shade | None]:
    """The shadow of something outside the frame of each sample, or None."""
    applies, leaves = u.applies(rule) > 0, u.take() < rule.leaves
    strength = u.between(rule.strength)
    plate_strength = strength * u.between(rule.plate_strength)
    columns = [u.between(each) for each in (rule.sigma_px, rule.size_px, rule.share)]
    angle_deg, moved_px, phase = 360 * u.take(), u.between(rule.moved_px), u.take()
    rows = zip_rows(
        applies, leaves, strength, plate_strength, *columns, angle_deg, moved_px, phase, blueness
    )
    return (Shade(*values) if on else None for on, *values in rows)


def _sample_curves(rule: ToneCurveRules, u: _Columns) -> Iterator[ToneCurve | None]:
    """The tone curve of each sample's picture, or None."""
    rows = zip_rows(u.applies(rule) > 0, u.between(rule.gamma), u.between(rule.contrast))
    return (ToneCurve(*values) if on else None for on, *values in rows)
