"""What ``maskdepth plate`` makes a plate of: a picture, or frames in which things move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskdepth.cli.options import say
from maskdepth.cli.predict_video import find_clip
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from maskdepth.inference.plate.estimate import EstimatedPlate

_MIN_UNSURE = 0.002  # of the pixels: a smaller part is not worth a warning


@dataclass(frozen=True)
class PlateFiles:
    """The files of a plate.

    Attributes:
        pictures: one picture; or frames; or the folder of them.
        clip: a video, in place of pictures.
    """

    pictures: Sequence[Path]
    clip: Path | None

    @classmethod
    def find(cls, sources: Sequence[Path]) -> PlateFiles:
        """What kind of files the sources are.

        Raises:
            UsageError: a clip beside other sources, or one that is not there.
        """
        return cls(sources, find_clip([str(source) for source in sources]))

    @property
    def are_frames(self) -> bool:
        """Whether the plate is estimated, rather than one picture."""
        return self.clip is not None or len(self.pictures) > 1 or self.pictures[0].is_dir()

    @property
    def place(self) -> Path:
        """The plate's picture, or the folder of the frames or the clip."""
        several = len(self.pictures) > 1 or self.clip is not None
        return self.pictures[0].parent if several else self.pictures[0]

    def check_picture_output(self, output: Path) -> None:
        """Check that a plate that is to be a picture comes from several frames.

        Raises:
            UsageError: it is one picture.
            PictureError: that picture cannot be read.
        """
        from maskdepth.images import load_picture

        if self.are_frames:
            return
        load_picture(self.pictures[0])  # a path that leads nowhere is named first
        raise UsageError(
            "a clip or a folder of frames",
            f"{self.pictures[0]}, one picture",
            "pass a clip or a folder of frames, or write a plate profile: -o scene.plate",
            f"{output} would be estimated from frames, but {self.pictures[0]} is one picture.",
        )

    def load(self, confidence: Path) -> tuple[NDArray[np.uint8], EstimatedPlate | None]:
        """The plate's picture, and the estimate that it comes from.

        Args:
            confidence: file for the confidence of an estimate.
        """
        from maskdepth.images import grey_picture, load_picture, save_png
        from maskdepth.inference.plate.estimate import estimate_plate

        if not self.are_frames:
            return load_picture(self.pictures[0]), None
        estimate = estimate_plate(self._sample())
        say(f"the plate is {estimate.describe()}")
        save_png(confidence, grey_picture(estimate.confidence)[..., 0])
        if estimate.unsure >= _MIN_UNSURE:
            say(
                f"warning: {estimate.unsure:.1%} of the plate was never or hardly seen empty, at "
                f"the dark places of {confidence}; take frames at other times too"
            )
        return estimate.picture, estimate

    def _sample(self) -> list[NDArray[np.uint8]]:
        from maskdepth.inference.plate.sampling import sample_files, sample_frames
        from maskdepth.media.pictures import find_jobs

        if self.clip is not None:
            return sample_frames(_decode(self.clip))
        jobs = [job for job in find_jobs(list(map(str, self.pictures))) if job.problem is None]
        return sample_files([job.picture for job in jobs if isinstance(job.picture, Path)])


def _decode(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a clip, as many as can be decoded."""
    from maskdepth.errors import VideoError
    from maskdepth.media.video import VideoSource

    frames = VideoSource(clip)
    try:
        for frame in frames:
            yield frame.pixels
    except VideoError as error:
        say(f"warning: {error.problem}")
