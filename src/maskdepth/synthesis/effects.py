"""Effects: what happens between a scene and its two pictures, drawn from the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from maskdepth.synthesis.placement import Array, between
from maskdepth.synthesis.rules import EffectRules, RecipeRules


@dataclass(frozen=True, slots=True)
class Shadow:
    """A soft dark copy of the object's outline on the plate.

    Attributes:
        strength: share of the light it takes away where it is deepest.
        sigma_px: of its blur.
        dx, dy: how far it lies from the object, px.
        height: of the outline, which shrinks towards its lowest row; 1 leaves it as it is.
        lean: how far its top lies aside, in heights of the object.
        blueness: where a share m of green's light is left, red has m^(1 + blueness) and blue
            m^(1 - blueness).
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
    """Other colours, made in this order.

    Attributes:
        hue_deg: by which the hue is turned.
        saturation: factor of the saturation.
        contrast: factor of the distance from mid-grey.
        gain: factor of the brightness.
    """

    hue_deg: float
    saturation: float
    contrast: float
    gain: float


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of one recipe; the defaults leave everything as it is.

    Attributes:
        shadows: that every object throws.
        reflection: strength of the mirrored object at its feet.
        harmony: how far the object's colours move towards the plate's around it.
        motion: the way (dx, dy) that the object moved while it was taken, px.
        gains: of the picture's red, green and blue.
        offset: added to the picture, of 255.
        plate_shift: (dx, dy) of the plate, px.
        plate_angle: of the plate about its centre, degrees.
        blur_sigma: of picture, plate and alpha, px.
        scale: at which picture and plate were kept for a while.
        row_noise: sigma of the brightness of rows, of 255.
        recolour: of all objects, before harmony; or None.
        exposure: of picture and plate, in stops brighter than they were taken.
        plate_blur: sigma of the plate's own blur, px.
        defocus: sigma of the objects' own blur, px.
        tone_gains: of red, green and blue of picture and plate.
        tone_offset: added to picture and plate, of 255.
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

    @property
    def relights(self) -> bool:
        """Whether the picture's light is not the plate's."""
        return self.gains != (1.0, 1.0, 1.0) or self.offset != 0.0

    @property
    def develops(self) -> bool:
        """Whether picture and plate are exposed or toned otherwise than they were taken."""
        toned = self.tone_gains != (1.0, 1.0, 1.0) or self.tone_offset != 0.0
        return toned or self.exposure != 0.0

    @property
    def development(self) -> tuple[tuple[float, float, float], float]:
        """What picture and plate are multiplied by, red, green and blue, and what is added."""
        exposed = 2.0**self.exposure
        red, green, blue = (exposed * gain for gain in self.tone_gains)
        return (red, green, blue), self.tone_offset

    @property
    def plate_moves(self) -> bool:
        """Whether the plate is shifted or turned."""
        return self.plate_shift != (0.0, 0.0) or self.plate_angle != 0.0

    @property
    def perturb_plate(self) -> bool:
        """Whether the plate is no longer the background's crop."""
        return (
            self.plate_moves
            or self.blur_sigma > 0
            or self.scale != 1.0
            or self.row_noise > 0
            or self.develops
            or self.plate_blur > 0
        )


NO_EFFECTS: Final = Effects()


