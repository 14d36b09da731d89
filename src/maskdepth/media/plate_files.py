"""The plate of each picture: one file for all, or that of its name in a folder."""

from __future__ import annotations

from pathlib import Path

from maskdepth.errors import PictureError, UsageError
from maskdepth.files import normal_name
from maskdepth.images import load_picture
from maskdepth.inference.plate.prepared import Picture
from maskdepth.inference.plate.profile import PlateProfile, is_profile, load_profile
from maskdepth.media.listing import (
    exists,
    is_file,
    is_folder,
    list_folder,
    picture_files,
    real_path,
)
from maskdepth.records import file_identities

LoadedPlate = Picture | PlateProfile


class Plates:
    """The plates of a run: one file for all pictures, a folder with one for each, or none.

    Attributes:
        folder: the folder, where there is one.
        loaded: the one file for all pictures, read and decoded.
    """

    def __init__(self, plate: str | None) -> None:
        self.folder: Path | None = None
        self.loaded: LoadedPlate | None = None
        self._file: Path | None = None
        self._by_stem: dict[str, list[Path]] = {}
        if plate is None:
            return
        if is_folder(plate):
            self.folder = Path(plate)
            listed = list_folder(self.folder)
            profiles = [path for path in listed if is_profile(path) and is_file(path)]
            for path in [*picture_files(listed), *profiles]:
                self._by_stem.setdefault(normal_name(path.stem), []).append(path)
        elif exists(plate):
            self._file = Path(plate)
            # A plate of all pictures that is damaged fails the run once.
            is_picture = not is_profile(self._file)
            self.loaded = load_picture(self._file) if is_picture else load_profile(self._file)
        else:
            raise UsageError(
                "a plate, or a folder of plates",
                f"no {plate}",
                "check the path",
                f"The plate {plate} does not exist.",
            )

    def contain(self, path: Path) -> bool:
        """Whether a file is the plate, or lies in the folder of plates."""
        real = real_path(path)
        own = [real_path(each) for each in (self._file, self.folder) if each is not None]
        return any(real == each or each in real.parents for each in own)

    def find(self, picture: Path) -> Path | None:
        """The picture's plate: in a folder, the file of its name, else the only one of its stem.

        Raises:
            PictureError: no such plate, several, or the picture itself.
        """
        if self.folder is None:
            partners = [] if self._file is None else [self._file]
        else:
            partners = self._by_stem.get(normal_name(picture.stem), [])
            name = normal_name(picture.name)
            same_name = [path for path in partners if normal_name(path.name) == name]
            # A picture and a profile of one stem are two plates, whatever the picture's name.
            if not any(map(is_profile, partners)):
                partners = same_name or partners
            if len(partners) != 1:
                found = " and ".join(path.name for path in partners) or "none"
                raise PictureError(
                    f"one plate named {picture.stem!r} in {self.folder}",
                    found,
                    "name each plate like its picture",
                    f"{self.folder} must have one plate named {picture.stem!r}, but has {found}.",
                )
        if file_identities(partners) & file_identities([picture]):
            raise PictureError(
                "a plate apart from its picture",
                f"{picture} for both",
                "pass a picture of the same scene without foreground",
                f"{picture} cannot be its own plate.",
            )
        return partners[0] if partners else None
