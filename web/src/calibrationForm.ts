// Two clicks and two distances turn nearness into metres.

import { calibrate, type Point, readPoint } from "./calibration";
import { button, element } from "./dom";
import { UserError } from "./pictures";
import type { Result } from "./result";

interface MeasuredPoint {
  readonly point: Point;
  readonly metres: number;
}

export class CalibrationForm {
  private readonly form = element("calibration", HTMLFormElement);
  private readonly text = element("calibration-text", HTMLParagraphElement);
  private readonly entry = element("calibration-entry", HTMLDivElement);
  private readonly distance = element("distance", HTMLInputElement);
  private measured: MeasuredPoint[] = [];
  private chosen: Point | null = null;

  constructor(
    private readonly result: Result,
    private readonly failed: (error: unknown) => void,
  ) {
    button("calibrate").addEventListener("click", () => this.begin());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.set();
    });
    result.onPoint = (x, y) => this.choose(x, y);
  }

  /** Another plate has another scale. */
  forget(): void {
    this.result.calibration = null;
    this.end();
    button("calibrate").textContent = "Measure in metres";
  }

  private begin(): void {
    this.measured = [];
    this.form.hidden = false;
    this.ask("Click a point whose distance you know: something near, seen without the foreground.");
  }

  private ask(text: string): void {
    this.chosen = null;
    this.entry.hidden = true;
    this.text.textContent = text;
    this.showMarks();
  }

  private end(): void {
    this.measured = [];
    this.chosen = null;
    this.form.hidden = true;
    this.showMarks();
  }

  private showMarks(): void {
    const points = this.measured.map(({ point }) => point);
    this.result.marks = this.chosen === null ? points : [...points, this.chosen];
    this.result.show();
  }

  private choose(x: number, y: number): void {
    const disparity = this.result.prediction?.disparity;
    if (this.form.hidden || this.result.view !== "depth" || !disparity) return;
    this.chosen = readPoint(disparity, x, y);
    this.text.textContent = `Point ${this.measured.length + 1}: column ${x}, row ${y}.`;
    this.entry.hidden = false;
    this.distance.value = "";
    this.showMarks();
    // Not within the click itself, which would give the focus back to the picture.
    setTimeout(() => this.distance.focus(), 0);
  }

  private set(): void {
    if (this.chosen === null) return;
    this.measured.push({ point: this.chosen, metres: Number(this.distance.value) });
    const [first, second] = this.measured;
    if (first === undefined || second === undefined) {
      this.ask("Now a second point, much farther away or much nearer.");
      return;
    }
    try {
      this.result.calibration = calibrate(first.point, first.metres, second.point, second.metres);
      button("calibrate").textContent = "Measure again";
      this.end();
    } catch (error) {
      if (!(error instanceof UserError)) this.failed(error);
      else {
        this.measured = [];
        this.ask(`${error.message} Begin again: click the first point.`);
      }
    }
    this.showMarks();
  }
}
