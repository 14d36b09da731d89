// Starts the page: the network first, then the sample pair, so that something is to be seen at once.

import "./page.css";

import { App } from "./app";
import { loadFile, requireFile } from "./files";
import { Network, setRuntime } from "./network";
import { decodePicture, UserError } from "./pictures";
import { type Model, Predictor } from "./predictor";
import type { NamedPicture } from "./slots";

async function openPredictor(): Promise<Predictor> {
  const [runtime, card, network, depthNetwork] = await Promise.all([
    requireFile("runtime.wasm"),
    requireFile("model.json"),
    requireFile("model.onnx"),
    loadFile("depth.onnx"),
  ]);
  setRuntime(runtime.buffer);
  const model = JSON.parse(new TextDecoder().decode(card)) as Model;
  return new Predictor(
    model,
    await Network.open(network),
    depthNetwork === null ? null : await Network.open(depthNetwork),
  );
}

async function loadSample(): Promise<{ picture: NamedPicture; plate: NamedPicture }> {
  const load = async (slot: string): Promise<NamedPicture> => {
    const bytes = await requireFile(`sample-${slot}.jpg`);
    const file = new Blob([bytes], { type: "image/jpeg" });
    return { picture: await decodePicture(file, "The sample"), name: "sample (drawn)" };
  };
  return { picture: await load("picture"), plate: await load("plate") };
}

async function start(): Promise<void> {
  const app = new App(loadSample);
  try {
    if (typeof WebAssembly === "undefined" || typeof DecompressionStream === "undefined") {
      throw new UserError("This browser is too old for the page. Use one from 2023 or later.");
    }
    await app.start(openPredictor);
  } catch (error) {
    app.showError(error);
  }
}

void start();
