// Metres from two points whose distances are given.
//
// Inverse depth, 1/metres, is `scale * disparity + shift`: the rule of `maskdepth plate`.

import type { Field } from "./raster";
import { UserError } from "./pictures";
import { median } from "./statistics";

export interface Calibration {
  readonly scale: number;
  readonly shift: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly disparity: number;
}

const MIN_DIFFERENCE = 0.05;
const REACH = 0.005;

/** A point of a disparity map; its disparity is the median of a small window. */
export function readPoint(disparity: Field, x: number, y: number): Point {
  const reach = Math.max(1, Math.round(REACH * Math.max(disparity.height, disparity.width)));
  const values: number[] = [];
  for (let row = Math.max(0, y - reach); row <= Math.min(disparity.height - 1, y + reach); row++) {
    const last = Math.min(disparity.width - 1, x + reach);
    for (let column = Math.max(0, x - reach); column <= last; column++) {
      values.push(disparity.data[row * disparity.width + column]!);
    }
  }
  return { x, y, disparity: median(values) };
}

/** The calibration that fits two points exactly. */
export function calibrate(
  first: Point,
  firstM: number,
  second: Point,
  secondM: number,
): Calibration {
  const difference = first.disparity - second.disparity;
  if (Math.abs(difference) < MIN_DIFFERENCE) {
    throw new UserError(
      "The two points seem equally far away. Choose one that is near and one that is far.",
    );
  }
  const scale = (1 / firstM - 1 / secondM) / difference;
  if (!(scale > 0)) {
    throw new UserError(
      "These distances do not fit the picture: the brighter point must be the nearer one.",
    );
  }
  return { scale, shift: 1 / firstM - scale * first.disparity };
}

/** Metres, infinity where it is too far to say. */
export function toMetres({ scale, shift }: Calibration, disparity: number): number {
  const inverse = scale * disparity + shift;
  return inverse > 0 ? 1 / inverse : Infinity;
}

export function describeMetres(metres: number): string {
  if (!Number.isFinite(metres) || metres > 999) return "very far";
  return `${metres.toFixed(metres < 10 ? 2 : 1)} m`;
}
