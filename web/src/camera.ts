// The machine's camera, as pictures.

import { readPixels, UserError } from "./pictures";
import type { Picture, Size } from "./raster";

const PLATE_FRAMES = 8;

export class Camera {
  private stream: MediaStream | null = null;

  constructor(private readonly video: HTMLVideoElement) {}

  get isOn(): boolean {
    return this.stream !== null;
  }

  async start(): Promise<void> {
    // Browsers that hide cameras from a page leave this out, whatever their types say.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (devices === undefined) {
      throw new UserError(
        "Browsers give the camera only to a file on this machine, to localhost and to https.",
      );
    }
    try {
      this.stream = await devices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    } catch (error) {
      throw new UserError(explain(error));
    }
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  /** The size of its pictures, made smaller where the long side exceeds a limit. */
  size(longSide = Infinity): Size {
    const { videoHeight, videoWidth } = this.video;
    const shrink = Math.min(1, longSide / Math.max(videoHeight, videoWidth));
    return {
      height: Math.max(1, Math.round(videoHeight * shrink)),
      width: Math.max(1, Math.round(videoWidth * shrink)),
    };
  }

  picture(longSide = Infinity): Picture {
    return readPixels(this.video, this.size(longSide));
  }

  /** The mean of some frames, which has less noise than one. */
  async meanPicture(): Promise<Picture> {
    const first = this.picture();
    const sums = Float32Array.from(first.data);
    for (let frame = 1; frame < PLATE_FRAMES; frame++) {
      await this.nextFrame();
      const { data } = this.picture();
      for (let i = 0; i < sums.length; i++) sums[i]! += data[i]!;
    }
    const data = Uint8ClampedArray.from(sums, (sum) => sum / PLATE_FRAMES);
    return { height: first.height, width: first.width, data };
  }

  /** Waits until the camera has a new frame. */
  nextFrame(): Promise<void> {
    return new Promise((resolve) => {
      this.video.requestVideoFrameCallback(() => resolve());
    });
  }
}

function explain(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return "The browser was not allowed to use the camera. Allow it beside the page's address.";
  }
  if (name === "NotFoundError") return "This machine has no camera that the browser can find.";
  return "The camera cannot be used. Another program may be using it.";
}
