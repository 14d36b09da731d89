"""The rules of recipes: ranges and probabilities, the frozen benchmark and the plans.

Every sample draws its choices from the ranges in its ``RecipeRules``; both ends belong to a range.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field

from maskdepth.config import Settings
from maskdepth.errors import ConfigError, check_name

Range = tuple[float, float]


def within(lowest: float, highest: float) -> AfterValidator:
    """A check that both ends of a range lie within bounds, the lower one first."""

    def check(ends: Range) -> Range:
        low, high = ends
        if not lowest <= low <= high <= highest:
            raise ValueError(f"two numbers from {lowest:g} to {highest:g}, the lower one first")
        return ends

    return AfterValidator(check)


Shares = Annotated[Range, within(0, 1)]
Levels = Annotated[Range, within(0, 255)]
SignedLevels = Annotated[Range, within(-255, 255)]
Factors = Annotated[Range, within(0, 16)]
Heights = Annotated[Range, within(0, 100)]
ContactHeights = Annotated[Range, within(0.01, 100)]
Leans = Annotated[Range, within(-10, 10)]
Stops = Annotated[Range, within(-16, 16)]
Scales = Annotated[Range, within(0.02, 1)]
Crops = Annotated[Range, within(0.01, 1)]
Qualities = Annotated[Range, within(1, 100)]
Sigmas = Annotated[Range, within(0, 64)]
ShadowSigmas = Annotated[Range, within(0.1, 256)]
Ways = Annotated[Range, within(0, 256)]
Distances = Annotated[Range, within(0, 4096)]
SignedDistances = Annotated[Range, within(-4096, 4096)]
SignedHeights = Annotated[Range, within(-10, 10)]
Gammas = Annotated[Range, within(0.1, 10)]
Contrasts = Annotated[Range, within(-1, 1)]
Patches = Annotated[Range, within(2, 4096)]
Sides = Annotated[Range, within(0, 16384)]


class EffectRules(Settings):
    """One effect: how often it is applied, and the ranges of its strength."""

    probability: float = Field(0.0, ge=0, le=1)


class ShadowRules(EffectRules):
    """A cast shadow: a soft copy of the object's outline that darkens the plate."""

    strength: Shares = Field((0.2, 0.5), description="share of the light taken away")
    sigma_px: ShadowSigmas = (2.0, 6.0)
    down_px: Distances = (3.0, 15.0)
    sideways_px: SignedDistances = (-15.0, 15.0)


class ContactRules(EffectRules):
    """A contact shadow: a dark, flat, soft shape where the object touches the ground."""

    strength: Shares = (0.2, 0.7)
    height: ContactHeights = Field((0.05, 0.35), description="share of the object's own height")
    lean: Leans = Field((-1.0, 1.0), description="how far it leans aside, in heights of the object")


class SkylightRules(EffectRules):
    """Blue shadows: only the sky lights them, and it is bluer than the sun."""

    blueness: Shares = Field((0.0, 0.2), description="see `maskdepth.synthesis.effects.Shadow`")


class ReflectionRules(EffectRules):
    """The mirror image of the object on smooth ground, fading below its feet."""

    strength: Shares = (0.05, 0.35)


class HarmonyRules(EffectRules):
    """Colours of the object that move towards those of the plate around it."""

    strength: Shares = Field((0.2, 0.8), description="0: as in the cutout, 1: the plate's mean")


class MotionRules(EffectRules):
    """Motion of the object during the exposure, which smears its alpha too."""

    length_px: Ways = (2.0, 9.0)


class DefocusRules(EffectRules):
    """Objects out of focus, with their alpha, before a sharp plate."""

    sigma_px: Sigmas = (0.5, 4.0)


class LightRules(EffectRules):
    """Another light and white balance in the picture than in the plate."""

    gain: Factors = (0.8, 1.2)
    channel_gain: Factors = (0.95, 1.05)
    offset: SignedLevels = Field((-8.0, 8.0), description="of 255")


class PlateMotionRules(EffectRules):
    """A camera that stood a little elsewhere when the plate was taken."""

    shift_px: float = Field(3.0, ge=0, le=64, description="largest shift along each axis")
    angle_deg: float = Field(0.7, ge=0, le=45, description="largest turn about the centre")


class RegisteredRules(EffectRules):
    """Registration: the plate was aligned to the picture and lit like it, as in prediction.

    A small part of its motion and of the change of light remains.
    """

    remains: Shares = Field(
        (0.0, 0.15), description="share of the motion and of the change of light"
    )


class PlainRules(EffectRules):
    """Samples without effects and noise: the plate is exact, and the mask can be too."""


class StaleRules(EffectRules):
    """A stale plate: it shows an object that had gone when the picture was taken."""


class CrowdRules(EffectRules):
    """A second object, and with the same probability again a third one."""

    further: int = Field(2, ge=1, le=2, description="largest number of objects beside the first")


class BlurRules(EffectRules):
    """Picture, plate and alpha out of focus."""

    sigma_px: Sigmas = (0.4, 1.3)


