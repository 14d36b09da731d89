// From a picture and its plate to a prediction: the path of one picture, top to bottom.
//
// The same path as `maskdepth.Predictor` takes without moving the plate and without refining
// outlines: light, network, close-up, disparity.

import { findCloseUp, findOutlineWindow, losesForeground } from "./closeUp";
import { measureEvidence } from "./evidence";
import { layOverPlate } from "./layers";
import { type Cells, findLight, type Light, meanCells, relight } from "./light";
import type { Network } from "./network";
import {
  cropField,
  cropPicture,
  type Field,
  isSize,
  newField,
  type Picture,
  type Rectangle,
  resizeField,
  resizePicture,
  roundHalfEven,
  shrinkPicture,
  type Size,
} from "./raster";

/** What a model's card says that a prediction needs. */
export interface Model {
  readonly trainingSize: number;
  /** The side of the square that the network needs; null: any size. */
  readonly fixedSize: number | null;
  readonly learnedDepth: boolean;
}

/** All that depends on the plate alone, so that a camera's plate is worked on once. */
export interface PreparedPlate {
  readonly picture: Picture;
  readonly smallPicture: Picture;
  readonly cells: Cells;
  /** At the network's input size; null of a model that never learned depth. */
  readonly disparity: Field | null;
}

export interface Prediction {
  readonly picture: Picture;
  readonly alpha: Field;
  /** The plate in the picture's light; null without a plate. */
  readonly plate: Picture | null;
  readonly light: Light | null;
  /** In [0, 1], near = 1; null of a model that never learned depth. */
  readonly disparity: Field | null;
}

export interface Options {
  /** Whether the network runs again on the foreground alone where a picture is large. */
  readonly closeUp: boolean;
  /** Whether the disparity is wanted too. */
  readonly disparity: boolean;
}

const MIN_INPUT_SIDE = 160;
const MAX_LENGTH = 16;
const MAX_ASPECT_DIFFERENCE = 0.01;

export class Predictor {
  constructor(
    readonly model: Model,
    private readonly network: Network,
    private readonly depthNetwork: Network | null,
  ) {}

  /** The network's input size for a picture. */
  inputSize({ height, width }: Size): Size {
    const { fixedSize, trainingSize } = this.model;
    if (fixedSize !== null) return { height: fixedSize, width: fixedSize };
    const short = Math.min(height, width);
    const long = Math.max(height, width);
    const wanted = Math.min(trainingSize, Math.max(short, MIN_INPUT_SIDE));
    const scale = Math.min(wanted / short, (MAX_LENGTH * trainingSize) / long);
    return {
      height: Math.max(1, roundHalfEven(height * scale)),
      width: Math.max(1, roundHalfEven(width * scale)),
    };
  }

  /** A plate made ready for pictures of a size. Its sides must have nearly the same ratio. */
  async prepare(plate: Picture, size: Size): Promise<PreparedPlate> {
    const picture = resizePicture(plate, size.height, size.width);
    const smallPicture = this.shrink(picture);
    const disparity = await this.estimateDisparity(picture, smallPicture);
    return { picture, smallPicture, cells: meanCells(smallPicture), disparity };
  }

  async predict(
    picture: Picture,
    plate: PreparedPlate | null,
    options: Options = { closeUp: true, disparity: true },
  ): Promise<Prediction> {
    const small = this.shrink(picture);
    if (plate === null) return this.predictAlone(picture, small, options);
    const light = findLight(meanCells(small), plate.cells);
    const lit = light === null ? plate.picture : relight(plate.picture, light);
    const smallLit = light === null ? plate.smallPicture : this.shrink(lit);
    const run = await this.network.run(small, smallLit, plate.disparity);
    const closeUp = options.closeUp
      ? await this.runCloseUp(run.alpha, picture, lit, plate.disparity)
      : null;
    const alpha = closeUp === null ? enlarge(run.alpha, picture) : place(...closeUp, picture);
    let disparity: Field | null = null;
    if (options.disparity && plate.disparity !== null) {
      disparity = layOverPlate(run.disparity, plate.disparity, alpha);
    }
    return { picture, alpha, plate: lit, light, disparity };
  }

