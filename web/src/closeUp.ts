// A second run of the network on the foreground alone, in more of the picture's own pixels.
//
// The same rules as `maskdepth.inference.matting.close_up`, where they are explained.

import type { Evidence } from "./evidence";
import { largestNearby } from "./filters";
import { type Field, newField, type Rectangle, roundHalfEven, type Size } from "./raster";

const MIN_ZOOM = 1.2;
const MIN_ALPHA = 0.25; // of what a close-up shows: beside it nothing counts as foreground
const MARGIN = 0.15;
const BESIDE_PX = 4;
const MAX_LOST_ALPHA = 0.1;
const MAX_MEASURED = 0.07;
const UNSURE: readonly [number, number] = [0.03, 0.97];
const EVIDENCE_MARGIN_PX = 12;

/** The part of a picture of a size that a close-up shows; null where it would not be closer. */
export function findCloseUp(alpha: Field, size: Size): Rectangle | null {
  if (!alpha.data.some((value) => value > 0.5)) return null;
  const box = boundingBox(alpha, (value) => value > MIN_ALPHA);
  if (box === null) return null;
  const stepDown = size.height / alpha.height;
  const stepAcross = size.width / alpha.width;
  const [low, high] = [box.top * stepDown, box.bottom * stepDown];
  const [left, right] = [box.left * stepAcross, box.right * stepAcross];
  const zoom = Math.min(
    stepDown,
    stepAcross,
    size.height / ((high - low) * (1 + 2 * MARGIN)),
    size.width / ((right - left) * (1 + 2 * MARGIN)),
  );
  if (zoom < MIN_ZOOM) return null;
  const [top, bottom] = centredSpan((low + high) / 2, alpha.height, size.height, zoom);
  const [first, last] = centredSpan((left + right) / 2, alpha.width, size.width, zoom);
  return { top, bottom, left: first, right: last };
}

function centredSpan(centre: number, small: number, side: number, zoom: number): [number, number] {
  const length = Math.max(small, roundHalfEven(side / zoom));
  const start = Math.min(Math.max(0, roundHalfEven(centre - length / 2)), side - length);
  return [start, start + length];
}

/** The rows and columns that hold all values that are chosen; null where none is. */
function boundingBox(field: Field, isChosen: (value: number) => boolean): Rectangle | null {
  let [top, bottom, left, right] = [field.height, 0, field.width, 0];
  for (let y = 0; y < field.height; y++) {
    for (let x = 0; x < field.width; x++) {
      if (!isChosen(field.data[y * field.width + x]!)) continue;
      top = Math.min(top, y);
      bottom = y + 1;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
    }
  }
  return bottom === 0 ? null : { top, bottom, left, right };
}

/**
 * The part of the network's alpha that holds every outline, and the margin that its evidence needs:
 * `find_outline` and its window in `maskdepth.inference.matting.refinement`.
 */
export function findOutlineWindow(alpha: Field): Rectangle | null {
  const { height, width } = alpha;
  const mask: Field = { height, width, data: alpha.data.map((value) => (value > 0.5 ? 1 : 0)) };
  const beside: Field = { height, width, data: mask.data.map((value) => 1 - value) };
  const [grown, besideGrown] = [largestNearby(mask, 1), largestNearby(beside, 1)];
  const outline = newField(height, width);
  for (let i = 0; i < outline.data.length; i++) {
    const unsure = alpha.data[i]! > UNSURE[0] && alpha.data[i]! < UNSURE[1];
    const isEdge = grown.data[i]! > 0 && besideGrown.data[i]! > 0;
    outline.data[i] = unsure || isEdge ? 1 : 0;
  }
  const box = boundingBox(outline, (value) => value > 0);
  if (box === null) return null;
  return {
    top: Math.max(0, box.top - EVIDENCE_MARGIN_PX),
    left: Math.max(0, box.left - EVIDENCE_MARGIN_PX),
    bottom: Math.min(height, box.bottom + EVIDENCE_MARGIN_PX),
    right: Math.min(width, box.right + EVIDENCE_MARGIN_PX),
  };
}

/** Whether pixels beside the mask of a close-up still show foreground though alpha is low there. */
export function losesForeground(evidence: Evidence): boolean {
  const { alpha, measured, trust } = evidence;
  const mask: Field = { ...alpha, data: alpha.data.map((value) => (value > 0.5 ? 1 : 0)) };
  const beside = largestNearby(mask, BESIDE_PX);
  let [any, lost, total] = [false, 0, 0];
  for (let i = 0; i < alpha.data.length; i++) {
    any ||= mask.data[i]! > 0;
    if (beside.data[i] === 0 || alpha.data[i]! >= MAX_LOST_ALPHA) continue;
    lost += trust.data[i]! * measured.data[i]!;
    total += trust.data[i]!;
  }
  return !any || lost > MAX_MEASURED * total;
}