class EffectColumns:
    """The draws of a few thousand samples; ``of`` makes a sample's effects.

    Attributes:
        u_crowd, u_stale: (n,) uniform draws that decide on more objects.
        plain: (n,) bool, the samples without effects; the rules' noise is to leave them alone too.
    """

    def __init__(self, rules: RecipeRules, uniforms: Array) -> None:
        # The order is part of the format: a new effect takes the next columns.
        u = iter(uniforms.T)

        def applies(effect: EffectRules) -> Array:
            return np.asarray(next(u) < effect.probability, np.float64)

        shadow = rules.shadow
        self._shadow = np.stack(
            [
                applies(shadow) * between(next(u), shadow.strength),
                between(next(u), shadow.sigma_px),
                between(next(u), shadow.sideways_px),
                between(next(u), shadow.down_px),
            ],
            axis=1,
        )
        contact = rules.contact
        self._contact = np.stack(
            [
                applies(contact) * between(next(u), contact.strength),
                between(next(u), contact.height),
                between(next(u), contact.lean),
            ],
            axis=1,
        )
        self._reflection = applies(rules.reflection) * between(next(u), rules.reflection.strength)
        self._harmony = applies(rules.harmony) * between(next(u), rules.harmony.strength)
        length = applies(rules.motion) * between(next(u), rules.motion.length_px)
        angle = 2 * np.pi * next(u)
        self._motion = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
        light = rules.light
        lit = applies(light)
        gain = between(next(u), light.gain)
        channels = [gain * between(next(u), light.channel_gain) for _ in range(3)]
        self._gains = 1 + lit[:, None] * (np.stack(channels, axis=1) - 1)
        self._offset = lit * between(next(u), light.offset)
        motion = rules.plate_motion
        moved = applies(motion)
        shift = (-motion.shift_px, motion.shift_px)
        self._plate_shift = moved[:, None] * np.stack(
            [between(next(u), shift), between(next(u), shift)], axis=1
        )
        self._plate_angle = moved * between(next(u), (-motion.angle_deg, motion.angle_deg))
        self.u_stale = next(u)
        self._blur = applies(rules.blur) * between(next(u), rules.blur.sigma_px)
        self._scale = 1 + applies(rules.resize) * (between(next(u), rules.resize.scale) - 1)
        self._row_noise = applies(rules.row_noise) * between(next(u), rules.row_noise.sigma)
        self.u_crowd = next(u)
        registered = applies(rules.registered)
        remains = 1 - registered * (1 - between(next(u), rules.registered.remains))
        self._gains = 1 + remains[:, None] * (self._gains - 1)
        self._offset *= remains
        self._plate_shift *= remains[:, None]
        self._plate_angle *= remains
        self.plain = applies(rules.plain) > 0
        self.u_stale = np.where(self.plain, 1.0, self.u_stale)
        recolour = rules.recolour
        self._recolours = applies(recolour) > 0
        self._recolour = np.stack(
            [
                360 * next(u),
                between(next(u), recolour.saturation),
                between(next(u), recolour.contrast),
                between(next(u), recolour.gain),
            ],
            axis=1,
        )
        self._exposure = applies(rules.exposure) * between(next(u), rules.exposure.stops)
        self._plate_blur = applies(rules.soft_plate) * between(next(u), rules.soft_plate.sigma_px)
        self._defocus = applies(rules.defocus) * between(next(u), rules.defocus.sigma_px)
        self._blueness = applies(rules.skylight) * between(next(u), rules.skylight.blueness)
        tone = rules.tone
        toned = applies(tone)
        channels = [between(next(u), tone.channel_gain) for _ in range(3)]
        self._tone_gains = 1 + toned[:, None] * (np.stack(channels, axis=1) - 1)
        self._tone_offset = toned * between(next(u), tone.offset)

    def of(self, row: int) -> Effects:
        """The effects of one sample."""
        if self.plain[row]:
            return NO_EFFECTS
        shadows = []
        blueness = float(self._blueness[row])
        if self._shadow[row, 0] > 0:
            strength, sigma_px, dx, dy = map(float, self._shadow[row])
            shadows.append(Shadow(strength, sigma_px, dx, dy, blueness=blueness))
        if self._contact[row, 0] > 0:
            strength, height, lean = map(float, self._contact[row])
            # The flatter it lies, the nearer to the object it is, and the sharper.
            lean *= height
            shadows.append(Shadow(strength, 1.0 + 6.0 * height, 0.0, 0.0, height, lean, blueness))
        recolour = None
        if self._recolours[row]:
            recolour = Recolour(*map(float, self._recolour[row]))
        red, green, blue = map(float, self._gains[row])
        red_tone, green_tone, blue_tone = map(float, self._tone_gains[row])
        return Effects(
            shadows=tuple(shadows),
            reflection=float(self._reflection[row]),
            harmony=float(self._harmony[row]),
            motion=(float(self._motion[row, 0]), float(self._motion[row, 1])),
            gains=(red, green, blue),
            offset=float(self._offset[row]),
            plate_shift=(float(self._plate_shift[row, 0]), float(self._plate_shift[row, 1])),
            plate_angle=float(self._plate_angle[row]),
            blur_sigma=float(self._blur[row]),
            scale=float(self._scale[row]),
            row_noise=float(self._row_noise[row]),
            recolour=recolour,
            exposure=float(self._exposure[row]),
            plate_blur=float(self._plate_blur[row]),
            defocus=float(self._defocus[row]),
            tone_gains=(red_tone, green_tone, blue_tone),
            tone_offset=float(self._tone_offset[row]),
        )


class NoEffectColumns:
    """What ``EffectColumns`` is under rules without effects, at no cost."""

    u_crowd = u_stale = np.ones(1)
    plain = np.zeros(1, np.bool_)

    def of(self, _: int) -> Effects:
        """No effects."""
        return NO_EFFECTS


def sample_effects(
    rules: RecipeRules, uniforms: Callable[[], Array]
) -> EffectColumns | NoEffectColumns:
    """The effects of some samples.

    Args:
        uniforms: gives (n, 64) uniform draws; not asked where no rule wants any.
    """
    effects = [value for _, value in rules if isinstance(value, EffectRules)]
    if not any(effect.probability for effect in effects):
        return NoEffectColumns()
    return EffectColumns(rules, uniforms())
