// The result on the stage: which view of the prediction is shown, and what is under the pointer.

import { type Calibration, describeMetres, toMetres } from "./calibration";
import { button, chosenRadio, element, onRadio } from "./dom";
import { showPicture } from "./pictures";
import type { Prediction } from "./predictor";
import { type Picture, resizeField, resizeNearest, resizePicture } from "./raster";
import { median } from "./statistics";
import {
  type Background,
  colourDisparity,
  DEPTH_COLOURS,
  fieldRange,
  makeCutout,
  placeBefore,
  tintMask,
} from "./views";

const SCREEN_SIDE = 1600;
const VIEW_NAMES: Record<string, string> = {
  cutout: "The cutout",
  mask: "The picture, with what was found tinted",
  depth: "How near things are: bright is near, dark is far",
  wipe: "The picture on the left of a line, the cutout on its right",
};

export class Result {
  private readonly canvas = element("result", HTMLCanvasElement);
  private readonly readout = element("readout", HTMLParagraphElement);
  private readonly wipe = element("wipe", HTMLInputElement);
  private screen: Prediction | null = null;
  private cutout: Picture | null = null;
  private range: [number, number] | null = null;
  private pointer: { x: number; y: number } | null = null;
  prediction: Prediction | null = null;
  calibration: Calibration | null = null;
  background: Background = { kind: "checks" };
  /** Points of the picture that are marked where depth is shown. */
  marks: readonly { readonly x: number; readonly y: number }[] = [];
  /** Called with a pixel of the picture that was clicked. */
  onPoint: (x: number, y: number) => void = () => undefined;

