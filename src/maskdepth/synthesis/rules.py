"""What recipes are drawn from: ranges and probabilities, the frozen benchmark, ready-made plans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field

from maskdepth.config import Settings
from maskdepth.errors import ConfigError

Range = tuple[float, float]


def _between(least: float, most: float) -> AfterValidator:
    """That a range, inclusive, the lower end first, lies within bounds."""

    def check(ends: Range) -> Range:
        low, high = ends
        if not least <= low <= high <= most:
            raise ValueError(f"{least:g} <= low <= high <= {most:g}")
        return ends

    return AfterValidator(check)


Shares = Annotated[Range, _between(0, 1)]
Levels = Annotated[Range, _between(0, 255)]
SignedLevels = Annotated[Range, _between(-255, 255)]
Factors = Annotated[Range, _between(0, 16)]
Heights = Annotated[Range, _between(0, 100)]
ContactHeights = Annotated[Range, _between(0.01, 100)]
Leans = Annotated[Range, _between(-10, 10)]
Stops = Annotated[Range, _between(-16, 16)]
Scales = Annotated[Range, _between(0.02, 1)]
Crops = Annotated[Range, _between(0.01, 1)]
Qualities = Annotated[Range, _between(1, 100)]
Sigmas = Annotated[Range, _between(0, 64)]
ShadowSigmas = Annotated[Range, _between(0.1, 256)]
Ways = Annotated[Range, _between(0, 256)]
Distances = Annotated[Range, _between(0, 4096)]
SignedDistances = Annotated[Range, _between(-4096, 4096)]
Sides = Annotated[Range, _between(0, 16384)]


class EffectRules(Settings):
    """One effect: how often it is applied, and from what ranges its strength is drawn."""

    probability: float = Field(0.0, ge=0, le=1)


class ShadowRules(EffectRules):
    """A soft copy of the object's outline that darkens the plate: a shadow it throws."""

    strength: Shares = Field((0.2, 0.5), description="share of the light that it takes away")
    sigma_px: ShadowSigmas = (2.0, 6.0)
    down_px: Distances = (3.0, 15.0)
    sideways_px: SignedDistances = (-15.0, 15.0)


class ContactRules(EffectRules):
    """A dark, flat, soft shape where the object touches the ground."""

    strength: Shares = (0.2, 0.7)
    height: ContactHeights = Field((0.05, 0.35), description="share of the object's own height")
    lean: Leans = Field((-1.0, 1.0), description="how far it leans aside, in its own heights")


class SkylightRules(EffectRules):
    """Shadows are lit by the sky alone, which is bluer than the sun: the deeper they are."""

    blueness: Shares = Field((0.0, 0.2), description="see `maskdepth.synthesis.effects.Shadow`")


class ReflectionRules(EffectRules):
    """The object upside down below its feet, fading: smooth, wet or polished ground."""

    strength: Shares = (0.05, 0.35)


class HarmonyRules(EffectRules):
    """The object's colours moved towards those of the plate around it."""

    strength: Shares = Field((0.2, 0.8), description="0 as the cutout is, 1 the plate's mean")


class MotionRules(EffectRules):
    """The object moved while the shutter was open: its alpha is smeared too."""

    length_px: Ways = (2.0, 9.0)


class DefocusRules(EffectRules):
    """The objects out of focus, each with its alpha, before a plate that is not."""

    sigma_px: Sigmas = (0.5, 4.0)


class LightRules(EffectRules):
    """The picture's light and white balance are not the plate's."""

    gain: Factors = (0.8, 1.2)
    channel_gain: Factors = (0.95, 1.05)
    offset: SignedLevels = Field((-8.0, 8.0), description="of 255")


class PlateMotionRules(EffectRules):
    """The camera stood a little elsewhere when the plate was taken."""

    shift_px: float = Field(3.0, ge=0, le=64, description="largest, along each axis")
    angle_deg: float = Field(0.7, ge=0, le=45, description="largest, about the centre")


class RegisteredRules(EffectRules):
    """The plate was moved back and lit alike before the network sees it, as prediction does it.

    Its motion and the light's change are then not gone, but small.
    """

    remains: Shares = Field(
        (0.0, 0.15), description="share of the motion and of the light's change"
    )


class PlainRules(EffectRules):
    """Neither effects nor noise: the plate is exact, and the mask can be too."""


class StaleRules(EffectRules):
    """A thing stands in the plate that had gone when the picture was taken."""


