// The camera's part of the page: a countdown takes the empty scene, then each frame is cut out.

import type { Camera } from "./camera";
import { button, element } from "./dom";
import type { PreparedPlate, Prediction, Predictor } from "./predictor";
import { isSize } from "./raster";
import type { NamedPicture } from "./slots";

const COUNTDOWN_S = 5;
const LIVE_SIDE = 640;
const REPORTS_A_JUDGEMENT = 3; // to judge a frame takes as long as to cut some out

export interface LiveEvents {
  show(prediction: Prediction): void;
  needsDisparity(): boolean;
  hold(picture: NamedPicture, plate: NamedPicture): Promise<void>;
  plateTaken(plate: NamedPicture): void;
  /** Called from time to time with what is shown. */
  judge(prediction: Prediction, plate: PreparedPlate): void;
  started(): void;
  failed(error: unknown): void;
}

export class Live {
  private readonly text = element("camera-text", HTMLParagraphElement);
  private readonly panel = element("camera", HTMLDivElement);
  private readonly count = element("count", HTMLParagraphElement);
  private plate: NamedPicture | null = null;
  private prepared: PreparedPlate | null = null;
  /** The number of the present activity: an earlier one sees that it has ended. */
  private activity = 0;

  constructor(
    private readonly predictor: Predictor,
    private readonly camera: Camera,
    private readonly events: LiveEvents,
  ) {
    this.onClick("camera-start", () => this.start());
    this.onClick("camera-plate", () => this.takePlate());
    this.onClick("camera-hold", () => this.hold());
    button("camera-stop").addEventListener("click", () => this.stop());
  }

  stop(): void {
    this.activity++;
    this.camera.stop();
    this.panel.hidden = true;
    button("camera-start").hidden = false;
  }

  private async start(): Promise<void> {
    this.activity++;
    await this.camera.start();
    this.plate = this.prepared = null;
    this.panel.hidden = false;
    button("camera-start").hidden = true;
    this.showButtons();
    this.text.textContent = "Put the camera where it can stay. Then take the empty scene.";
    this.events.started();
    button("camera-plate").focus();
  }

  private async takePlate(): Promise<void> {
    const activity = ++this.activity;
    const inputs = document.querySelector(".inputs");
    inputs?.classList.add("counting");
    try {
      for (let seconds = COUNTDOWN_S; seconds > 0; seconds--) {
        this.text.textContent = `Leave the picture: ${seconds}`;
        this.count.textContent = String(seconds);
        await new Promise((resolve) => setTimeout(resolve, 1000));
        if (activity !== this.activity) return;
      }
      this.text.textContent = "Taking the empty scene …";
      this.count.textContent = "";
      const picture = await this.camera.meanPicture();
      if (activity !== this.activity) return;
      this.plate = { picture, name: "camera" };
      this.prepared = await this.predictor.prepare(picture, this.camera.size(LIVE_SIDE));
      this.events.plateTaken(this.plate);
    } finally {
      inputs?.classList.remove("counting");
      this.count.textContent = "";
    }
    await this.run();
  }

  /** Cuts out frame after frame, always the newest, until something else begins. */
  private async run(): Promise<void> {
    const activity = ++this.activity;
    this.showButtons();
    let [frames, since, reports] = [0, performance.now(), 0];
    this.text.textContent = "Come back: whatever is new is cut out.";
    while (activity === this.activity && this.prepared !== null) {
      await this.camera.nextFrame();
      if (activity !== this.activity) return;
      const frame = this.camera.picture(LIVE_SIDE);
      if (!isSize(frame, this.prepared.picture) && this.plate !== null) {
        // The device was turned, or the camera changed its size.
        this.prepared = await this.predictor.prepare(this.plate.picture, frame);
      }
      const options = { closeUp: false, disparity: this.events.needsDisparity() };
      const prediction = await this.predictor.predict(frame, this.prepared, options);
      if (activity !== this.activity) return;
      this.events.show(prediction);
      frames++;
      const elapsed = performance.now() - since;
      if (elapsed < 2000) continue;
      this.text.textContent = `Live, ${Math.round((1000 * frames) / elapsed)} pictures a second.`;
      if (reports++ % REPORTS_A_JUDGEMENT === 0) this.events.judge(prediction, this.prepared);
      [frames, since] = [0, performance.now()];
    }
  }

  /** Keeps the present frame, in all detail; or goes on. */
  private async hold(): Promise<void> {
    if (this.plate === null) return;
    if (button("camera-hold").getAttribute("aria-pressed") === "true") return this.run();
    this.activity++;
    button("camera-hold").textContent = "Go on";
    button("camera-hold").setAttribute("aria-pressed", "true");
    this.text.textContent = "This picture is held, and can be saved.";
    await this.events.hold({ picture: this.camera.picture(), name: "camera" }, this.plate);
  }

  private showButtons(): void {
    const hold = button("camera-hold");
    hold.hidden = this.plate === null;
    hold.textContent = "Hold this picture";
    hold.setAttribute("aria-pressed", "false");
    const plate = button("camera-plate");
    plate.textContent = this.plate === null ? "Take the empty scene" : "Take the empty scene again";
    plate.classList.toggle("quiet", this.plate !== null);
  }

  private onClick(id: string, action: () => Promise<void>): void {
    button(id).addEventListener("click", () => {
      action().catch((error: unknown) => this.events.failed(error));
    });
  }
}
