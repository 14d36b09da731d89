// Alpha measured by the colours of picture and plate, and how far to trust that measurement.
//
// The same calculation as `maskdepth.inference.matting.evidence`, where its formulas and figures are
// explained. A close-up is judged by it.

import { blurField } from "./filters";
import { cropField, type Field, newField, type Picture, resizeField, type Size } from "./raster";

export interface Evidence {
  /** The network's alpha. */
  readonly alpha: Field;
  /** Alpha by the compositing equation. */
  readonly measured: Field;
  /** The weight of `measured` in an average with `alpha`. */
  readonly trust: Field;
}

const FOREGROUND_SIGMA = 0.9;
const PLATE_SIGMA = 3;
const MIN_WEIGHT = 1e-3;
const MIN_NOISE = 2;
const TEXTURE_SHARE = 0.5;
const NETWORK_DEVIATION = 0.2;
const VARIANCE_FLOOR = 0.05;
const LIGHT_RANGE: readonly [number, number] = [0.2, 3];
const BLACK = 0.02;
const CLIPPED = 250;
const UNKNOWN_VARIANCE = 1e12;
const ROUNDING = 1e-3;

export function measureEvidence(picture: Picture, plate: Picture, alpha: Field): Evidence {
  const { height, width } = alpha;
  const count = height * width;
  const foregroundWeight = mapField(alpha, (value) => value ** 6);
  const plateWeight = mapField(alpha, (value) => (1 - value) ** 6);
  const foregroundSum = blurField(foregroundWeight, FOREGROUND_SIGMA);
  const plateSum = shrunkBlur(plateWeight);
  const foreground: Field[] = [];
  const litPlate: Field[] = [];
  const texture = newField(height, width);
  const squaredError = newField(height, width);
  for (let c = 0; c < 3; c++) {
    const levels = channel(picture, c);
    const weighted = multiply(levels, foregroundWeight);
    const mean = blurField(weighted, FOREGROUND_SIGMA);
    const squares = blurField(multiply(weighted, levels), FOREGROUND_SIGMA);
    const plateLevels = channel(plate, c);
    const factors = shrunkBlur(multiply(levels, plateWeight));
    const plateMeans = shrunkBlur(multiply(plateLevels, plateWeight));
    for (let i = 0; i < factors.data.length; i++) {
      const factor = (factors.data[i]! + BLACK) / (plateMeans.data[i]! + BLACK);
      factors.data[i] = clip(factor, ...LIGHT_RANGE);
    }
    const light = enlarged(factors, alpha);
    const lit = newField(height, width);
    for (let i = 0; i < count; i++) {
      const divisor = Math.max(foregroundSum.data[i]!, MIN_WEIGHT);
      mean.data[i]! /= divisor;
      texture.data[i]! += squares.data[i]! / divisor - mean.data[i]! ** 2;
      lit.data[i] = Math.min(plateLevels.data[i]! * light.data[i]!, 255);
      squaredError.data[i]! += (levels.data[i]! - lit.data[i]!) ** 2 * plateWeight.data[i]!;
    }
    foreground.push(mean);
    litPlate.push(lit);
  }
  const smallNoise = shrunkBlur(squaredError);
  for (let i = 0; i < smallNoise.data.length; i++) {
    smallNoise.data[i]! /= Math.max(plateSum.data[i]!, MIN_WEIGHT);
  }
  const noise = enlarged(smallNoise, alpha);
  const visible = enlarged(plateSum, alpha);
  for (let i = 0; i < count; i++) {
    texture.data[i] = Math.max(texture.data[i]!, 0);
    if (foregroundSum.data[i]! < MIN_WEIGHT) texture.data[i] = UNKNOWN_VARIANCE;
    if (visible.data[i]! < MIN_WEIGHT) noise.data[i] = UNKNOWN_VARIANCE;
  }
  return solveAlpha(picture, litPlate, foreground, texture, noise, alpha);
}

function solveAlpha(
  picture: Picture,
  litPlate: Field[],
  foreground: Field[],
  texture: Field,
  noise: Field,
  alpha: Field,
): Evidence {
  const measured = newField(alpha.height, alpha.width);
  const trust = newField(alpha.height, alpha.width);
  for (let i = 0; i < alpha.data.length; i++) {
    let squaredLength = ROUNDING;
    let product = 0;
    for (let c = 0; c < 3; c++) {
      const level = picture.data[i * 4 + c]!;
      const lit = litPlate[c]!.data[i]!;
      // A channel that is clipped in one of the two says nothing about the mixture.
      if (Math.max(level, lit) >= CLIPPED && Math.min(level, lit) < CLIPPED) continue;
      const line = foreground[c]!.data[i]! - lit;
      squaredLength += line * line;
      product += (level - lit) * line;
    }
    measured.data[i] = clip(product / squaredLength, 0, 1);
    const prior = alpha.data[i]!;
    const variance =
      prior ** 2 * TEXTURE_SHARE * texture.data[i]! +
      (1 - prior) ** 2 * noise.data[i]! +
      MIN_NOISE ** 2;
    const unknown = Math.max(texture.data[i]!, noise.data[i]!) > UNKNOWN_VARIANCE * 1e-4;
    const precision = unknown ? 0 : squaredLength / variance;
    const priorPrecision =
      1 / (NETWORK_DEVIATION ** 2 * (4 * prior * (1 - prior) + VARIANCE_FLOOR));
    trust.data[i] = precision / (precision + priorPrecision);
  }
  return { alpha, measured, trust };
}

/** Wide means about each pixel of a map, which half of its size is enough for. */
function shrunkBlur(field: Field): Field {
  const height = (field.height + 1) >> 1;
  const width = (field.width + 1) >> 1;
  const half = newField(height, width);
  for (let y = 0; y < height; y++) {
    const upper = 2 * y * field.width;
    const lower = Math.min(2 * y + 1, field.height - 1) * field.width;
    for (let x = 0; x < width; x++) {
      const [left, right] = [2 * x, Math.min(2 * x + 1, field.width - 1)];
      const sum =
        field.data[upper + left]! +
        field.data[upper + right]! +
        field.data[lower + left]! +
        field.data[lower + right]!;
      half.data[y * width + x] = sum / 4;
    }
  }
  return blurField(half, PLATE_SIGMA / 2);
}

/** A map of `shrunkBlur` at the size that it was measured for. */
function enlarged(half: Field, { height, width }: Size): Field {
  const large = resizeField(half, 2 * half.height, 2 * half.width);
  return cropField(large, { top: 0, left: 0, bottom: height, right: width });
}

function channel(picture: Picture, index: number): Field {
  const result = newField(picture.height, picture.width);
  for (let i = 0; i < result.data.length; i++) result.data[i] = picture.data[i * 4 + index]!;
  return result;
}

function mapField(field: Field, change: (value: number) => number): Field {
  return { height: field.height, width: field.width, data: field.data.map(change) };
}

function multiply(first: Field, second: Field): Field {
  const data = first.data.map((value, i) => value * second.data[i]!);
  return { height: first.height, width: first.width, data };
}

function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