  private async predictAlone(
    picture: Picture,
    small: Picture,
    options: Options,
  ): Promise<Prediction> {
    const run = await this.network.run(small, null, null);
    const answer = options.disparity ? await this.estimateDisparity(picture, small) : null;
    const disparity = answer === null ? null : enlarge(answer, picture);
    return { picture, alpha: enlarge(run.alpha, picture), plate: null, light: null, disparity };
  }

  /** Disparity of one picture alone, at the network's input size. */
  private async estimateDisparity(picture: Picture, small: Picture): Promise<Field | null> {
    if (this.depthNetwork !== null) {
      const own = resizePicture(picture, small.height, small.width); // finer than `small`
      return (await this.depthNetwork.run(own, null, null)).disparity;
    }
    if (!this.model.learnedDepth) return null;
    return (await this.network.run(small, null, null)).disparity;
  }

  /** Alpha of the part of a picture that holds the foreground, and that part. */
  private async runCloseUp(
    alpha: Field,
    picture: Picture,
    plate: Picture,
    plateDisparity: Field | null,
  ): Promise<[Field, Rectangle] | null> {
    const part = findCloseUp(alpha, picture);
    if (part === null) return null;
    const { height, width } = alpha;
    const small = shrinkPicture(cropPicture(picture, part), height, width);
    const smallPlate = shrinkPicture(cropPicture(plate, part), height, width);
    const disparity = plateDisparity === null ? null : cropDisparity(plateDisparity, part, picture);
    const run = await this.network.run(small, smallPlate, disparity);
    const window = findOutlineWindow(run.alpha);
    if (window === null) return null;
    const [own, ownPlate] = [cropPicture(small, window), cropPicture(smallPlate, window)];
    const evidence = measureEvidence(own, ownPlate, cropField(run.alpha, window));
    if (losesForeground(evidence)) return null;
    const size = { height: part.bottom - part.top, width: part.right - part.left };
    return [enlarge(run.alpha, size), part];
  }

  private shrink(picture: Picture): Picture {
    const { height, width } = this.inputSize(picture);
    return shrinkPicture(picture, height, width);
  }
}

/** Whether a plate fits a picture: the ratios of their sides differ by 1 % at most. */
export function fits(plate: Size, picture: Size): boolean {
  const ratio = (plate.width / plate.height) * (picture.height / picture.width);
  return Math.abs(ratio - 1) <= MAX_ASPECT_DIFFERENCE;
}

function enlarge(field: Field, { height, width }: Size): Field {
  return isSize(field, { height, width }) ? field : resizeField(field, height, width);
}

/** A map in its part of a larger one, which is 0 elsewhere. */
function place(part: Field, { top, left }: Rectangle, { height, width }: Size): Field {
  const field = newField(height, width);
  for (let y = 0; y < part.height; y++) {
    const row = part.data.subarray(y * part.width, (y + 1) * part.width);
    field.data.set(row, (top + y) * width + left);
  }
  return field;
}

/** A plate's small disparity in a part of a picture, at its own size. */
function cropDisparity(disparity: Field, part: Rectangle, picture: Size): Field {
  const scale = disparity.height / picture.height;
  const span = (low: number, high: number): [number, number] => {
    const start = Math.trunc(low * scale);
    return [start, Math.max(start + 1, roundHalfEven(high * scale))];
  };
  const [top, bottom] = span(part.top, part.bottom);
  const [left, right] = span(part.left, part.right);
  const own = {
    top,
    left,
    bottom: Math.min(bottom, disparity.height),
    right: Math.min(right, disparity.width),
  };
  return resizeField(cropField(disparity, own), disparity.height, disparity.width);
}
