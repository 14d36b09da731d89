"""Match a prepared plate to one picture: the plate is moved and relit, and may be compared in grey.

A profile of another scene or view is an error: its metres would look right and be wrong.
"""

from __future__ import annotations

from dataclasses import replace

from maskdepth.errors import PlateError
from maskdepth.images import to_grey
from maskdepth.inference.plate.colour import lacks_colour
from maskdepth.inference.plate.notices import plate_notices
from maskdepth.inference.plate.prepared import Picture, PreparedPlate, RegisteredPlate

__all__ = ["match_plate"]


def match_plate(
    prepared: PreparedPlate, picture: Picture, small_picture: Picture, *, register: bool
) -> RegisteredPlate:
    """The plate matched to a picture, in grey where one of the two has no colour.

    Args:
        picture, small_picture: uint8 (H, W, 3), and (h, w, 3) at the network's input size.
        register: whether the plate may be moved and relit.

    Raises:
        PlateError: a profile of another scene or view.
    """
    if lacks_colour(small_picture, prepared.small_picture):
        matched = _register(prepared.in_grey, small_picture, register=register)
    elif prepared.is_grey and lacks_colour(prepared.small_picture, small_picture):
        grey = to_grey(small_picture)
        matched = _register(prepared, grey, register=register).coloured_like(picture)
    else:
        return _register(prepared, small_picture, register=register)
    return replace(matched, compared_in_grey=True)


def _register(
    prepared: PreparedPlate, small_picture: Picture, *, register: bool
) -> RegisteredPlate:
    if not register:
        return prepared.unregistered()
    registered = prepared.register(small_picture)
    registration = registered.registration
    if prepared.profile is None or registration is None:
        return registered
    name = "the plate profile" if prepared.file is None else str(prepared.file)
    if registration.another_scene:
        found = f"{registration.agreeing} of its {registration.corners} corners are found"
        problem = (
            f"The picture shows another scene than {name}: {registration.agreeing} of the "
            f"plate's {registration.corners} corners are found in it."
        )
    elif registration.not_applied is not None:
        found = "another view of it"
        texts = " ".join(notice.text for notice in plate_notices(registration))
        problem = f"The picture shows another view than {name}. {texts}"
    else:
        return registered
    remedy = "use the profile of this camera, or switch registration off"
    raise PlateError(f"a picture of the scene of {name}", found, remedy, problem)
