// What the page says of a plate and of a prediction, in sentences.

import { blurField, convolve, largestNearby } from "./filters";
import { meanCells, shareAlike } from "./light";
import { findMotion } from "./motion";
import type { Prediction, PreparedPlate } from "./predictor";
import { type Field, newField, type Picture, resizeNearest, resizePicture } from "./raster";
import { median } from "./statistics";

export interface Note {
  readonly good: boolean;
  readonly text: string;
}

const MEASURED_SIDE = 512;
const UNDEREXPOSED = 5;
const OVEREXPOSED = 250;
const MAX_CLIPPED = 0.05;
const BLUR_PX = 11;
const MIN_SHARPNESS = 0.42;
const MAX_NOISE = 6;
const MAX_SAME_GAIN = 1.1;
const MAX_ALIKE_OF_OTHERS = 0.35;
const MIN_PEAK = 7;
const NEARLY_ALL = 0.9;
const MIN_OUTLINE = 50;
const EXCHANGED = 0.4;

/** How well a plate will serve: whether it is sharp, well exposed and clean. */
export function judgePlate(plate: Picture): Note[] {
  const shrink = Math.min(1, MEASURED_SIDE / Math.max(plate.height, plate.width));
  const small = resizePicture(
    plate,
    Math.max(1, Math.round(plate.height * shrink)),
    Math.max(1, Math.round(plate.width * shrink)),
  );
  const notes: Note[] = [];
  const grey = toGrey(small);
  const { dark, bright } = measureExposure(small);
  if (bright > MAX_CLIPPED) {
    notes.push(warn(`${percent(bright)} of the empty scene is too bright to be compared: close the
      curtains, or lower the exposure.`));
  }
  if (dark > MAX_CLIPPED) {
    notes.push(warn(`${percent(dark)} of the empty scene is too dark to be compared: add light.`));
  }
  if (measureSharpness(grey) < MIN_SHARPNESS) {
    notes.push(warn("The empty scene is blurred: focus the camera and take it again."));
  }
  if (measureNoise(grey) > MAX_NOISE) {
    notes.push(warn("The empty scene is grainy. More light makes a better cutout."));
  }
  if (notes.length === 0) notes.push(good("The empty scene is sharp and well exposed."));
  return notes;
}

/** Signs that a prediction may be wrong, or that nothing is. */
export function judgePrediction(prediction: Prediction, plate: PreparedPlate | null): Note[] {
  const { picture, alpha, light } = prediction;
  if (plate === null) {
    return [
      warn("Without the empty scene the page can only guess what you want to cut out. Add it."),
    ];
  }
  const notes: Note[] = [];
  const share = maskShare(alpha);
  const small = resizePicture(picture, plate.smallPicture.height, plate.smallPicture.width);
  const motion = findMotion(small, plate.smallPicture);
  const alike = shareAlike(meanCells(small), plate.cells, light);
  if (motion.peak < MIN_PEAK && alike < MAX_ALIKE_OF_OTHERS) {
    notes.push(warn("The two pictures seem to show different scenes."));
  } else if (motion.moved) {
    const distance = Math.max(Math.abs(motion.across), Math.abs(motion.down));
    notes.push(warn(`The camera has moved by about ${percent(distance)} of the picture. Take the
      empty scene again, and keep the camera still.`));
  } else {
    notes.push(good("The camera has not moved."));
  }
  if (share === 0) {
    notes.push(warn(`Nothing was found that is not in the empty scene too. If that is wrong, the two
      pictures may be exchanged.`));
  }
  if (share > NEARLY_ALL) {
    notes.push(warn("Nearly all of the picture counts as foreground. Is the empty scene right?"));
  } else if (share > 0 && areExchanged(small, plate.smallPicture, alpha)) {
    notes.push(warn("The two pictures seem to be exchanged. Use “Exchange the two”."));
  }
  if (light !== null) {
    const gain = Math.max(...light.gains.map((each) => Math.max(each, 1 / each)));
    if (light.curved) {
      notes.push(warn("The camera has changed its settings in between, and that could not be matched."));
    } else if (gain > MAX_SAME_GAIN || light.gamma !== 1) {
      notes.push(good("The light has changed in between, and was matched."));
    }
  }
  return notes;
}

function good(text: string): Note {
  return { good: true, text };
}

function warn(text: string): Note {
  return { good: false, text: text.replace(/\s+/g, " ") };
}

