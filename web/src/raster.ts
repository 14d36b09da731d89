// Pictures and maps as flat arrays, and how they change size.
//
// The filters are those of OpenCV, since the network has learned from pictures that OpenCV made
// smaller: another filter would change what it finds. `resize` is `maskdepth.images.resize`.

/** A picture: RGBA, 0 to 255 each, row by row. Alpha is 255 unless it is a cutout. */
export interface Picture {
  readonly height: number;
  readonly width: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** A map of numbers, such as alpha or disparity, row by row. */
export interface Field {
  readonly height: number;
  readonly width: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/** A part of a picture, in its pixels; `bottom` and `right` are not part of it. */
export interface Rectangle {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

export interface Size {
  readonly height: number;
  readonly width: number;
}

type Samples = Uint8ClampedArray<ArrayBuffer> | Float32Array<ArrayBuffer>;

export function newField(height: number, width: number, value = 0): Field {
  const data = new Float32Array(height * width);
  if (value !== 0) data.fill(value);
  return { height, width, data };
}

export function newPicture(height: number, width: number): Picture {
  return { height, width, data: new Uint8ClampedArray(height * width * 4) };
}

export function isSize(raster: Size, size: Size): boolean {
  return raster.height === size.height && raster.width === size.width;
}

/** Rounds as Python does: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** A picture at another size: area means where a side shrinks, bilinear where it grows. */
export function resizePicture(picture: Picture, height: number, width: number): Picture {
  if (isSize(picture, { height, width })) return picture;
  if (picture.height === 2 * height && picture.width === 2 * width) return halve(picture);
  const small = {
    height: Math.min(height, picture.height),
    width: Math.min(width, picture.width),
  };
  let result = picture;
  if (!isSize(result, small)) result = { ...small, data: shrink(picture.data, picture, small, 4) };
  return isSize(result, { height, width }) ? result : interpolatePicture(result, { height, width });
}

/**
 * A picture made smaller, by halves first and the rest bilinear: `maskdepth.images.shrink`, which
 * is some levels from `resizePicture`, and faster.
 */
export function shrinkPicture(picture: Picture, height: number, width: number): Picture {
  const canHalve = (side: number, wanted: number): boolean => side % 2 === 0 && side >= 2 * wanted;
  while (canHalve(picture.height, height) && canHalve(picture.width, width)) {
    picture = halve(picture);
  }
  if (isSize(picture, { height, width })) return picture;
  if (picture.height > 2 * height || picture.width > 2 * width) {
    return resizePicture(picture, height, width);
  }
  return interpolatePicture(picture, { height, width });
}

function halve(picture: Picture): Picture {
  const [height, width] = [picture.height / 2, picture.width / 2];
  const data = new Uint8ClampedArray(height * width * 4);
  const below = picture.width * 4;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (2 * y * picture.width + 2 * x) * 4;
      const to = (y * width + x) * 4;
      for (let c = 0; c < 4; c++) {
        const upper = picture.data[from + c]! + picture.data[from + 4 + c]!;
        const lower = picture.data[from + below + c]! + picture.data[from + below + 4 + c]!;
        data[to + c] = (upper + lower + 2) >> 2; // halves go up, as OpenCV rounds them here
      }
    }
  }
  return { height, width, data };
}

/** A map at another size: area means where a side shrinks, bilinear where it grows. */
export function resizeField(field: Field, height: number, width: number): Field {
  const small = { height: Math.min(height, field.height), width: Math.min(width, field.width) };
  let result = field;
  if (!isSize(result, small)) result = { ...small, data: shrink(field.data, field, small, 1) };
  return isSize(result, { height, width }) ? result : interpolateField(result, { height, width });
}

/** A map at another size by nearest pixel: a mean across an edge would be the value of no object. */
export function resizeNearest(field: Field, height: number, width: number): Field {
  const result = newField(height, width);
  const columns = Array.from({ length: width }, (_, x) => nearest(x, field.width / width, field.width));
  for (let y = 0; y < height; y++) {
    const row = nearest(y, field.height / height, field.height) * field.width;
    for (let x = 0; x < width; x++) result.data[y * width + x] = field.data[row + columns[x]!]!;
  }
  return result;
}

function nearest(index: number, scale: number, side: number): number {
  return Math.min(side - 1, Math.floor((index + 0.5) * scale));
}

export function cropPicture(picture: Picture, part: Rectangle): Picture {
  return { ...partSize(part), data: crop(picture.data, picture.width, part, 4) };
}

export function cropField(field: Field, part: Rectangle): Field {
  return { ...partSize(part), data: crop(field.data, field.width, part, 1) };
}

function partSize(part: Rectangle): Size {
  return { height: part.bottom - part.top, width: part.right - part.left };
}

function crop<T extends Samples>(data: T, width: number, part: Rectangle, channels: number): T {
  const { height, width: columns } = partSize(part);
  const length = columns * channels;
  const result = sameKind(data, height * length);
  for (let y = 0; y < height; y++) {
    const start = ((part.top + y) * width + part.left) * channels;
    result.set(data.subarray(start, start + length), y * length);
  }
  return result;
}

interface Taps {
  /** The first source index of each result, and one more at the end. */
  readonly starts: Int32Array;
  readonly indices: Int32Array;
  readonly weights: Float32Array;
}

/** Which source pixels make each pixel of a side that shrinks: OpenCV's INTER_AREA. */
function areaTaps(from: number, to: number): Taps {
  const scale = from / to;
  const starts = new Int32Array(to + 1);
  const indices: number[] = [];
  const weights: number[] = [];
  for (let result = 0; result < to; result++) {
    const low = result * scale;
    const high = low + scale;
    const cell = Math.min(scale, from - low);
    const last = Math.min(Math.floor(high), from - 1);
    const first = Math.min(Math.ceil(low), last);
    if (first - low > 1e-3) {
      indices.push(first - 1);
      weights.push((first - low) / cell);
    }
    for (let index = first; index < last; index++) {
      indices.push(index);
      weights.push(1 / cell);
    }
    if (high - last > 1e-3) {
      indices.push(last);
      weights.push(Math.min(Math.min(high - last, 1), cell) / cell);
    }
    starts[result + 1] = indices.length;
  }
  return { starts, indices: Int32Array.from(indices), weights: Float32Array.from(weights) };
}

function shrink<T extends Samples>(data: T, from: Size, to: Size, channels: number): T {
  const result = sameKind(data, to.height * to.width * channels);
  const columns = areaTaps(from.width, to.width);
  const rows = areaTaps(from.height, to.height);
  const length = to.width * channels;
  const row = new Float32Array(length);
  const sum = new Float32Array(length);
  let lastRow = -1;
  for (let y = 0; y < to.height; y++) {
    sum.fill(0);
    for (let tap = rows.starts[y]!; tap < rows.starts[y + 1]!; tap++) {
      const source = rows.indices[tap]!;
      if (source !== lastRow) {
        shrinkRow(data, source * from.width * channels, columns, channels, row);
        lastRow = source;
      }
      const weight = rows.weights[tap]!;
      for (let i = 0; i < length; i++) sum[i]! += weight * row[i]!;
    }
    result.set(sum, y * length);
  }
  return result;
}

function shrinkRow(
  data: Samples,
  start: number,
  columns: Taps,
  channels: number,
  row: Float32Array,
): void {
  const { starts, indices, weights } = columns;
  if (channels === 4) {
    for (let x = 0; x < starts.length - 1; x++) {
      let [red, green, blue, alpha] = [0, 0, 0, 0];
      for (let tap = starts[x]!; tap < starts[x + 1]!; tap++) {
        const at = start + indices[tap]! * 4;
        const weight = weights[tap]!;
        red += weight * data[at]!;
        green += weight * data[at + 1]!;
        blue += weight * data[at + 2]!;
        alpha += weight * data[at + 3]!;
      }
      row[x * 4] = red;
      row[x * 4 + 1] = green;
      row[x * 4 + 2] = blue;
      row[x * 4 + 3] = alpha;
    }
    return;
  }
  for (let x = 0; x < starts.length - 1; x++) {
    let value = 0;
    for (let tap = starts[x]!; tap < starts[x + 1]!; tap++) {
      value += weights[tap]! * data[start + indices[tap]!]!;
    }
    row[x] = value;
  }
}

/** The two source indices of each pixel of a side, and the share of the second. */
function linearTaps(from: number, to: number): { low: Int32Array; share: Float32Array } {
  const low = new Int32Array(to);
  const share = new Float32Array(to);
  for (let result = 0; result < to; result++) {
    const position = (result + 0.5) * (from / to) - 0.5;
    const floor = Math.floor(position);
    low[result] = Math.min(Math.max(floor, 0), from - 1);
    share[result] = floor < 0 || floor >= from - 1 ? 0 : position - floor;
  }
  return { low, share };
}

/** A map, bilinear between neighbours. */
function interpolateField(field: Field, { height, width }: Size): Field {
  const result = newField(height, width);
  const columns = linearTaps(field.width, width);
  const rows = linearTaps(field.height, height);
  const row = new Float32Array(field.width);
  for (let y = 0; y < height; y++) {
    const upper = rows.low[y]! * field.width;
    const lower = Math.min(rows.low[y]! + 1, field.height - 1) * field.width;
    const share = rows.share[y]!;
    for (let i = 0; i < row.length; i++) {
      row[i] = field.data[upper + i]! * (1 - share) + field.data[lower + i]! * share;
    }
    for (let x = 0; x < width; x++) {
      const left = columns.low[x]!;
      const weight = columns.share[x]!;
      const right = row[Math.min(left + 1, field.width - 1)]!;
      result.data[y * width + x] = row[left]! * (1 - weight) + right * weight;
    }
  }
  return result;
}

/** A picture, bilinear between neighbours, in the whole numbers that OpenCV calculates with. */
function interpolatePicture(picture: Picture, { height, width }: Size): Picture {
  const result = newPicture(height, width);
  const columns = linearTaps(picture.width, width);
  const rows = linearTaps(picture.height, height);
  const whole = (share: number): number => roundHalfEven(share * 2048);
  const weights = Int32Array.from(columns.share, whole);
  const rests = Int32Array.from(columns.share, (share) => whole(1 - share));
  const mixed = [new Int32Array(width * 4), new Int32Array(width * 4)] as const;
  const mixRow = (row: number, into: Int32Array): void => {
    const start = row * picture.width * 4;
    for (let x = 0; x < width; x++) {
      const left = start + columns.low[x]! * 4;
      const right = start + Math.min(columns.low[x]! + 1, picture.width - 1) * 4;
      const [weight, rest] = [weights[x]!, rests[x]!];
      for (let c = 0; c < 4; c++) {
        into[x * 4 + c] = (picture.data[left + c]! * rest + picture.data[right + c]! * weight) >> 4;
      }
    }
  };
  for (let y = 0; y < height; y++) {
    mixRow(rows.low[y]!, mixed[0]);
    mixRow(Math.min(rows.low[y]! + 1, picture.height - 1), mixed[1]);
    const weight = whole(rows.share[y]!);
    const rest = whole(1 - rows.share[y]!);
    for (let i = 0; i < width * 4; i++) {
      const sum = ((rest * mixed[0][i]!) >> 16) + ((weight * mixed[1][i]!) >> 16);
      result.data[y * width * 4 + i] = (sum + 2) >> 2;
    }
  }
  return result;
}

function sameKind<T extends Samples>(data: T, length: number): T {
  const made = data instanceof Float32Array ? new Float32Array(length) : new Uint8ClampedArray(length);
  return made as T;
}
