"""What the stages of a clip's prediction cost, and how fast they are together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.bench.machine import describe_machine
from maskdepth.bench.methods import find_methods
from maskdepth.bench.prepared import NOISE, draw_layers
from maskdepth.errors import UsageError
from maskdepth.inference.model.locate import SHIPPED, find_model
from maskdepth.inference.prediction import Prediction
from maskdepth.inference.predictor import Predictor
from maskdepth.inference.stream import Stream
from maskdepth.media.frames import Frame
from maskdepth.media.pyav import load_av
from maskdepth.media.run_stream import run_stream
from maskdepth.media.video import ClipTiming, VideoSource
from maskdepth.media.video_sink import VideoSink
from maskdepth.records import Json

LAYERS: Final = ("preview", "alpha")
_SIZE: Final = (720, 1280)
_TIMING: Final = ClipTiming(Fraction(1, 15360), Fraction(30))
_PERIOD: Final = 90  # frames in which the object goes forth and back
_REACH: Final = 0.2  # of the width, to each side
_SPARE_PX: Final = 64  # by which the noise is larger than a frame, so that no two have the same
_NETWORK_SIDE: Final = 224
_NETWORK_RUNS: Final = 30

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class StageCost:
    """Processor time of a frame on all cores, ms, of each stage while no other runs."""

    decode_ms: float
    predict_ms: float
    encode_ms: float

    @property
    def total_ms(self) -> float:
        """Of a frame."""
        return self.decode_ms + self.predict_ms + self.encode_ms

    def as_json(self) -> Json:
        """The three, and their sum."""
        return {**vars(self), "total_ms": self.total_ms}


class _Stopwatch:
    """Adds up processor time of this process, all its threads included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds += time.process_time() - started


def bench_stream(
    model: str | Path | None = None,
    *,
    frames: int = 90,
    threads: int | None = None,
    layer: str = "preview",
    size: tuple[int, int] = _SIZE,
) -> Json:
    """How fast a clip is decoded, predicted before a prepared plate, and encoded as a .mp4.

    The clip is drawn here, as H.264 in a temporary folder: an object that moves before its plate,
    with a camera's noise. Another shows the plate alone.

    Args:
        model: a model folder; the shipped one if left out.
        frames: of each clip. Those of one are held in memory.
        threads: CPU threads of the network, all cores if left out. The bound is over all cores.
        layer: ``"preview"`` or ``"alpha"``.
        size: even height and width of the clips, px.

    Returns:
        ``object`` and ``empty``: the `StageCost` of a frame with and without the object.
        ``bound_frames_per_second``: cores by the processor time of a frame with it.
        ``overlapped``: ``frames_per_second`` of `run_stream` on the same clip, ``share_of_bound``,
        ``cpu_ms`` of a frame, and ``cores_used`` on average; where that is less than there are, a
        stage waited, or other work had the rest. ``empty_share``: processor time of an empty frame
        by that of one with the object. ``network_cpu_ms``: of the network at 224 x 224, and
        ``empty_predict_ratio``: predicting an empty frame in multiples of it. ``machine``, with
        ``load``: processes that ran or waited in the last minute, before this began.

    Raises:
        DependencyError: PyAV is not installed.
        ModelError: the model folder is damaged or missing.
        UsageError: fewer than 2 frames, no thread, or another layer.
    """
    if frames < 2 or (threads is not None and threads < 1) or layer not in LAYERS:
        raise UsageError(
            "2 or more frames, 1 or more threads, and the layer preview or alpha",
            f"{frames}, {threads} and {layer}",
            "",
            "A clip has 2 or more frames, threads start at 1, and a layer is preview or alpha.",
        )
    load_av()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cores = _count_cores()
    folder = find_model(model or SHIPPED, download=False)
    predictor = Predictor.from_pretrained(folder, threads=threads)
    with TemporaryDirectory(prefix="maskdepth-bench-") as place:
        clips, plate = draw_clips(Path(place), frames, size)
        stream = predictor.stream(plate)
        costs = [_measure_stages(clip, stream, layer) for clip in clips]
        overlapped = _measure_overlapped(clips[0], stream, layer)
    bound = 1000 * cores / costs[0].total_ms
    overlapped["share_of_bound"] = overlapped["frames_per_second"] / bound
    network_ms = _measure_network(folder, threads)
    machine = describe_machine() | {"threads": threads, "cores_allowed": cores, "load": load}
    return {
        "height": size[0],
        "width": size[1],
        "frames": frames,
        "layer": layer,
        "object": costs[0].as_json(),
        "empty": costs[1].as_json(),
        "bound_frames_per_second": bound,
        "overlapped": overlapped,
        "empty_share": costs[1].total_ms / costs[0].total_ms,
        "network_cpu_ms": network_ms,
        "empty_predict_ratio": costs[1].predict_ms / network_ms,
        "machine": machine,
    }


