// The two places for pictures: choose a file, drop or paste.

import { element } from "./dom";
import { decodePicture, showPicture, UserError } from "./pictures";
import { type Picture, resizePicture } from "./raster";

export type SlotName = "picture" | "plate";

export interface NamedPicture {
  readonly picture: Picture;
  readonly name: string;
}

const THUMBNAIL_SIDE = 240;
const NAMES_OF_PLATES = /plate|empty|clean|background|without|leer|vide/i;

export class Slots {
  /** Called with the pictures that were given, by their slots. */
  onPictures: (given: Partial<Record<SlotName, NamedPicture>>) => Promise<void> = () =>
    Promise.resolve();
  onError: (error: unknown) => void = () => undefined;

  constructor() {
    for (const slot of ["picture", "plate"] as const) {
      const input = element(`file-${slot}`, HTMLInputElement);
      input.addEventListener("change", () => {
        const files = [...(input.files ?? [])];
        input.value = ""; // so that the same file can be chosen again
        void this.take(files, slot);
      });
    }
    document.addEventListener("paste", (event) => {
      void this.take([...(event.clipboardData?.files ?? [])], this.emptySlot());
    });
    this.listenToDrops();
  }

  show(slot: SlotName, given: NamedPicture | null): void {
    const box = element(`slot-${slot}`, HTMLDivElement);
    box.classList.toggle("filled", given !== null);
    element(`name-${slot}`, HTMLParagraphElement).textContent = given?.name ?? "none yet";
    const canvas = box.querySelector("canvas");
    if (canvas === null) return;
    if (given === null) {
      canvas.width = 4;
      return;
    }
    const { height, width } = given.picture;
    const shrink = Math.min(1, THUMBNAIL_SIDE / Math.min(height, width));
    const rows = Math.max(1, Math.round(height * shrink));
    const columns = Math.max(1, Math.round(width * shrink));
    showPicture(canvas, resizePicture(given.picture, rows, columns));
  }

  private emptySlot(): SlotName {
    const filled = (slot: SlotName): boolean =>
      element(`slot-${slot}`, HTMLDivElement).classList.contains("filled");
    return filled("picture") && !filled("plate") ? "plate" : "picture";
  }

  private listenToDrops(): void {
    const slotAt = (event: DragEvent): SlotName | null => {
      const target = event.target instanceof Element ? event.target.closest(".slot") : null;
      return target === null ? null : (target.id.replace("slot-", "") as SlotName);
    };
    const mark = (chosen: Element | null): void => {
      for (const each of document.querySelectorAll(".over")) each.classList.remove("over");
      chosen?.classList.add("over");
    };
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      const slot = slotAt(event);
      mark(document.getElementById(slot === null ? "stage" : `slot-${slot}`));
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) mark(null);
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(null);
      const slot = slotAt(event) ?? this.emptySlot();
      void this.take([...(event.dataTransfer?.files ?? [])], slot);
    });
  }

  /** One file goes to a slot. Of two, the one whose name says so is the empty scene. */
  private async take(files: File[], slot: SlotName): Promise<void> {
    if (files.length === 0) return;
    try {
      if (files.length > 2) throw new UserError("Give one picture, or a picture and its empty scene.");
      const pictures = await Promise.all(
        files.map(async (file) => ({
          picture: await decodePicture(file, file.name),
          name: file.name,
        })),
      );
      const [first, second] = pictures;
      if (first === undefined) return;
      if (second === undefined) await this.onPictures({ [slot]: first });
      else if (NAMES_OF_PLATES.test(first.name) && !NAMES_OF_PLATES.test(second.name)) {
        await this.onPictures({ picture: second, plate: first });
      } else await this.onPictures({ picture: first, plate: second });
    } catch (error) {
      this.onError(error);
    }
  }
}
