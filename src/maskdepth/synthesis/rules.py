"""What recipes are drawn from: ranges and probabilities, the frozen benchmark, ready-made plans."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from maskdepth.config import Settings
from maskdepth.errors import ConfigError

Range = tuple[float, float]


class _Rules(Settings):
    """Settings some of which are ranges, inclusive, the lower end first.

    Attributes:
        ranges: their names; they begin at 0 or above.
        signed: those that may also be negative.
    """

    ranges: ClassVar[frozenset[str]] = frozenset()
    signed: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        for name in sorted(self.ranges | self.signed):
            low, high = getattr(self, name)
            if not low <= high or (low < 0 and name not in self.signed):
                least = "" if name in self.signed else "0 <= "
                raise ValueError(f"expected {least}low <= high in {name}")
        return self


class EffectRules(_Rules):
    """One effect: how often it is applied, and from what ranges its strength is drawn."""

    probability: float = Field(0.0, ge=0, le=1)


class ShadowRules(EffectRules):
    """A soft copy of the object's outline that darkens the plate: a shadow it throws."""

    ranges = frozenset({"strength", "sigma_px", "down_px"})
    signed = frozenset({"sideways_px"})
    strength: Range = Field((0.2, 0.5), description="share of the light that it takes away")
    sigma_px: Range = (2.0, 6.0)
    down_px: Range = (3.0, 15.0)
    sideways_px: Range = (-15.0, 15.0)


class ContactRules(EffectRules):
    """A dark, flat, soft shape where the object touches the ground."""

    ranges = frozenset({"strength", "height"})
    signed = frozenset({"lean"})
    strength: Range = (0.2, 0.7)
    height: Range = Field((0.05, 0.35), description="share of the object's own height")
    lean: Range = Field((-1.0, 1.0), description="how far it leans aside, in its own heights")


class ReflectionRules(EffectRules):
    """The object upside down below its feet, fading: smooth, wet or polished ground."""

    ranges = frozenset({"strength"})
    strength: Range = (0.05, 0.35)


class HarmonyRules(EffectRules):
    """The object's colours moved towards those of the plate around it."""

    ranges = frozenset({"strength"})
    strength: Range = Field((0.2, 0.8), description="0 as the cutout is, 1 the plate's mean")


class MotionRules(EffectRules):
    """The object moved while the shutter was open: its alpha is smeared too."""

    ranges = frozenset({"length_px"})
    length_px: Range = (2.0, 9.0)


class DefocusRules(EffectRules):
    """The objects out of focus, each with its alpha, before a plate that is not."""

    ranges = frozenset({"sigma_px"})
    sigma_px: Range = (0.5, 4.0)


class LightRules(EffectRules):
    """The picture's light and white balance are not the plate's."""

    ranges = frozenset({"gain", "channel_gain"})
    signed = frozenset({"offset"})
    gain: Range = (0.8, 1.2)
    channel_gain: Range = (0.95, 1.05)
    offset: Range = Field((-8.0, 8.0), description="of 255")


class PlateMotionRules(EffectRules):
    """The camera stood a little elsewhere when the plate was taken."""

    shift_px: float = Field(3.0, ge=0, le=64, description="largest, along each axis")
    angle_deg: float = Field(0.7, ge=0, le=45, description="largest, about the centre")


class RegisteredRules(EffectRules):
    """The plate was moved back and lit alike before the network sees it, as prediction does it.

    Its motion and the light's change are then not gone, but small.
    """

    ranges = frozenset({"remains"})
    remains: Range = Field((0.0, 0.15), description="share of the motion and of the light's change")


class PlainRules(EffectRules):
    """Neither effects nor noise: the plate is exact, and the mask can be too."""


class StaleRules(EffectRules):
    """A thing stands in the plate that had gone when the picture was taken."""


class CrowdRules(EffectRules):
    """A second object and, as often again, a third."""


class BlurRules(EffectRules):
    """Picture and plate out of focus, alpha with them."""

    ranges = frozenset({"sigma_px"})
    sigma_px: Range = (0.4, 1.3)


