// Blurs and neighbourhoods of maps. Beyond an edge, a map's outermost values repeat.

import { type Field, newField } from "./raster";

/** A Gaussian blur, with the kernel that OpenCV takes for floating-point numbers. */
export function blurField(field: Field, sigma: number): Field {
  const reach = Math.round(sigma * 8 + 1) >> 1;
  const kernel = new Float32Array(2 * reach + 1);
  let total = 0;
  for (let i = -reach; i <= reach; i++) {
    kernel[i + reach] = Math.exp(-(i * i) / (2 * sigma * sigma));
    total += kernel[i + reach]!;
  }
  for (let i = 0; i < kernel.length; i++) kernel[i]! /= total;
  return convolve(field, kernel, kernel);
}

/** A field filtered by one kernel along its rows and one along its columns. */
export function convolve(field: Field, across: Float32Array, down: Float32Array): Field {
  const { height, width } = field;
  const rows = newField(height, width);
  const reach = across.length >> 1;
  const padded = new Float32Array(width + 2 * reach);
  for (let y = 0; y < height; y++) {
    const start = y * width;
    padded.fill(field.data[start]!, 0, reach);
    padded.set(field.data.subarray(start, start + width), reach);
    padded.fill(field.data[start + width - 1]!, reach + width);
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = 0; i < across.length; i++) sum += across[i]! * padded[x + i]!;
      rows.data[start + x] = sum;
    }
  }
  const result = newField(height, width);
  const reachDown = down.length >> 1;
  for (let y = 0; y < height; y++) {
    const start = y * width;
    for (let i = 0; i < down.length; i++) {
      const row = Math.min(Math.max(y + i - reachDown, 0), height - 1) * width;
      const weight = down[i]!;
      for (let x = 0; x < width; x++) result.data[start + x]! += weight * rows.data[row + x]!;
    }
  }
  return result;
}

/** The largest value of each square about a pixel, which reaches so many pixels to each side. */
export function largestNearby(field: Field, reach: number): Field {
  const { height, width } = field;
  const rows = newField(height, width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let largest = -Infinity;
      const last = Math.min(x + reach, width - 1);
      for (let i = Math.max(x - reach, 0); i <= last; i++) {
        largest = Math.max(largest, field.data[y * width + i]!);
      }
      rows.data[y * width + x] = largest;
    }
  }
  const result = newField(height, width, -Infinity);
  for (let y = 0; y < height; y++) {
    const last = Math.min(y + reach, height - 1);
    for (let i = Math.max(y - reach, 0); i <= last; i++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        result.data[at] = Math.max(result.data[at]!, rows.data[i * width + x]!);
      }
    }
  }
  return result;
}
