// The page as a whole: what it was given, what follows from that, and what is shown.

import { CalibrationForm } from "./calibrationForm";
import { Camera } from "./camera";
import { button, element, nextPaint, onRadio, chosenRadio, saveFile } from "./dom";
import { Live } from "./live";
import { judgePlate, judgePrediction, type Note } from "./notes";
import { decodePicture, UserError } from "./pictures";
import { encodeAlpha, encodeDisparity, encodePicture } from "./png";
import { fits, type PreparedPlate, type Predictor } from "./predictor";
import { isSize } from "./raster";
import { Result } from "./result";
import { type NamedPicture, type SlotName, Slots } from "./slots";
import { makeCutout } from "./views";

type Given = Partial<Record<SlotName, NamedPicture>>;

export class App {
  private readonly error = element("error", HTMLParagraphElement);
  private readonly busy = element("busy", HTMLParagraphElement);
  private readonly slots = new Slots();
  private readonly result = new Result();
  private readonly calibration = new CalibrationForm(this.result, (error) => this.showError(error));
  private readonly transparent = new URLSearchParams(location.search).has("transparent");
  private predictor: Predictor | null = null;
  private live: Live | null = null;
  private sample: Required<Given> | null = null;
  private picture: NamedPicture | null = null;
  private plate: NamedPicture | null = null;
  private prepared: PreparedPlate | null = null;
  private plateNotes: Note[] = [];
  /** The number of the latest calculation: an earlier one that ends later shows nothing. */
  private latest = 0;

  constructor(private readonly loadSample: () => Promise<Required<Given>>) {
    if (this.transparent) {
      document.documentElement.classList.add("transparent");
      this.result.background = { kind: "none" };
    }
    this.slots.onPictures = (given) => this.take(given);
    this.slots.onError = (error) => this.showError(error);
    this.onClick("sample", () => this.showSample());
    this.onClick("exchange", () => this.exchange());
    this.listenToBackgrounds();
    this.listenToDownloads();
    this.updateButtons();
  }

  /** Opens the network, then shows the sample. */
  async start(openPredictor: () => Promise<Predictor>): Promise<void> {
    this.setState("Starting …");
    await nextPaint();
    const predictor = await openPredictor();
    this.predictor = predictor;
    this.live = new Live(predictor, new Camera(element("video", HTMLVideoElement)), {
      show: (prediction) => {
        this.result.set(prediction, true);
        this.markReady();
      },
      needsDisparity: () => this.result.view === "depth",
      hold: (picture, plate) => this.hold({ picture, plate }),
      plateTaken: (plate) => {
        this.setPlate(plate);
        this.showNotes(this.plateNotes);
      },
      judge: (prediction, plate) => {
        this.showNotes([...judgePrediction(prediction, plate), ...this.plateNotes]);
      },
      started: () => this.forget(),
      failed: (error) => this.showError(error),
    });
    if (this.picture === null && !this.transparent) await this.showSample();
    else await this.update();
  }

  private async showSample(): Promise<void> {
    this.setState("Calculating …");
    this.sample ??= await this.loadSample();
    await this.take(this.sample);
  }

  showError(error: unknown): void {
    this.setState("");
    this.error.hidden = false;
    this.error.textContent =
      error instanceof UserError
        ? error.message
        : `Something in the page failed: ${error instanceof Error ? error.message : String(error)}`;
    if (!(error instanceof UserError)) console.error(error);
  }

  private clearError(): void {
    this.error.hidden = true;
    this.error.textContent = "";
  }

  /** Takes pictures; a sample's partner makes room for a picture of one's own. */
  private async take(given: Given): Promise<void> {
    this.clearError();
    this.live?.stop();
    if (given.plate === undefined && given.picture !== undefined && !this.fitsPlate(given.picture)) {
      this.setPlate(null);
    }
    if (given.picture !== undefined) this.picture = given.picture;
    if (given.plate !== undefined) {
      this.setPlate(given.plate);
      if (given.picture === undefined && this.picture !== null && this.isSample(this.picture)) {
        this.picture = null;
      }
    }
    await this.update();
  }

  private fitsPlate(picture: NamedPicture): boolean {
    return this.plate !== null && !this.isSample(this.plate) && fits(this.plate.picture, picture.picture);
  }

  private isSample(given: NamedPicture): boolean {
    return given === this.sample?.picture || given === this.sample?.plate;
  }

  private setPlate(plate: NamedPicture | null): void {
    this.plate = plate;
    this.prepared = null;
    this.plateNotes = plate === null ? [] : judgePlate(plate.picture);
    this.calibration.forget();
    this.slots.show("plate", plate);
  }

  private async exchange(): Promise<void> {
    const { picture, plate } = this;
    if (picture !== null && plate !== null) await this.take({ picture: plate, plate: picture });
  }

