// The light that makes a plate match its picture: gains, offsets and a tone curve.
//
// The same calculation as `maskdepth.inference.plate.light`, where its figures are explained.

import { type Picture, resizePicture, roundHalfEven } from "./raster";
import { median, quantile } from "./statistics";

type Triple = [number, number, number];

/** Mean colours of the cells of a coarse grid, three numbers a cell, 0 to 255. */
export type Cells = Float64Array;

/** How a plate's levels become a picture's: 255 (v / 255)^gamma, times gains, plus offsets. */
export interface Light {
  readonly gains: Triple;
  readonly offsets: Triple;
  readonly gamma: number;
  /** Whether the tone curves still differ once the plate is relit. */
  readonly curved: boolean;
}

const GRID = 36;
const UNCLIPPED: readonly [number, number] = [4, 251];
const MIN_CELLS = 64;
const MAX_ROUNDS = 14;
const CONVERGED = 5e-4;
const START_QUANTILES = [0.1, 0.3, 0.5, 0.7, 0.9];
const TUKEY = 2.5;
const PRIOR = 50;
const GAIN_RANGE: readonly [number, number] = [0.25, 4];
const MIN_GAIN_CHANGE = 0.01;
const MIN_OFFSET = 1;
const MAX_ERROR_LEFT = 0.9;
const ALIKE = 10;
const MIN_ALIKE_SHARE = 0.25;
const NEAR = 30;
const MIN_CURVATURE = 1;
const SURELY_UNCLIPPED = 225;
const MAX_CURVATURE = 3;
const GAMMA_STEPS = [1.12, 1.25, 1.4, 1.6, 1.8];
const GAMMA_DETAIL = [0.96, 1.04];
const TIGHT = 4;
const MIN_TIGHT_GAIN = 0.015;

interface Fit {
  readonly gamma: number;
  readonly gains: Triple;
  readonly offsets: Triple;
  readonly lit: Cells;
  readonly difference: Float64Array;
  /** The share of cells that the light explains nearly to the level. */
  readonly tight: number;
}

/** Mean colours of the cells of a coarse grid over a picture. */
export function meanCells(picture: Picture): Cells {
  const shrink = Math.min(1, GRID / Math.min(picture.height, picture.width));
  const height = Math.max(1, roundHalfEven(picture.height * shrink));
  const width = Math.max(1, roundHalfEven(picture.width * shrink));
  const small = resizePicture(picture, height, width);
  const cells = new Float64Array(height * width * 3);
  for (let cell = 0; cell < height * width; cell++) {
    for (let c = 0; c < 3; c++) cells[cell * 3 + c] = small.data[cell * 4 + c]!;
  }
  return cells;
}

/** The light that relights the plate's cells; null where it helps little. */
export function findLight(picture: Cells, plate: Cells): Light | null {
  const [lowest, highest] = UNCLIPPED;
  const unclipped = picture.map((level, i) =>
    Math.min(level, plate[i]!) > lowest && Math.max(level, plate[i]!) < highest ? 1 : 0,
  );
  const usable: number[] = [];
  const channels = [0, 0, 0];
  for (let cell = 0; cell < picture.length / 3; cell++) {
    let any = 0;
    for (let c = 0; c < 3; c++) {
      any += unclipped[cell * 3 + c]!;
      channels[c]! += unclipped[cell * 3 + c]!;
    }
    if (any > 0) usable.push(cell);
  }
  if (usable.length < MIN_CELLS || channels.some((count) => count === 0)) return null;
  const chosen = (cells: Float64Array): Float64Array => {
    const result = new Float64Array(usable.length * 3);
    usable.forEach((cell, i) => result.set(cells.subarray(cell * 3, cell * 3 + 3), i * 3));
    return result;
  };
  const usablePicture = chosen(picture);
  const usableUnclipped = chosen(unclipped);
  const fit = (gamma: number, start: Triple): Fit => {
    const bent = bend(plate, gamma);
    const { gains, offsets } = fitLight(usablePicture, chosen(bent), usableUnclipped, start);
    const lit = bent.map((level, i) => level * gains[i % 3]! + offsets[i % 3]!);
    const difference = largestDifference(picture, lit);
    return { gamma, gains, offsets, lit, difference, tight: shareBelow(difference, TIGHT) };
  };
  const linear = fit(1, startGains(picture, plate, unclipped));
  let best = linear;
  let curvature = measureCurvature(picture, linear, unclipped);
  if (Math.abs(curvature) >= MIN_CURVATURE) {
    best = fitGamma(linear, fit, curvature > 0);
    curvature = measureCurvature(picture, best, unclipped);
  }
  if (!isUseful(best, largestDifference(picture, plate))) return null;
  const { gains, offsets, gamma } = best;
  return { gains, offsets, gamma, curved: Math.abs(curvature) >= MAX_CURVATURE };
}