class RowNoiseRules(EffectRules):
    """Rows that are a little brighter or darker, as from sensors that are read row by row."""

    sigma: Levels = Field((0.3, 2.0), description="of 255")


class ResizeRules(EffectRules):
    """Picture and plate reduced and enlarged again on their way."""

    scale: Scales = (0.4, 0.95)


class RecolourRules(EffectRules):
    """Objects in other colours, so that a few dozen cutouts serve as many.

    Their hue turns by any angle.
    """

    saturation: Factors = (0.3, 1.4)
    contrast: Factors = Field((0.5, 1.3), description="factor of the distance from mid-grey")
    gain: Factors = Field((0.5, 1.6), description="factor of the brightness")


class ExposureRules(EffectRules):
    """The same change of exposure in picture and plate.

    Registration of the plate leaves this of a change between the two: the same light, and both
    clipped alike.
    """

    stops: Stops = (-1.5, 1.5)


class ToneRules(EffectRules):
    """The same change of white balance and black level in picture and plate.

    It stands for lamplight, shade and haze, for a network that also reads pictures without a plate.
    """

    channel_gain: Factors = (0.8, 1.25)
    offset: SignedLevels = Field((-15.0, 25.0), description="of 255")


class SoftPlateRules(EffectRules):
    """A plate softer than the picture: a mean of many frames, or out of focus."""

    sigma_px: Sigmas = (0.4, 1.6)


class LongShadowRules(EffectRules):
    """A hard shadow of the object in low sun: its outline, stretched away from where it stands."""

    strength: Shares = (0.5, 0.85)
    sigma_px: ShadowSigmas = (0.5, 2.0)
    height: SignedHeights = Field(
        (-1.2, 1.2), description="heights of the object; below 0 it falls towards the camera"
    )
    lean: Leans = Field((-2.5, 2.5), description="how far it leans aside, in heights of the object")


class ShadeRules(EffectRules):
    """The shadow of something outside the frame, which moved since the plate was taken."""

    leaves: float = Field(0.5, ge=0, le=1, description="share of patches; the rest are stripes")
    strength: Shares = (0.3, 0.8)
    plate_strength: Shares = Field((0.0, 1.0), description="share of that strength in the plate")
    sigma_px: ShadowSigmas = (0.5, 2.5)
    size_px: Patches = Field((20.0, 250.0), description="of a patch, or a stripe and its gap")
    share: Shares = Field((0.25, 0.75), description="share of the ground that is dark")
    moved_px: Distances = (4.0, 40.0)


class ToneCurveRules(EffectRules):
    """Another tone curve in the picture than in the plate."""

    gamma: Gammas = (0.6, 1.7)
    contrast: Contrasts = Field((-0.6, 0.9), description="how far the curve is S-shaped")


class GreyPlateRules(EffectRules):
    """A plate without colour, as from a camera at night."""


class GroundRules(Settings):
    """Objects that stand on the ground of labelled backgrounds, sized by their distance."""

    share: float = Field(0.0, ge=0, le=1, description="share of the samples with ground points")
    height: Heights = Field((0.12, 1.25), description="object's height / camera's above ground")


class RecipeRules(Settings):
    """The rules that recipes are drawn from.

    With ``places = 0`` every sample draws its assets freely. With ``places > 0`` the samples are a
    grid: every cutout on every background, in both flips, at ``places`` positions each.
    """

    name: str = "training"
    size: int = Field(224, ge=32, le=2048, description="side of the square composite, px")
    flip_probability: float = Field(0.5, ge=0, le=1)
    plate_crop: Crops = Field((0.4, 1.0), description="side of the crop / background's short side")
    long_side_px: Sides = Field((30.0, 200.0), description="long side of the cutout's box")
    off_frame: float = Field(0.2, ge=0, le=0.9, description="largest share of the box off-frame")
    coverage: Shares = Field((0.003, 0.6), description="foreground share of the pixels")
    empty_probability: float = Field(0.02, ge=0, le=1, description="share without a cutout")
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Qualities = Field((60.0, 98.0), description="picture and plate are encoded apart")
    noise_probability: float = Field(0.3, ge=0, le=1)
    noise_sigma: Levels = Field((0.0, 4.0), description="of 255, drawn apart for picture and plate")
    labelled_share: float | None = Field(
        0.35, ge=0, le=1, description="share on labelled backgrounds; None: any"
    )
    places: int = Field(
        0, ge=0, le=1_000_000, description="positions per cutout, background and flip; 0: free"
    )
    ground: GroundRules = GroundRules()
    crowd: CrowdRules = CrowdRules()
    shadow: ShadowRules = ShadowRules()
    contact: ContactRules = ContactRules()
    reflection: ReflectionRules = ReflectionRules()
    harmony: HarmonyRules = HarmonyRules()
    motion: MotionRules = MotionRules()
    light: LightRules = LightRules()
    plate_motion: PlateMotionRules = PlateMotionRules()
    stale: StaleRules = StaleRules()
    blur: BlurRules = BlurRules()
    resize: ResizeRules = ResizeRules()
    row_noise: RowNoiseRules = RowNoiseRules()
    registered: RegisteredRules = RegisteredRules()
    plain: PlainRules = PlainRules()
    recolour: RecolourRules = RecolourRules()
    exposure: ExposureRules = ExposureRules()
    soft_plate: SoftPlateRules = SoftPlateRules()
    defocus: DefocusRules = DefocusRules()
    skylight: SkylightRules = SkylightRules()
    tone: ToneRules = ToneRules()
    long_shadow: LongShadowRules = LongShadowRules()
    shade: ShadeRules = ShadeRules()
    tone_curve: ToneCurveRules = ToneCurveRules()
    grey_plate: GreyPlateRules = GreyPlateRules()

    def at_size(self, size: int) -> Self:
        """The same rules for composites of another size, with cutouts in proportion.

        Raises:
            ConfigError: the size is out of range.
        """
        low, high = (side * size / self.size for side in self.long_side_px)
        return self.with_(size=size, long_side_px=(low, high))