  /** What the camera held becomes picture and empty scene; the calibration stays. */
  private async hold({ picture, plate }: { picture: NamedPicture; plate: NamedPicture }): Promise<void> {
    this.picture = picture;
    if (this.plate !== plate) this.setPlate(plate);
    await this.update();
  }

  /** The camera starts: the pictures so far belong to another scene. */
  private forget(): void {
    this.latest++;
    this.clearError();
    this.picture = null;
    this.setPlate(null);
    this.slots.show("picture", null);
    this.result.set(null);
    document.querySelector(".result")?.classList.remove("ready");
    this.updateButtons();
    this.showNotes([]);
  }

  /** Calculates the result of what the page was given, and shows it. */
  private async update(): Promise<void> {
    const { picture, plate, predictor } = this;
    this.slots.show("picture", picture);
    this.updateButtons();
    const number = ++this.latest;
    if (picture === null || predictor === null) {
      this.showNotes(this.plateNotes);
      this.setState(predictor === null ? "Starting …" : "");
      return;
    }
    if (plate !== null && !fits(plate.picture, picture.picture)) {
      const size = ({ picture: { height, width } }: NamedPicture): string => `${width} × ${height}`;
      throw new UserError(
        `The empty scene (${size(plate)}) has another shape than the picture (${size(picture)}). ` +
          "Take both with the same camera.",
      );
    }
    this.setState("Calculating …");
    await nextPaint();
    if (plate !== null && (this.prepared === null || !isSize(this.prepared.picture, picture.picture))) {
      this.prepared = await predictor.prepare(plate.picture, picture.picture);
    }
    const prediction = await predictor.predict(picture.picture, this.prepared);
    if (number !== this.latest) return;
    this.result.set(prediction);
    this.markReady();
    this.showNotes([...judgePrediction(prediction, this.prepared), ...this.plateNotes]);
    this.setState("");
  }

  /** Says what is being done; with "" the page is ready, which `data-state` says to programs. */
  private setState(text: string): void {
    this.busy.textContent = text;
    document.documentElement.dataset["state"] = text === "" ? "ready" : "busy";
  }

  private markReady(): void {
    document.querySelector(".result")?.classList.add("ready");
    this.updateButtons();
  }

  private updateButtons(): void {
    button("exchange").disabled = this.picture === null || this.plate === null;
    for (const name of ["save-cutout", "save-alpha", "save-view", "calibrate"]) {
      button(name).disabled = this.result.prediction === null;
    }
  }

  private showNotes(notes: readonly Note[]): void {
    const items = notes.map(({ good, text }) => {
      const item = document.createElement("li");
      item.textContent = text;
      if (!good) item.className = "warn";
      return item;
    });
    element("notes", HTMLUListElement).replaceChildren(...items);
  }

  private listenToBackgrounds(): void {
    const colour = element("colour", HTMLInputElement);
    const file = element("file-background", HTMLInputElement);
    const update = (): void => {
      const kind = chosenRadio("background");
      element("colour-field", HTMLLabelElement).hidden = kind !== "colour";
      element("background-field", HTMLSpanElement).hidden = kind !== "picture";
      if (kind === "colour") this.result.background = { kind, colour: colour.value };
      else if (kind === "checks") this.result.background = { kind };
      this.result.show();
    };
    onRadio("background", update);
    colour.addEventListener("input", update);
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      if (chosen === undefined) return;
      this.clearError();
      decodePicture(chosen, chosen.name).then(
        (picture) => {
          this.result.background = { kind: "picture", picture };
          this.result.show();
        },
        (error: unknown) => this.showError(error),
      );
    });
  }

  private listenToDownloads(): void {
    const save = (id: string, ending: string, make: () => Promise<Blob> | null): void => {
      this.onClick(id, async () => {
        const blob = await make();
        const stem = this.picture?.name.replace(/\.[^.]*$/, "") ?? "camera";
        const name = stem === "sample (drawn)" ? "sample" : stem;
        if (blob !== null) saveFile(blob, `${name}_${ending}.png`);
      });
    };
    const result = this.result;
    save("save-cutout", "cutout", () =>
      result.prediction === null ? null : encodePicture(makeCutout(result.prediction)),
    );
    save("save-alpha", "alpha", () =>
      result.prediction === null ? null : encodeAlpha(result.prediction.alpha),
    );
    save("save-disparity", "disparity", () =>
      result.prediction?.disparity ? encodeDisparity(result.prediction.disparity) : null,
    );
    save("save-view", "view", () => {
      const shown = result.renderFull();
      return shown === null ? null : encodePicture(shown);
    });
  }

  private onClick(id: string, action: () => Promise<void>): void {
    button(id).addEventListener("click", () => {
      action().catch((error: unknown) => this.showError(error));
    });
  }
}
