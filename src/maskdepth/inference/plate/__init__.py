"""All about plates: what is known of one, and how it comes onto a picture."""

from maskdepth.inference.plate.profile import (
    PlateProfile,
    load_profile,
    profile_from_depth,
    profile_from_disparity,
)

__all__ = ["PlateProfile", "load_profile", "profile_from_depth", "profile_from_disparity"]