/** The share of cells that look alike in a light. */
export function shareAlike(picture: Cells, plate: Cells, light: Light | null): number {
  let lit = plate;
  if (light !== null) {
    const { gains, offsets } = light;
    lit = bend(plate, light.gamma).map((level, i) => level * gains[i % 3]! + offsets[i % 3]!);
  }
  return shareBelow(largestDifference(picture, lit), ALIKE);
}

/** A plate in another light. */
export function relight(plate: Picture, light: Light): Picture {
  const levels = new Float64Array(256).map((_, level) => level);
  const bent = bend(levels, light.gamma);
  const tables = light.gains.map((gain, c) =>
    Uint8ClampedArray.from(bent, (level) => level * gain + light.offsets[c]!),
  );
  const [reds, greens, blues] = tables as [Uint8ClampedArray, Uint8ClampedArray, Uint8ClampedArray];
  const data = new Uint8ClampedArray(plate.data.length);
  for (let at = 0; at < data.length; at += 4) {
    data[at] = reds[plate.data[at]!]!;
    data[at + 1] = greens[plate.data[at + 1]!]!;
    data[at + 2] = blues[plate.data[at + 2]!]!;
    data[at + 3] = 255;
  }
  return { height: plate.height, width: plate.width, data };
}

function isUseful(fit: Fit, before: Float64Array): boolean {
  const gainChange = Math.max(...fit.gains.map((gain) => Math.abs(gain - 1)));
  const offset = Math.max(...fit.offsets.map(Math.abs));
  const unchanged = gainChange < MIN_GAIN_CHANGE && offset < MIN_OFFSET;
  const alikeAfter = shareBelow(fit.difference, ALIKE);
  const better =
    alikeAfter > shareBelow(before, ALIKE) ||
    median(fit.difference) <= MAX_ERROR_LEFT * median(before);
  const plausible =
    Math.min(...fit.gains) > GAIN_RANGE[0] && Math.max(...fit.gains) < GAIN_RANGE[1];
  const changed = fit.gamma !== 1 || !unchanged;
  return changed && better && alikeAfter >= MIN_ALIKE_SHARE && plausible;
}

/** Levels, rms, of the parabola in what a fit leaves; positive where it is too bright midway. */
function measureCurvature(picture: Cells, fit: Fit, unclipped: Float64Array): number {
  if (shareBelow(fit.difference, NEAR) < MIN_ALIKE_SHARE) return 0;
  const levels: number[] = [];
  const left: number[] = [];
  for (let i = 0; i < picture.length; i++) {
    const near = fit.difference[Math.floor(i / 3)]! < NEAR;
    if (!near || unclipped[i] === 0) continue;
    if (Math.max(picture[i]!, fit.lit[i]!) >= SURELY_UNCLIPPED) continue;
    levels.push(fit.lit[i]! / 255);
    left.push(picture[i]! - fit.lit[i]!);
  }
  if (levels.length < MIN_CELLS) return 0;
  const moments = new Float64Array(5); // sums of powers 0 to 4 of the levels
  const answers = [0, 0, 0];
  levels.forEach((level, i) => {
    let power = 1;
    for (let p = 0; p < 5; p++) {
      moments[p]! += power;
      if (p < 3) answers[p]! += power * left[i]!;
      power *= level;
    }
  });
  const [m0, m1, m2, m3, m4] = Array.from(moments) as [number, number, number, number, number];
  const tiny = 1e-9;
  const factor = solve(
    [
      [m0 + tiny, m1, m2],
      [m1, m2 + tiny, m3],
      [m2, m3, m4 + tiny],
    ],
    answers,
  )[2]!;
  const line = solve(
    [
      [m0 + tiny, m1],
      [m1, m2 + tiny],
    ],
    [m2, m3],
  );
  let squares = 0;
  for (const level of levels) squares += (level * level - line[0]! - line[1]! * level) ** 2;
  return factor * Math.sqrt(squares / levels.length);
}

/** The solution of a small linear system, by Gauss's elimination. */
function solve(matrix: number[][], right: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  const count = rows.length;
  for (let pivot = 0; pivot < count; pivot++) {
    for (let below = pivot + 1; below < count; below++) {
      const factor = rows[below]![pivot]! / rows[pivot]![pivot]!;
      for (let i = pivot; i <= count; i++) rows[below]![i]! -= factor * rows[pivot]![i]!;
    }
  }
  const result = new Array<number>(count).fill(0);
  for (let i = count - 1; i >= 0; i--) {
    let value = rows[i]![count]!;
    for (let j = i + 1; j < count; j++) value -= rows[i]![j]! * result[j]!;
    result[i] = value / rows[i]![i]!;
  }
  return result;
}

