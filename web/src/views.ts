// What the page shows of a prediction: its cutout before something else, its mask, its disparity.

import type { Prediction } from "./predictor";
import { type Field, newPicture, type Picture, resizePicture, cropPicture } from "./raster";

const MIN_ALPHA = 0.05;
const CHECK_GREYS = [204, 255];
const MASK_COLOUR = [0, 190, 160];
const MASK_SHARE = 0.55;

export type Background =
  | { readonly kind: "checks" }
  | { readonly kind: "none" }
  | { readonly kind: "colour"; readonly colour: string }
  | { readonly kind: "picture"; readonly picture: Picture };

/**
 * The foreground alone, with its alpha. Its colour is free of the plate's, see
 * `maskdepth.Prediction.cutout`.
 */
export function makeCutout({ picture, alpha, plate }: Prediction): Picture {
  const cutout = newPicture(picture.height, picture.width);
  for (let i = 0; i < alpha.data.length; i++) {
    const share = alpha.data[i]!;
    const at = i * 4;
    cutout.data[at + 3] = share * 255;
    if (cutout.data[at + 3] === 0) continue;
    for (let c = at; c < at + 3; c++) {
      const level = picture.data[c]!;
      const mixed = plate !== null && share >= MIN_ALPHA;
      cutout.data[c] = mixed ? (level - (1 - share) * plate.data[c]!) / share : level;
    }
  }
  return cutout;
}

/** A cutout before a background, opaque except before none. */
export function placeBefore(cutout: Picture, background: Background): Picture {
  if (background.kind === "none") return cutout;
  const result = newPicture(cutout.height, cutout.width);
  const behind = background.kind === "picture" ? fillFrame(background.picture, cutout) : null;
  const colour = background.kind === "colour" ? parseColour(background.colour) : null;
  const side = Math.max(8, Math.round(Math.max(cutout.height, cutout.width) / 48));
  for (let y = 0; y < cutout.height; y++) {
    for (let x = 0; x < cutout.width; x++) {
      const at = (y * cutout.width + x) * 4;
      const opacity = cutout.data[at + 3]! / 255;
      const odd = (Math.floor(x / side) + Math.floor(y / side)) % 2;
      for (let c = 0; c < 3; c++) {
        const other = behind?.data[at + c] ?? colour?.[c] ?? CHECK_GREYS[odd]!;
        result.data[at + c] = opacity * cutout.data[at + c]! + (1 - opacity) * other;
      }
      result.data[at + 3] = 255;
    }
  }
  return result;
}

/** The picture, with its foreground tinted. */
export function tintMask({ picture, alpha }: Prediction): Picture {
  const result = newPicture(picture.height, picture.width);
  for (let i = 0; i < alpha.data.length; i++) {
    const share = alpha.data[i]! * MASK_SHARE;
    const fade = 1 - 0.35 * (1 - alpha.data[i]!);
    for (let c = 0; c < 3; c++) {
      const level = picture.data[i * 4 + c]! * fade;
      result.data[i * 4 + c] = level * (1 - share) + MASK_COLOUR[c]! * share;
    }
    result.data[i * 4 + 3] = 255;
  }
  return result;
}

/** A disparity in colours of even steps: near is bright, far is dark. */
export function colourDisparity(disparity: Field, range: readonly [number, number]): Picture {
  const result = newPicture(disparity.height, disparity.width);
  const [low, high] = range;
  const factor = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < disparity.data.length; i++) {
    const level = Math.min(Math.max(Math.round((disparity.data[i]! - low) * factor), 0), 255);
    for (let c = 0; c < 3; c++) result.data[i * 4 + c] = DEPTH_COLOURS[level * 3 + c]!;
    result.data[i * 4 + 3] = 255;
  }
  return result;
}

/** The smallest and the largest value of a map. */
export function fieldRange({ data }: Field): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// The colour map "inferno" of matplotlib (CC0), as a polynomial fitted by Matt Zucker (CC0).
const INFERNO = [
  [0.0002189403691192265, 0.001651004631001012, -0.01948089843709184],
  [0.1065134194856116, 0.5639564367884091, 3.932712388889277],
  [11.60249308247187, -3.972853965665698, -15.9423941062914],
  [-41.70399613139459, 17.43639888205313, 44.35414519872813],
  [77.162935699427, -33.40235894210092, -81.80730925738993],
  [-71.31942824499214, 32.62606426397723, 73.20951985803202],
  [25.13112622477341, -12.24266895238567, -23.07032500287172],
];

/** 256 colours of even steps, from far to near: red, green and blue of each. */
export const DEPTH_COLOURS: Uint8ClampedArray = Uint8ClampedArray.from({ length: 768 }, (_, i) => {
  const share = Math.floor(i / 3) / 255;
  return 255 * INFERNO.reduceRight((sum, factors) => sum * share + factors[i % 3]!, 0);
});

/** A picture scaled and cropped to fill a frame. */
function fillFrame(picture: Picture, frame: Picture): Picture {
  const scale = Math.min(picture.height / frame.height, picture.width / frame.width);
  const rows = Math.max(1, Math.round(frame.height * scale));
  const columns = Math.max(1, Math.round(frame.width * scale));
  const top = (picture.height - rows) >> 1;
  const left = (picture.width - columns) >> 1;
  const part = cropPicture(picture, { top, left, bottom: top + rows, right: left + columns });
  return resizePicture(part, frame.height, frame.width);
}

function parseColour(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