def stream_table(result: Json) -> str:
    """The figures of `bench_stream` as lines of text."""
    lines = [f"{'CPU ms a frame':<16}{'object':>9}{'share':>7}{'empty':>9}"]
    total_ms = result["object"]["total_ms"]
    for stage in ("decode", "predict", "encode", "total"):
        cost, empty = result["object"][f"{stage}_ms"], result["empty"][f"{stage}_ms"]
        lines.append(f"{stage:<16}{cost:>9.1f}{100 * cost / total_ms:>5.0f} %{empty:>9.1f}")
    run, machine = result["overlapped"], result["machine"]
    bound = result["bound_frames_per_second"]
    lines.append(f"bound on {machine['cores_allowed']} cores: {bound:.1f} frames/s")
    if machine["load"] is not None:
        lines[-1] += f" (load before: {machine['load']:.1f})"
    lines.append(f"overlapped: {run['frames_per_second']:.1f} frames/s")
    lines[-1] += f", {100 * run['share_of_bound']:.0f} % of the bound; {run['cpu_ms']:.1f} CPU ms"
    lines[-1] += f" a frame, {run['cores_used']:.2f} cores used"
    lines.append(f"empty frame: {100 * result['empty_share']:.0f} % of one with an object")
    lines[-1] += f"; predicting it takes {result['empty_predict_ratio']:.2f} times the network"
    return "\n".join(lines)


def draw_clips(folder: Path, frames: int, size: tuple[int, int]) -> tuple[list[Path], Picture]:
    """Write a clip with a moving object and one of the plate alone.

    Args:
        folder: where object.mp4 and empty.mp4 are written.
        frames: of each.
        size: even height and width, px.

    Returns:
        Both paths in this order, and the plate, uint8 (H, W, 3), a still that no codec changed.

    Raises:
        StorageError: a clip cannot be written.
        DependencyError: PyAV is not installed.
    """
    height, width = size
    random = np.random.default_rng(0)
    plate, colours, alpha = draw_layers(height, width, random)
    noise = random.normal(0, NOISE, (height + _SPARE_PX, width + _SPARE_PX, 3)).astype(np.float32)

    def take(scene: NDArray[np.float32]) -> Picture:
        top, left = random.integers(0, _SPARE_PX, 2)
        noisy = scene + noise[top : top + height, left : left + width]
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)

    def pictures(with_object: bool) -> Iterator[Picture]:
        for number in range(frames):
            shift = round(_REACH * width * np.sin(2 * np.pi * number / _PERIOD))
            cover = np.roll(alpha, shift, 1) if with_object else np.float32(0)
            yield take(plate + cover * (np.roll(colours, shift, 1) - plate))

    clips = [folder / "object.mp4", folder / "empty.mp4"]
    for clip, with_object in zip(clips, (True, False), strict=True):
        opaque, far = np.ones(size, np.float32), np.zeros(size, np.float32)
        with VideoSink(clip, _TIMING, kind="composite", background="black") as sink:
            for number, picture in enumerate(pictures(with_object)):
                frame = Frame(picture, number, float(number / _TIMING.rate))
                sink.write(frame, Prediction(picture, opaque, far))
    return clips, take(plate)


def _count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure_stages(clip: Path, stream: Stream, layer: str) -> StageCost:
    """Decode all frames; then predict and encode them in turn.

    Decoding has threads that work ahead, so it is over before the others begin.
    """
    source, decode, predict, encode = VideoSource(clip), _Stopwatch(), _Stopwatch(), _Stopwatch()
    with decode.running():
        frames: Sequence[Frame] = list(source)
    _warm_up(stream, frames[0])
    with VideoSink(clip.with_name("stages.mp4"), source.timing, kind=layer) as sink:
        for frame in frames:
            with predict.running():
                prediction = stream.predict(frame.pixels, frame.time_s)
            with encode.running():
                sink.write(frame, prediction)
    times = (1000 * each.seconds / len(frames) for each in (decode, predict, encode))
    return StageCost(*times)


def _measure_overlapped(clip: Path, stream: Stream, layer: str) -> Json:
    source, watch = VideoSource(clip), _Stopwatch()
    _warm_up(stream, next(iter(source)))
    started = time.perf_counter()
    with watch.running(), VideoSink(clip.with_name("run.mp4"), source.timing, kind=layer) as sink:
        summary = run_stream(stream, source, [sink])
    seconds = time.perf_counter() - started
    return {
        "frames_per_second": summary.frames / seconds,
        "cpu_ms": 1000 * watch.seconds / summary.frames,
        "cores_used": watch.seconds / seconds,
    }


def _warm_up(stream: Stream, frame: Frame) -> None:
    """Prepare the plate for this size, and begin again."""
    stream.predict(frame.pixels, frame.time_s)
    stream.reset()


def _measure_network(folder: Path, threads: int | None) -> float:
    """Processor time of the fp32 network on ONNX Runtime at 224 x 224, ms, a median."""
    (method, *_), _ = find_methods([folder])
    call = method.network(_NETWORK_SIDE, _NETWORK_SIDE, threads)
    call()
    times = []
    for _ in range(_NETWORK_RUNS):
        watch = _Stopwatch()
        with watch.running():
            call()
        times.append(1000 * watch.seconds)
    return float(np.median(times))