/** The best fit with a gamma on one side of 1, where that is clearly better than without. */
function fitGamma(linear: Fit, fit: (gamma: number, start: Triple) => Fit, darker: boolean): Fit {
  let best = linear;
  const attempt = (gamma: number, start: Triple): void => {
    const next = fit(gamma, start);
    if (next.tight > best.tight) best = next;
  };
  for (const step of GAMMA_STEPS) attempt(darker ? step : 1 / step, linear.gains);
  if (best === linear) return linear;
  for (const step of GAMMA_DETAIL) attempt(best.gamma * step, best.gains);
  return best.tight >= linear.tight + MIN_TIGHT_GAIN ? best : linear;
}

/** Levels of 255 after a tone curve. */
function bend(levels: Float64Array, gamma: number): Float64Array {
  return gamma === 1 ? levels : levels.map((level) => 255 * (level / 255) ** gamma);
}

/** Gains and offsets by iteratively reweighted least squares, which start from `gains`. */
function fitLight(
  picture: Cells,
  plate: Cells,
  unclipped: Float64Array,
  gains: Triple,
): { gains: Triple; offsets: Triple } {
  const count = picture.length / 3;
  let offsets: Triple = [0, 0, 0];
  const errors = new Float64Array(count);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    for (let cell = 0; cell < count; cell++) {
      let largest = 0;
      for (let c = 0; c < 3; c++) {
        const i = cell * 3 + c;
        const error = Math.abs(picture[i]! - (plate[i]! * gains[c]! + offsets[c]!));
        largest = Math.max(largest, error * unclipped[i]!);
      }
      errors[cell] = largest;
    }
    const spread = TUKEY * Math.max(1, 1.48 * median(errors));
    const next: Triple = [0, 0, 0];
    const nextOffsets: Triple = [0, 0, 0];
    for (let c = 0; c < 3; c++) {
      const fit = fitChannel(picture, plate, unclipped, errors, spread, c, gains[c]!);
      next[c] = fit.gain;
      nextOffsets[c] = fit.offset;
    }
    const change = Math.max(...next.map((gain, c) => Math.abs(gain - gains[c]!)));
    gains = next;
    offsets = nextOffsets;
    if (change < CONVERGED) break;
  }
  return { gains, offsets };
}

function fitChannel(
  picture: Cells,
  plate: Cells,
  unclipped: Float64Array,
  errors: Float64Array,
  spread: number,
  channel: number,
  before: number,
): { gain: number; offset: number } {
  let [total, plateSum, pictureSum, square, product] = [0, 0, 0, 0, 0];
  const weight = (cell: number): number =>
    Math.max(0, 1 - (errors[cell]! / spread) ** 2) ** 2 * unclipped[cell * 3 + channel]!;
  for (let cell = 0; cell < errors.length; cell++) {
    const share = weight(cell);
    total += share;
    plateSum += share * plate[cell * 3 + channel]!;
    pictureSum += share * picture[cell * 3 + channel]!;
  }
  total += 1e-9;
  const meanPlate = plateSum / total;
  const meanPicture = pictureSum / total;
  for (let cell = 0; cell < errors.length; cell++) {
    const fromMean = plate[cell * 3 + channel]! - meanPlate;
    const offCentre = weight(cell) * fromMean;
    square += offCentre * fromMean;
    product += offCentre * (picture[cell * 3 + channel]! - meanPicture);
  }
  const variance = square / total + PRIOR;
  const covariance = product / total + PRIOR * before;
  const gain = Math.min(Math.max(covariance / variance, GAIN_RANGE[0]), GAIN_RANGE[1]);
  return { gain, offset: meanPicture - gain * meanPlate };
}

/** Gains to start from: those that make most cells alike, of several quantiles of the ratios. */
function startGains(picture: Cells, plate: Cells, unclipped: Float64Array): Triple {
  const ratios: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < picture.length; i++) {
    if (unclipped[i] !== 0) ratios[i % 3]!.push((picture[i]! + 1) / (plate[i]! + 1));
  }
  let best: Triple = [1, 1, 1];
  let bestShare = -1;
  for (const share of START_QUANTILES) {
    const gains = ratios.map((each) => quantile(each, share)) as Triple;
    const lit = plate.map((level, i) => level * gains[i % 3]!);
    const alike = shareBelow(largestDifference(picture, lit), ALIKE);
    if (alike > bestShare) [best, bestShare] = [gains, alike];
  }
  return best;
}

/** The largest difference over a cell's channels; lit colours are clipped as by a camera. */
function largestDifference(picture: Cells, lit: Cells): Float64Array {
  const result = new Float64Array(picture.length / 3);
  for (let i = 0; i < picture.length; i++) {
    const level = Math.min(Math.max(lit[i]!, 0), 255);
    const cell = Math.floor(i / 3);
    result[cell] = Math.max(result[cell]!, Math.abs(picture[i]! - level));
  }
  return result;
}

function shareBelow(values: Float64Array, limit: number): number {
  let count = 0;
  for (const value of values) if (value < limit) count++;
  return count / values.length;
}
