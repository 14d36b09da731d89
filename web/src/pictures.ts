// Pictures from files, from the clipboard and from a video, and back onto a canvas.

import { type Picture, type Size } from "./raster";

const MAX_PIXELS = 50_000_000;

/** What went wrong, in a sentence for whoever uses the page. */
export class UserError extends Error {}

export async function decodePicture(file: Blob, name: string): Promise<Picture> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new UserError(`${name} is not a picture that this browser can open. Try a JPEG or PNG.`);
  }
  try {
    checkSize(bitmap, name);
    return readPixels(bitmap, bitmap);
  } finally {
    bitmap.close();
  }
}

function checkSize({ height, width }: Size, name: string): void {
  const megapixels = (pixels: number): number => Math.round(pixels / 1e6);
  if (height * width <= MAX_PIXELS) return;
  throw new UserError(
    `${name} has ${megapixels(height * width)} megapixels. ` +
      `The page takes up to ${megapixels(MAX_PIXELS)}: make the picture smaller.`,
  );
}

const scratch = document.createElement("canvas");

/** The pixels of an image or of a video's present frame, at a size; opaque. */
export function readPixels(source: CanvasImageSource, { height, width }: Size): Picture {
  if (scratch.width !== width || scratch.height !== height) {
    scratch.width = width;
    scratch.height = height;
  }
  const context = scratch.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new UserError("This browser has no memory left for the picture.");
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) data[at] = 255;
  return { height, width, data: data as Uint8ClampedArray<ArrayBuffer> };
}

/** Shows a picture on a canvas, which takes its size. */
export function showPicture(canvas: HTMLCanvasElement, picture: Picture): void {
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  const image = new ImageData(picture.data, picture.width, picture.height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}