  constructor() {
    drawLegend(element("legend", HTMLCanvasElement));
    onRadio("view", () => this.show());
    this.wipe.addEventListener("input", () => this.show());
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => {
      this.point(event);
      if (this.pointer !== null) this.onPoint(this.pointer.x, this.pointer.y);
    });
    this.canvas.addEventListener("keydown", (event) => this.press(event));
  }

  get view(): string {
    return chosenRadio("view");
  }

  set view(name: string) {
    const chosen = document.querySelector<HTMLInputElement>(`input[name="view"][value="${name}"]`);
    if (chosen !== null) chosen.checked = true;
    this.show();
  }

  /** Takes a prediction; colours of depth keep their range while it is `live`. */
  set(prediction: Prediction | null, live = false): void {
    this.prediction = prediction;
    this.screen = prediction === null ? null : shrinkForScreen(prediction);
    this.cutout = null;
    if (!live) this.range = null;
    this.show();
  }

  show(): void {
    const view = this.view;
    for (const name of ["cutout", "wipe", "depth"]) {
      const shown = name === view || (name === "cutout" && view === "wipe");
      element(`options-${name}`, HTMLDivElement).hidden = !shown;
    }
    button("save-disparity").disabled = this.prediction === null || this.prediction.disparity === null;
    if (this.screen === null) {
      this.canvas.width = 4; // clears it
      this.canvas.height = 3;
      this.canvas.setAttribute("aria-label", "Nothing to show yet");
      this.readout.textContent = "";
      return;
    }
    const picture = this.render(view, this.screen);
    showPicture(this.canvas, picture);
    if (view === "wipe") this.drawBefore(this.screen.picture);
    if (view === "depth") this.drawMarks();
    this.canvas.setAttribute("aria-label", VIEW_NAMES[view] ?? "");
    this.describePointer();
  }

  /** What is shown, at the picture's own size. */
  renderFull(): Picture | null {
    return this.prediction === null ? null : this.render(this.view, this.prediction);
  }

  private render(view: string, prediction: Prediction): Picture {
    if (view === "mask") return tintMask(prediction);
    if (view === "depth") {
      if (prediction.disparity === null) return prediction.picture;
      const range = fieldRange(prediction.disparity);
      const before = this.range ?? range;
      this.range = [Math.min(before[0], range[0]), Math.max(before[1], range[1])];
      return colourDisparity(prediction.disparity, this.range);
    }
    if (prediction !== this.screen) return placeBefore(makeCutout(prediction), this.background);
    this.cutout ??= makeCutout(prediction);
    return placeBefore(this.cutout, this.background);
  }

  private drawBefore(picture: Picture): void {
    const context = this.canvas.getContext("2d");
    const line = Math.round((Number(this.wipe.value) / 100) * picture.width);
    const image = new ImageData(picture.data, picture.width, picture.height);
    context?.putImageData(image, 0, 0, 0, 0, line, picture.height);
    if (context === null || line === 0 || line === picture.width) return;
    const thick = Math.max(2, picture.width / 400);
    context.fillStyle = "#fff";
    context.fillRect(line - thick / 2, 0, thick, picture.height);
  }

  private drawMarks(): void {
    const context = this.canvas.getContext("2d");
    if (context === null || this.prediction === null) return;
    const scale = this.canvas.width / this.prediction.picture.width;
    const radius = Math.max(5, this.canvas.width / 80);
    for (const [width, colour] of [
      [radius / 2, "#000"],
      [radius / 5, "#fff"],
    ] as const) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      for (const { x, y } of this.marks) {
        context.beginPath();
        context.arc((x + 0.5) * scale, (y + 0.5) * scale, radius, 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }

  private point(event: PointerEvent): void {
    if (this.prediction === null) return;
    const box = this.canvas.getBoundingClientRect();
    const { height, width } = this.prediction.picture;
    const share = (value: number): number => Math.min(Math.max(value, 0), 0.9999);
    this.pointer = {
      x: Math.floor(share((event.clientX - box.left) / box.width) * width),
      y: Math.floor(share((event.clientY - box.top) / box.height) * height),
    };
    if (this.view === "wipe" && event.buttons > 0) {
      this.wipe.value = String((100 * this.pointer.x) / width);
      this.show();
    }
    this.describePointer();
  }

  /** The arrow keys move the point that is read, as the pointer does; Enter is a click. */
  private press(event: KeyboardEvent): void {
    if (this.prediction === null) return;
    const { height, width } = this.prediction.picture;
    const step = Math.max(1, Math.round(Math.max(height, width) / (event.shiftKey ? 20 : 100)));
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const pointer = this.pointer ?? { x: width >> 1, y: height >> 1 };
    const move = moves[event.key];
    if (event.key === "Enter") this.onPoint(pointer.x, pointer.y);
    else if (move === undefined) return;
    event.preventDefault();
    this.pointer = {
      x: Math.min(Math.max(pointer.x + (move?.[0] ?? 0), 0), width - 1),
      y: Math.min(Math.max(pointer.y + (move?.[1] ?? 0), 0), height - 1),
    };
    this.readout.setAttribute("aria-live", "polite");
    this.describePointer();
  }

  private describePointer(): void {
    const { prediction, pointer } = this;
    if (prediction === null) return;
    const { height, width } = prediction.picture;
    const parts = [`${width} × ${height} pixels`];
    const distance = this.describeDistance();
    if (distance !== null) parts.push(distance);
    if (pointer !== null && pointer.x < width && pointer.y < height) {
      const at = pointer.y * width + pointer.x;
      parts.push(
        `here (column ${pointer.x}, row ${pointer.y}): ` +
          `${Math.round(prediction.alpha.data[at]! * 100)} % foreground`,
      );
      if (prediction.disparity !== null) {
        const value = prediction.disparity.data[at]!;
        parts.push(
          this.calibration === null
            ? `nearness ${value.toFixed(2)}`
            : describeMetres(toMetres(this.calibration, value)),
        );
      }
    }
    this.readout.textContent = parts.join(" · ");
  }

  /** How far the foreground is, where that is in metres. */
  private describeDistance(): string | null {
    if (this.calibration === null || this.screen === null || this.screen.disparity === null) {
      return null;
    }
    const { alpha, disparity } = this.screen;
    const values = disparity.data.filter((_, i) => alpha.data[i]! > 0.5);
    if (values.length === 0) return null;
    return `the foreground is ${describeMetres(toMetres(this.calibration, median(values)))} away`;
  }
}

/** A prediction no larger than a screen, which is shown more quickly. */
function shrinkForScreen(prediction: Prediction): Prediction {
  const { picture, alpha, plate, disparity } = prediction;
  const long = Math.max(picture.height, picture.width);
  if (long <= SCREEN_SIDE) return prediction;
  const height = Math.max(1, Math.round((picture.height * SCREEN_SIDE) / long));
  const width = Math.max(1, Math.round((picture.width * SCREEN_SIDE) / long));
  return {
    ...prediction,
    picture: resizePicture(picture, height, width),
    alpha: resizeField(alpha, height, width),
    plate: plate === null ? null : resizePicture(plate, height, width),
    disparity: disparity === null ? null : resizeNearest(disparity, height, width),
  };
}

function drawLegend(canvas: HTMLCanvasElement): void {
  const data = new Uint8ClampedArray(256 * 4).fill(255);
  for (let level = 0; level < 256; level++) {
    data.set(DEPTH_COLOURS.subarray(level * 3, level * 3 + 3), level * 4);
  }
  showPicture(canvas, { height: 1, width: 256, data });
}
