// Whether the camera has moved between plate and picture: by phase correlation (Kuglin and Hines,
// "The phase correlation image alignment method", 1975).
//
// The page moves no plate. It only says that the camera has moved, so that a new plate is taken.

import { blurField } from "./filters";
import { type Field, newField, type Picture, resizePicture } from "./raster";

export interface Motion {
  /** How far the scene has moved, as a share of the width and of the height. */
  readonly across: number;
  readonly down: number;
  /** How far the peak stands out, in standard deviations; unrelated scenes stay below 7. */
  readonly peak: number;
  /** Whether the peak is clearly higher than where nothing had moved. */
  readonly moved: boolean;
}

const SIDE = 256; // a power of two
const DETAIL_SIGMA = 3;
const MIN_PEAK = 8;
const MIN_RATIO = 1.3;

export function findMotion(picture: Picture, plate: Picture): Motion {
  const first = transform(detail(plate));
  const second = transform(detail(picture));
  const real = new Float64Array(SIDE * SIDE);
  const imaginary = new Float64Array(SIDE * SIDE);
  for (let i = 0; i < real.length; i++) {
    const re = second.real[i]! * first.real[i]! + second.imaginary[i]! * first.imaginary[i]!;
    const im = second.imaginary[i]! * first.real[i]! - second.real[i]! * first.imaginary[i]!;
    const size = Math.hypot(re, im) + 1e-9;
    real[i] = re / size;
    imaginary[i] = -im / size; // a conjugate in place of an inverse transform
  }
  transformInPlace(real, imaginary);
  let highest = 0;
  let squares = 0;
  for (let i = 0; i < real.length; i++) {
    squares += real[i]! ** 2;
    if (real[i]! > real[highest]!) highest = i;
  }
  const deviation = Math.sqrt(squares / real.length) + 1e-12;
  const peak = real[highest]! / deviation;
  const signed = (index: number): number => (index > SIDE / 2 ? index - SIDE : index) / SIDE;
  const moved =
    highest !== 0 && peak >= MIN_PEAK && real[highest]! > MIN_RATIO * Math.max(real[0]!, 0);
  return { across: signed(highest % SIDE), down: signed(Math.floor(highest / SIDE)), peak, moved };
}

/** A picture's fine detail on a square, which fades towards the edges. */
function detail(picture: Picture): Field {
  const small = resizePicture(picture, SIDE, SIDE);
  const grey = newField(SIDE, SIDE);
  for (let i = 0; i < grey.data.length; i++) {
    const at = i * 4;
    grey.data[i] =
      0.299 * small.data[at]! + 0.587 * small.data[at + 1]! + 0.114 * small.data[at + 2]!;
  }
  const smooth = blurField(grey, DETAIL_SIGMA);
  const fade = Float32Array.from({ length: SIDE }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / SIDE));
  for (let i = 0; i < grey.data.length; i++) {
    const weight = fade[i % SIDE]! * fade[Math.floor(i / SIDE)]!;
    grey.data[i] = Math.max(-20, Math.min(20, grey.data[i]! - smooth.data[i]!)) * weight;
  }
  return grey;
}

function transform(field: Field): { real: Float64Array; imaginary: Float64Array } {
  const real = Float64Array.from(field.data);
  const imaginary = new Float64Array(real.length);
  transformInPlace(real, imaginary);
  return { real, imaginary };
}

/** The Fourier transform of a square: its rows, then its columns. */
function transformInPlace(real: Float64Array, imaginary: Float64Array): void {
  const re = new Float64Array(SIDE);
  const im = new Float64Array(SIDE);
  for (const [step, stride] of [
    [1, SIDE],
    [SIDE, 1],
  ] as const) {
    for (let line = 0; line < SIDE; line++) {
      for (let i = 0; i < SIDE; i++) {
        re[i] = real[line * stride + i * step]!;
        im[i] = imaginary[line * stride + i * step]!;
      }
      transformLine(re, im);
      for (let i = 0; i < SIDE; i++) {
        real[line * stride + i * step] = re[i]!;
        imaginary[line * stride + i * step] = im[i]!;
      }
    }
  }
}

/** Cooley and Tukey's transform of a line whose length is a power of two. */
function transformLine(re: Float64Array, im: Float64Array): void {
  const count = re.length;
  for (let i = 1, j = 0; i < count; i++) {
    let bit = count >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i >= j) continue;
    [re[i], re[j]] = [re[j]!, re[i]!];
    [im[i], im[j]] = [im[j]!, im[i]!];
  }
  for (let length = 2; length <= count; length <<= 1) {
    const half = length >> 1;
    for (let k = 0; k < half; k++) {
      const cos = Math.cos((2 * Math.PI * k) / length);
      const sin = -Math.sin((2 * Math.PI * k) / length);
      for (let at = k; at < count; at += length) {
        const other = at + half;
        const x = re[other]! * cos - im[other]! * sin;
        const y = re[other]! * sin + im[other]! * cos;
        re[other] = re[at]! - x;
        im[other] = im[at]! - y;
        re[at]! += x;
        im[at]! += y;
      }
    }
  }
}