class CrowdRules(EffectRules):
    """A second object and, as often again, a third."""


class BlurRules(EffectRules):
    """Picture and plate out of focus, alpha with them."""

    sigma_px: Sigmas = (0.4, 1.3)


class RowNoiseRules(EffectRules):
    """Every row a little brighter or darker, as sensors that are read row by row have it."""

    sigma: Levels = Field((0.3, 2.0), description="of 255")


class ResizeRules(EffectRules):
    """Picture and plate were made smaller and larger again on their way."""

    scale: Scales = (0.4, 0.95)


class RecolourRules(EffectRules):
    """The objects in other colours, so that a few dozen cutouts are as good as many.

    Their hue is turned by any angle.
    """

    saturation: Factors = (0.3, 1.4)
    contrast: Factors = Field((0.5, 1.3), description="about mid-grey")
    gain: Factors = Field((0.5, 1.6), description="of the brightness")


class ExposureRules(EffectRules):
    """Picture and plate exposed alike, other than they were taken.

    It is what registration of the plate leaves of a change of exposure: the light is the same
    again, and both are clipped alike.
    """

    stops: Stops = (-1.5, 1.5)


class ToneRules(EffectRules):
    """Picture and plate in another tone alike: white balance, and what black comes out as.

    Rooms by lamps, shade and haze, for a network that also has to read pictures without a plate.
    """

    channel_gain: Factors = (0.8, 1.25)
    offset: SignedLevels = Field((-15.0, 25.0), description="of 255")


class SoftPlateRules(EffectRules):
    """The plate is softer than the picture: a mean of many frames, or taken out of focus."""

    sigma_px: Sigmas = (0.4, 1.6)


class GroundRules(Settings):
    """Objects that stand on the ground of labelled backgrounds, as large as that makes them."""

    share: float = Field(0.0, ge=0, le=1, description="of the samples on ground that is known")
    height: Heights = Field((0.12, 1.25), description="of the object / of the camera above ground")


class RecipeRules(Settings):
    """What recipes are drawn from; ranges are inclusive.

    With ``places = 0`` each sample draws its assets freely. With ``places > 0`` the samples are a
    grid: every cutout on every background, each in both flips, each at ``places`` positions.
    """

    name: str = "training"
    size: int = Field(224, ge=32, le=2048, description="side of the square composite, px")
    flip_probability: float = Field(0.5, ge=0, le=1)
    plate_crop: Crops = Field((0.4, 1.0), description="side of the crop / background's short side")
    long_side_px: Sides = Field((30.0, 200.0), description="of the cutout in the composite")
    off_frame: float = Field(0.2, ge=0, le=0.9, description="largest share of the box off-frame")
    coverage: Shares = Field((0.003, 0.6), description="foreground share of the pixels")
    empty_probability: float = Field(0.02, ge=0, le=1, description="composites with no cutout")
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Qualities = Field((60.0, 98.0), description="picture and plate encoded apart")
    noise_probability: float = Field(0.3, ge=0, le=1)
    noise_sigma: Levels = Field((0.0, 4.0), description="of 255, on picture and plate apart")
    labelled_share: float | None = Field(
        0.35, ge=0, le=1, description="of the samples on labelled backgrounds; None: as they come"
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

    def at_size(self, size: int) -> Self:
        """The same rules for composites of another side, the cutouts in proportion.

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
"""The 2020 plan: 100 cutouts x 100 backgrounds x 2 flips x 20 places = 400 000 composites."""

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
"""What lies between a plate and a picture in the field: light, motion, shadows, noise, codecs."""

PLANS: Final = {"free": RecipeRules(), "field": FIELD, "prior": PRIOR_WORK}
"""What a dataset can be made by: plain composites, realistic ones, or the prior work's grid."""


def plan_rules(plan: str, changes: Path | None = None, size: int | None = None) -> RecipeRules:
    """The rules of a plan.

    Args:
        changes: a YAML file with what is to be otherwise, such as ``shadow: {probability: 0}``.
        size: side of the composites, px, the cutouts in proportion; None leaves both as they are.

    Raises:
        ConfigError: there is no plan of that name, or the file is not such a file.
    """
    if plan not in PLANS:
        raise ConfigError(f"a plan of {', '.join(PLANS)}", repr(plan), "choose one of them")
    rules = PLANS[plan] if changes is None else PLANS[plan].overlaid(changes)
    return rules if size is None else rules.at_size(size)
