// PNG files with exact values. A canvas would round the colours of transparent pixels, and has no
// 16 bits.

import type { Field, Picture } from "./raster";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const RGBA = 6;
const DISPARITY_STEPS = 65534;

/** A picture with its alpha. */
export function encodePicture({ height, width, data }: Picture): Promise<Blob> {
  return encode(height, width, 8, RGBA, new Uint8Array(data.buffer, data.byteOffset, data.length));
}

/** Alpha as 8 bits. */
export function encodeAlpha({ height, width, data }: Field): Promise<Blob> {
  const levels = Uint8ClampedArray.from(data, (value) => value * 255);
  return encode(height, width, 8, GREY, new Uint8Array(levels.buffer));
}

/** Disparity as 16 bits: 0 is invalid, 1 to 65535 stand for 0 to 1; near = large. */
export function encodeDisparity({ height, width, data }: Field): Promise<Blob> {
  const bytes = new Uint8Array(data.length * 2);
  data.forEach((value, i) => {
    const code = Math.round(Math.min(Math.max(value, 0), 1) * DISPARITY_STEPS) + 1;
    bytes[2 * i] = code >> 8;
    bytes[2 * i + 1] = code & 255;
  });
  return encode(height, width, 16, GREY, bytes);
}

async function encode(
  height: number,
  width: number,
  depth: number,
  colour: number,
  samples: Uint8Array,
): Promise<Blob> {
  const length = samples.length / height;
  const rows = new Uint8Array(height * (length + 1));
  for (let y = 0; y < height; y++) {
    const start = y * (length + 1);
    rows[start] = 2; // each row is stored as its difference from the one above
    for (let i = 0; i < length; i++) {
      const above = y === 0 ? 0 : samples[(y - 1) * length + i]!;
      rows[start + 1 + i] = samples[y * length + i]! - above;
    }
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = depth;
  header[9] = colour;
  const chunks = [chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
  return new Blob([Uint8Array.from(SIGNATURE), ...chunks], { type: "image/png" });
}

function chunk(name: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, checksum(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32, as the PNG specification defines it. */
function checksum(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255]! ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