# The frozen benchmark: figures mean the same next year only while this stays as it is.
_CLEAN_V1: Final = RecipeRules(
    name="clean",
    size=224,
    flip_probability=0.5,
    plate_crop=(0.5, 1.0),
    long_side_px=(60.0, 170.0),
    off_frame=0.2,
    coverage=(0.01, 0.40),
    empty_probability=0.0,
    jpeg_probability=0.0,
    jpeg_quality=(90.0, 90.0),
    noise_probability=0.0,
    noise_sigma=(0.0, 0.0),
    labelled_share=None,
    places=0,
)
BENCHMARK_V1: Final[dict[str, RecipeRules]] = {
    "clean": _CLEAN_V1,
    "jpeg": _CLEAN_V1.with_(name="jpeg", jpeg_probability=1.0),
    "hard": _CLEAN_V1.with_(
        name="hard",
        noise_probability=1.0,
        noise_sigma=(1.0, 6.0),
        shadow=ShadowRules(
            probability=1.0,
            strength=(0.2, 0.5),
            sigma_px=(2.0, 6.0),
            down_px=(3.0, 15.0),
            sideways_px=(-15.0, 15.0),
        ),
        light=LightRules(
            probability=1.0, gain=(0.8, 1.2), channel_gain=(0.95, 1.05), offset=(-8.0, 8.0)
        ),
        plate_motion=PlateMotionRules(probability=1.0, shift_px=3.0, angle_deg=0.7),
    ),
}
BENCHMARK_SEED: Final = 2026

PRIOR_WORK: Final = _CLEAN_V1.with_(name="prior work", off_frame=0.0, places=20)
"""The plan of 2020: 100 cutouts x 100 backgrounds x 2 flips x 20 places = 400 000 composites."""

FIELD: Final = RecipeRules(
    name="field",
    jpeg_quality=(40.0, 98.0),
    noise_probability=0.6,
    noise_sigma=(0.0, 8.0),
    ground=GroundRules(share=0.6),
    crowd=CrowdRules(probability=0.15),
    shadow=ShadowRules(
        probability=0.5,
        strength=(0.1, 0.75),
        sigma_px=(1.5, 8.0),
        down_px=(0.0, 20.0),
        sideways_px=(-22.0, 22.0),
    ),
    contact=ContactRules(probability=0.35),
    reflection=ReflectionRules(probability=0.05),
    harmony=HarmonyRules(probability=0.3),
    motion=MotionRules(probability=0.1),
    light=LightRules(
        probability=0.6, gain=(0.7, 1.35), channel_gain=(0.92, 1.08), offset=(-12.0, 12.0)
    ),
    plate_motion=PlateMotionRules(probability=0.6, shift_px=4.5, angle_deg=1.0),
    stale=StaleRules(probability=0.1),
    blur=BlurRules(probability=0.25),
    resize=ResizeRules(probability=0.2),
    row_noise=RowNoiseRules(probability=0.1),
    registered=RegisteredRules(probability=0.75),
    plain=PlainRules(probability=0.3),
    recolour=RecolourRules(probability=0.4),
    exposure=ExposureRules(probability=0.2),
    soft_plate=SoftPlateRules(probability=0.25),
    defocus=DefocusRules(probability=0.1),
    skylight=SkylightRules(probability=0.5),
)
"""Differences between plate and picture in the field: light, motion, shadows, noise, codecs."""

PLANS: Final = {"free": RecipeRules(), "field": FIELD, "prior": PRIOR_WORK}
"""Plans by name: plain composites, realistic ones, and the prior work's grid."""


def plan_rules(plan: str, changes: Path | None = None, size: int | None = None) -> RecipeRules:
    """The rules of a plan.

    Args:
        plan: a name in ``PLANS``.
        changes: a YAML file with the rules that differ, such as ``shadow: {probability: 0}``.
        size: side of the composites, px, with cutouts in proportion; None keeps the plan's.

    Raises:
        ConfigError: there is no plan of that name, or the file cannot be read as rules.
    """
    check_name("plan", plan, PLANS, ConfigError)
    rules = PLANS[plan] if changes is None else PLANS[plan].overlaid(changes)
    return rules if size is None else rules.at_size(size)