function percent(share: number): string {
  return `${Math.max(1, Math.round(share * 100))} %`;
}

function maskShare(alpha: Field): number {
  let count = 0;
  for (const value of alpha.data) if (value > 0.5) count++;
  return count / alpha.data.length;
}

function measureExposure(picture: Picture): { dark: number; bright: number } {
  let [dark, bright] = [0, 0];
  for (let at = 0; at < picture.data.length; at += 4) {
    const [red, green, blue] = [picture.data[at]!, picture.data[at + 1]!, picture.data[at + 2]!];
    if (Math.max(red, green, blue) <= UNDEREXPOSED) dark++;
    if (Math.max(red, green, blue) >= OVEREXPOSED) bright++;
  }
  const count = picture.data.length / 4;
  return { dark: dark / count, bright: bright / count };
}

/** 1 less the blur of Crete et al., "The blur effect" (2007), in the worse direction. */
function measureSharpness(grey: Field): number {
  const slope = Float32Array.of(-1, 0, 1);
  const smooth = Float32Array.of(1, 2, 1);
  const box = new Float32Array(BLUR_PX).fill(1 / BLUR_PX);
  const one = Float32Array.of(1);
  let worst = 0;
  for (const across of [true, false]) {
    const blurred = across ? convolve(grey, box, one) : convolve(grey, one, box);
    const sobel = (field: Field): Field =>
      across ? convolve(field, slope, smooth) : convolve(field, smooth, slope);
    const [sharp, soft] = [sobel(grey), sobel(blurred)];
    let [total, taken] = [0, 0];
    sharp.data.forEach((value, i) => {
      total += Math.abs(value);
      taken += Math.max(0, Math.abs(value) - Math.abs(soft.data[i]!));
    });
    worst = Math.max(worst, total > 0 ? 1 - taken / total : 1);
  }
  return 1 - worst;
}

/** The standard deviation of noise, of 255: Immerkaer, "Fast noise variance estimation" (1996). */
function measureNoise(grey: Field): number {
  const kernel = Float32Array.of(1, -2, 1);
  const response = convolve(grey, kernel, kernel).data.map(Math.abs);
  return median(response) / (0.6745 * 6);
}

/** Whether the mask's outline is an edge of the plate rather than of the picture. */
function areExchanged(picture: Picture, plate: Picture, alpha: Field): boolean {
  const small = resizeNearest(alpha, picture.height, picture.width);
  const mask: Field = { ...small, data: small.data.map((value) => (value > 0.5 ? 1 : 0)) };
  const inverse: Field = { ...mask, data: mask.data.map((value) => 1 - value) };
  const grown = largestNearby(mask, 1);
  const grownInverse = largestNearby(inverse, 1);
  const [edges, plateEdges] = [measureEdges(picture), measureEdges(plate)];
  let [count, clear] = [0, 0];
  for (let i = 0; i < mask.data.length; i++) {
    if (grown.data[i] === 0 || grownInverse.data[i] === 0) continue;
    count++;
    if (plateEdges.data[i]! > 1.5 * edges.data[i]! + 10) clear++;
  }
  return count >= MIN_OUTLINE && clear > EXCHANGED * count;
}

/** The strongest gradient about each pixel. */
function measureEdges(picture: Picture): Field {
  const slope = Float32Array.of(-1, 0, 1);
  const smooth = Float32Array.of(1, 2, 1);
  const strongest = newField(picture.height, picture.width);
  for (let c = 0; c < 3; c++) {
    const levels = newField(picture.height, picture.width);
    for (let i = 0; i < levels.data.length; i++) levels.data[i] = picture.data[i * 4 + c]!;
    const blurred = blurField(levels, 1);
    const [across, down] = [convolve(blurred, slope, smooth), convolve(blurred, smooth, slope)];
    for (let i = 0; i < levels.data.length; i++) {
      const strength = Math.hypot(across.data[i]!, down.data[i]!);
      strongest.data[i] = Math.max(strongest.data[i]!, strength);
    }
  }
  return largestNearby(strongest, 1);
}

function toGrey(picture: Picture): Field {
  const grey = newField(picture.height, picture.width);
  for (let i = 0; i < grey.data.length; i++) {
    const at = i * 4;
    grey.data[i] =
      0.299 * picture.data[at]! + 0.587 * picture.data[at + 1]! + 0.114 * picture.data[at + 2]!;
  }
  return grey;
}
