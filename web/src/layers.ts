// The disparity of a picture: that of its plate, and before it that of the foreground.
//
// The same calculation as `maskdepth.inference.plate.alignment.split_layers` without contact with
// the ground, where it is explained. Lines are fitted by `maskdepth.depth.fit_scale_shift_robust`.

import { type Field, newField, resizeField, resizeNearest } from "./raster";
import { numbers, quantile, selectRank } from "./statistics";

const MASK_MARGIN = 0.02;
const MIN_VISIBLE = 0.02;
const MAX_FITTED = 40_000;
const BISQUARE_SIGMAS = 4.685;
const INITIAL_SHARE = 0.7;
const INITIAL_SIGMAS = 1.0364;
const INITIAL_PAIRS = 300;
const INITIAL_PIXELS = 2000;
const MAX_REWEIGHTINGS = 50;

interface Line {
  readonly scale: number;
  readonly shift: number;
}

/**
 * The foreground's disparity over that of its plate, at the size of alpha.
 *
 * @param disparity the network's for the picture, at its input size.
 * @param plate the plate's, at the same size.
 */
export function layOverPlate(disparity: Field, plate: Field, alpha: Field): Field {
  const { height, width } = alpha;
  const mask: Field = { ...alpha, data: alpha.data.map((value) => (value > 0.5 ? 1 : 0)) };
  const smallMask = resizeNearest(mask, disparity.height, disparity.width);
  const line = alignToPlate(disparity, smallMask, plate) ?? { scale: 1, shift: 0 };
  const foreground = newField(disparity.height, disparity.width);
  for (let i = 0; i < foreground.data.length; i++) {
    const layer = line.scale * disparity.data[i]! + line.shift;
    foreground.data[i] = Math.min(Math.max(layer, plate.data[i]!, 0), 1);
  }
  const result = resizeField(plate, height, width);
  const front = resizeField(foreground, height, width);
  const data = Float32Array.from(result.data); // resizeField may return the plate itself
  for (let i = 0; i < data.length; i++) {
    if (mask.data[i] !== 0) data[i] = Math.max(front.data[i]!, data[i]!);
    data[i] = Math.min(Math.max(data[i]!, 0), 1);
  }
  return { height, width, data };
}

/** The line that brings a disparity into its plate's units; null where nothing says which. */
function alignToPlate(disparity: Field, mask: Field, plate: Field): Line | null {
  if (!mask.data.includes(1)) return null;
  const covered = growMask(mask, MASK_MARGIN);
  const visible: number[] = [];
  covered.forEach((near, i) => {
    if (near === 0) visible.push(i);
  });
  if (visible.length < MIN_VISIBLE * mask.data.length) return null;
  const step = Math.max(1, Math.floor(visible.length / MAX_FITTED));
  const chosen = visible.filter((_, i) => i % step === 0);
  const line = fitLineRobust(
    Float64Array.from(chosen, (i) => disparity.data[i]!),
    Float64Array.from(chosen, (i) => plate.data[i]!),
  );
  return line.scale > 0 ? line : null;
}

/** The mask and what is nearer to it than a share of the long side: 1, elsewhere 0. */
function growMask(mask: Field, share: number): Uint8Array {
  const { height, width } = mask;
  const reach = Math.max(1, Math.round(share * Math.max(height, width)));
  const across = new Uint8Array(height * width);
  const result = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (mask.data[y * width + x] === 0) continue;
      across.fill(1, y * width + Math.max(0, x - reach), y * width + Math.min(width, x + reach + 1));
    }
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (across[y * width + x] === 0) continue;
      const last = Math.min(height - 1, y + reach);
      for (let row = Math.max(0, y - reach); row <= last; row++) result[row * width + x] = 1;
    }
  }
  return result;
}

/** A line that outliers hardly affect: an MM-estimate (Yohai, 1987). */
function fitLineRobust(x: Float64Array, y: Float64Array): Line {
  const equal = new Float64Array(x.length).fill(1);
  if (x.length < 3 || x.every((value) => value === x[0])) return fitLine(x, y, equal);
  let { scale, shift, size } = initialLine(x, y);
  const largest = y.reduce((before, value) => Math.max(before, Math.abs(value)), 0);
  const reach = BISQUARE_SIGMAS * Math.max(size / INITIAL_SIGMAS, 1e-6 * largest, 1e-300);
  const weights = new Float64Array(x.length);
  for (let round = 0; round < MAX_REWEIGHTINGS; round++) {
    for (let i = 0; i < x.length; i++) {
      const error = (scale * x[i]! + shift - y[i]!) / reach;
      weights[i] = Math.max(1 - error * error, 0) ** 2;
    }
    const next = fitLine(x, y, weights);
    const settled = isClose(scale, next.scale) && isClose(shift, next.shift);
    ({ scale, shift } = next);
    if (settled) break;
  }
  return { scale, shift };
}

function isClose(before: number, after: number): boolean {
  return Math.abs(before - after) <= 1e-7 * Math.abs(after);
}

/** Weighted least squares. Constant values give scale 0. */
function fitLine(x: Float64Array, y: Float64Array, weights: Float64Array): Line {
  let [total, xSum, ySum] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    total += weights[i]!;
    xSum += weights[i]! * x[i]!;
    ySum += weights[i]! * y[i]!;
  }
  const [xMean, yMean] = [xSum / total, ySum / total];
  let [square, product] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const centred = x[i]! - xMean;
    square += weights[i]! * centred * centred;
    product += weights[i]! * centred * (y[i]! - yMean);
  }
  if (square / total <= (1e-12 * Math.abs(xMean)) ** 2) return { scale: 0, shift: yMean };
  const scale = product / square;
  return { scale, shift: yMean - scale * xMean };
}

/** A line that fits 0.7 of the pixels best, and the 0.7 quantile of its residuals. */
function initialLine(x: Float64Array, y: Float64Array): Line & { size: number } {
  const random = numbers(1);
  const count = Math.min(INITIAL_PIXELS, x.length);
  const sample = Array.from({ length: count }, () => random() % x.length);
  sample.sort((first, second) => x[first]! - x[second]!);
  const residuals = new Float64Array(count);
  const rank = Math.min(Math.floor(INITIAL_SHARE * count), count - 1);
  let best = { scale: 0, shift: 0, size: Infinity };
  for (let pair = 0; pair < INITIAL_PAIRS; pair++) {
    const half = count >> 1;
    const low = sample[random() % half]!;
    const high = sample[half + (random() % (count - half))]!;
    if (!(x[high]! > x[low]!)) continue;
    const scale = (y[high]! - y[low]!) / (x[high]! - x[low]!);
    const shift = y[low]! - scale * x[low]!;
    for (let i = 0; i < count; i++) {
      residuals[i] = Math.abs(scale * x[sample[i]!]! + shift - y[sample[i]!]!);
    }
    const size = selectRank(residuals, rank);
    if (size < best.size) best = { scale, shift, size };
  }
  if (best.size < Infinity) return best;
  const line = fitLine(x, y, new Float64Array(x.length).fill(1));
  const left = x.map((value, i) => Math.abs(line.scale * value + line.shift - y[i]!));
  return { ...line, size: quantile(left, INITIAL_SHARE) };
}