class RowNoiseRules(EffectRules):
    """Every row a little brighter or darker, as sensors that are read row by row have it."""

    ranges = frozenset({"sigma"})
    sigma: Range = Field((0.3, 2.0), description="of 255")


class ResizeRules(EffectRules):
    """Picture and plate were made smaller and larger again on their way."""

    ranges = frozenset({"scale"})
    scale: Range = (0.4, 0.95)


class RecolourRules(EffectRules):
    """The objects in other colours, so that a few dozen cutouts are as good as many.

    Their hue is turned by any angle.
    """

    ranges = frozenset({"saturation", "contrast", "gain"})
    saturation: Range = (0.3, 1.4)
    contrast: Range = Field((0.5, 1.3), description="about mid-grey")
    gain: Range = Field((0.5, 1.6), description="of the brightness")


class ExposureRules(EffectRules):
    """Picture and plate exposed alike, other than they were taken.

    It is what registration of the plate leaves of a change of exposure: the light is the same
    again, and both are clipped alike.
    """

    signed = frozenset({"stops"})
    stops: Range = (-1.5, 1.5)


class SoftPlateRules(EffectRules):
    """The plate is softer than the picture: a mean of many frames, or taken out of focus."""

    ranges = frozenset({"sigma_px"})
    sigma_px: Range = (0.4, 1.6)


class GroundRules(_Rules):
    """Objects that stand on the ground of labelled backgrounds, as large as that makes them."""

    ranges = frozenset({"height"})
    share: float = Field(0.0, ge=0, le=1, description="of the samples on ground that is known")
    height: Range = Field((0.12, 1.25), description="of the object / of the camera above ground")


class RecipeRules(_Rules):
    """What recipes are drawn from; ranges are inclusive.

    With ``places = 0`` each sample draws its assets freely. With ``places > 0`` the samples are a
    grid: every cutout on every background, each in both flips, each at ``places`` positions.
    """

    ranges = frozenset({"plate_crop", "long_side_px", "coverage", "jpeg_quality", "noise_sigma"})
    name: str = "training"
    size: int = Field(224, ge=32, le=2048, description="side of the square composite, px")
    flip_probability: float = Field(0.5, ge=0, le=1)
    plate_crop: Range = Field((0.4, 1.0), description="side of the crop / background's short side")
    long_side_px: Range = Field((30.0, 200.0), description="of the cutout in the composite")
    off_frame: float = Field(0.2, ge=0, le=0.9, description="largest share of the box off-frame")
    coverage: Range = Field((0.003, 0.6), description="foreground share of the pixels")
    empty_probability: float = Field(0.02, ge=0, le=1, description="composites with no cutout")
    jpeg_probability: float = Field(0.5, ge=0, le=1)
    jpeg_quality: Range = Field((60.0, 98.0), description="picture and plate encoded apart")
    noise_probability: float = Field(0.3, ge=0, le=1)
    noise_sigma: Range = Field((0.0, 4.0), description="of 255, on picture and plate apart")
    labelled_share: float | None = Field(
        0.35, ge=0, le=1, description="of the samples on labelled backgrounds; None: as they come"
    )
    places: int = Field(0, ge=0, description="positions per cutout, background and flip; 0: free")
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
)
"""What lies between a plate and a picture in the field: light, motion, shadows, noise, codecs."""

PLANS: Final = {"free": RecipeRules(), "field": FIELD, "prior": PRIOR_WORK}
"""What a dataset can be made by: plain composites, realistic ones, or the prior work's grid."""


def plan_rules(plan: str, changes: Path | None = None) -> RecipeRules:
    """The rules of a plan.

    Args:
        changes: a YAML file with what is to be otherwise, such as ``shadow: {probability: 0}``.

    Raises:
        ConfigError: there is no plan of that name, or the file is not such a file.
    """
    if plan not in PLANS:
        raise ConfigError(f"a plan of {', '.join(PLANS)}", repr(plan), "choose one of them")
    return PLANS[plan] if changes is None else PLANS[plan].overlaid(changes)
