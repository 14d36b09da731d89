// The network of an ONNX file, run by ONNX Runtime in WebAssembly on one thread.

import * as ort from "onnxruntime-web/wasm";

import { type Field, newField, type Picture } from "./raster";

export interface NetworkAnswer {
  readonly alpha: Field;
  readonly disparity: Field;
}

/** Tells ONNX Runtime where its WebAssembly is, before the first network is opened. */
export function setRuntime(wasm: ArrayBuffer): void {
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "error";
}

export class Network {
  private constructor(private readonly session: ort.InferenceSession) {}

  static async open(model: Uint8Array): Promise<Network> {
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return new Network(session);
  }

  /** Alpha and disparity of a picture, in [0, 1], from picture, plate and the plate's disparity. */
  async run(
    picture: Picture,
    plate: Picture | null,
    plateDisparity: Field | null,
  ): Promise<NetworkAnswer> {
    const { height, width } = picture;
    const count = height * width;
    const feeds: Record<string, ort.Tensor> = {
      picture: new ort.Tensor("float32", toPlanes(picture), [1, 3, height, width]),
      plate: new ort.Tensor(
        "float32",
        plate === null ? new Float32Array(3 * count) : toPlanes(plate),
        [1, 3, height, width],
      ),
      plate_disparity: new ort.Tensor(
        "float32",
        plateDisparity === null ? new Float32Array(count) : plateDisparity.data,
        [1, 1, height, width],
      ),
      validity: new ort.Tensor(
        "float32",
        Float32Array.of(plate === null ? 0 : 1, plateDisparity === null ? 0 : 1),
        [1, 2],
      ),
    };
    const inputs = this.session.inputNames.map((name) => [name, feeds[name]!] as const);
    const outputs = await this.session.run(Object.fromEntries(inputs));
    return {
      alpha: toField(outputs["alpha"]!, height, width),
      disparity: toField(outputs["disparity"]!, height, width),
    };
  }
}

/** RGBA, 0 to 255, as planes of red, green and blue, 0 to 1. */
function toPlanes(picture: Picture): Float32Array {
  const count = picture.height * picture.width;
  const planes = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    planes[i] = picture.data[4 * i]! / 255;
    planes[count + i] = picture.data[4 * i + 1]! / 255;
    planes[2 * count + i] = picture.data[4 * i + 2]! / 255;
  }
  return planes;
}

function toField(tensor: ort.Tensor, height: number, width: number): Field {
  const field = newField(height, width);
  const values = tensor.data as Float32Array;
  for (let i = 0; i < values.length; i++) field.data[i] = Math.min(Math.max(values[i]!, 0), 1);
  tensor.dispose();
  return field;
}
