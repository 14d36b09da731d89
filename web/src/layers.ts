// The disparity of a picture: that of its plate, and before it that of the foreground.
//
// The same calculation as `maskdepth.inference.plate.alignment.split_layers` without contact with
// the ground, where it is explained. Lines are fitted by `maskdepth.depth.fit_scale_shift_robust`.

import { largestNearby } from "./filters";
import { type Field, newField, resizeField, resizeNearest, roundHalfEven } from "./raster";
import { numbers, selectRank } from "./statistics";

const MASK_MARGIN = 0.02;
const MIN_VISIBLE = 0.02;
const MAX_FITTED = 2500;
const ROUNDING = 1e-6; // of the largest disparity: a line no steeper is level
const RIM_PX = 2; // how far the network's answers for two sides run together
const BISQUARE_SIGMAS = 4.685;
const INITIAL_SHARE = 0.7;
const INITIAL_SIGMAS = 1.0364;
const INITIAL_PAIRS = 300;
const INITIAL_PIXELS = 2000;
const FIRST_PIXELS = 250; // of them, on which all lines are compared ...
const FIRST_LINES = 20; // ... so that only the best are compared on the others
const MAX_REWEIGHTINGS = 50;

interface Line {
  readonly scale: number;
  readonly shift: number;
}

interface SizedLine extends Line {
  /** The 0.7 quantile of its residuals. */
  readonly size: number;
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
  const answer = settleRim(disparity, smallMask);
  const line = alignToPlate(answer, smallMask, plate) ?? { scale: 1, shift: 0 };
  const foreground = newField(disparity.height, disparity.width);
  for (let i = 0; i < foreground.data.length; i++) {
    const layer = line.scale * answer.data[i]! + line.shift;
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
  // A grid of pixels is enough for the fit.
  const step = Math.max(1, roundHalfEven(Math.sqrt(mask.data.length / MAX_FITTED)));
  const grid = thin(mask, step);
  const near = growMask(grid, MASK_MARGIN);
  const [all, allTargets] = [thin(disparity, step).data, thin(plate, step).data];
  const chosen = Array.from(near.keys()).filter((i) => near[i] === 0);
  if (chosen.length < MIN_VISIBLE * near.length) return null;
  const x = Float64Array.from(chosen, (i) => all[i]!);
  const y = Float64Array.from(chosen, (i) => allTargets[i]!);
  const line = fitLineRobust(x, y);
  const spread = x.reduce((a, b) => Math.max(a, b)) - x.reduce((a, b) => Math.min(a, b));
  const largest = y.reduce((before, value) => Math.max(before, Math.abs(value)), 0);
  const level = Math.abs(line.scale) * spread <= ROUNDING * largest;
  return line.scale > 0 && !level ? line : null;
}

/** Every so many rows and columns of a map. */
function thin(field: Field, step: number): Field {
  const result = newField(Math.ceil(field.height / step), Math.ceil(field.width / step));
  for (let i = 0; i < result.data.length; i++) {
    const row = Math.floor(i / result.width) * step;
    result.data[i] = field.data[row * field.width + (i % result.width) * step]!;
  }
  return result;
}

/**
 * A network's disparity, with what lies farther inside the foreground along its outline:
 * `maskdepth.inference.frame_depth.settle_rim`.
 */
function settleRim(disparity: Field, mask: Field): Field {
  const { height, width } = mask;
  const outside: Field = { height, width, data: mask.data.map((value) => 1 - value) };
  const inside = largestNearby(outside, RIM_PX);
  for (let i = 0; i < inside.data.length; i++) inside.data[i] = 1 - inside.data[i]!;
  const product = newField(height, width);
  for (let i = 0; i < product.data.length; i++) {
    product.data[i] = inside.data[i]! * disparity.data[i]!;
  }
  const [count, total] = [sumNearby(inside, 2 * RIM_PX), sumNearby(product, 2 * RIM_PX)];
  const settled = Float32Array.from(disparity.data);
  for (let i = 0; i < settled.length; i++) {
    if (inside.data[i] === 0 && count.data[i]! > 0.5) settled[i] = total.data[i]! / count.data[i]!;
  }
  return { height, width, data: settled };
}

/** The sum of each square about a pixel; beyond an edge a map is mirrored about its last pixel. */
function sumNearby({ height, width, data }: Field, reach: number): Field {
  const rows = newField(height, width);
  const result = newField(height, width);
  const mirror = (index: number, side: number): number => {
    if (side === 1) return 0;
    const period = 2 * (side - 1);
    const at = ((index % period) + period) % period;
    return at < side ? at : period - at;
  };
  for (let x = 0; x < width; x++) {
    for (let offset = -reach; offset <= reach; offset++) {
      const column = mirror(x + offset, width);
      for (let y = 0; y < height; y++) rows.data[y * width + x]! += data[y * width + column]!;
    }
  }
  for (let y = 0; y < height; y++) {
    for (let offset = -reach; offset <= reach; offset++) {
      const row = mirror(y + offset, height) * width;
      for (let x = 0; x < width; x++) result.data[y * width + x]! += rows.data[row + x]!;
    }
  }
  return result;
}

/** The mask and what is nearer to it than a share of the long side: 1, elsewhere 0. */
function growMask(mask: Field, share: number): Uint8Array {
  const { height, width } = mask;
  const reach = Math.max(1, roundHalfEven(share * Math.max(height, width)));
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
function initialLine(x: Float64Array, y: Float64Array): SizedLine {
  const random = numbers(1);
  const count = Math.min(INITIAL_PIXELS, x.length);
  const sample = Array.from({ length: count }, () => random() % x.length);
  const sorted = [...sample].sort((first, second) => x[first]! - x[second]!);
  const measure = ({ scale, shift }: Line, pixels: readonly number[]): SizedLine => {
    const left = Float64Array.from(pixels, (i) => Math.abs(scale * x[i]! + shift - y[i]!));
    const rank = Math.min(Math.floor(INITIAL_SHARE * left.length), left.length - 1);
    return { scale, shift, size: selectRank(left, rank) };
  };
  const lines: SizedLine[] = [];
  const first = sample.slice(0, FIRST_PIXELS);
  const half = count >> 1;
  for (let pair = 0; pair < INITIAL_PAIRS; pair++) {
    const low = sorted[random() % half]!;
    const high = sorted[half + (random() % (count - half))]!;
    if (!(x[high]! > x[low]!)) continue;
    const scale = (y[high]! - y[low]!) / (x[high]! - x[low]!);
    lines.push(measure({ scale, shift: y[low]! - scale * x[low]! }, first));
  }
  if (lines.length === 0) {
    return measure(fitLine(x, y, new Float64Array(x.length).fill(1)), sample);
  }
  lines.sort((one, other) => one.size - other.size);
  const best = lines.slice(0, FIRST_LINES).map((line) => measure(line, sample));
  return best.reduce((one, other) => (other.size < one.size ? other : one));
}
