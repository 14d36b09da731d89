// Builds the page into the Python package: one classic script, one style sheet, ONNX Runtime's
// WebAssembly and the sample pair. `maskdepth page` makes one file of them, a server sends them.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;
const RUNTIME = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";

/**
 * A classic script has no `import.meta`. ONNX Runtime asks it for the address of its files, which
 * are never fetched: the page gives it the WebAssembly itself. The address of a local file would
 * not do, since Firefox gives those no origin.
 */
const classicScript: Plugin = {
  name: "classic-script",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("onnxruntime-web")) return null;
    return { code: code.replaceAll("import.meta.url", '"https://page.invalid/"'), map: null };
  },
};

const filesOfThePage: Plugin = {
  name: "files-of-the-page",
  generateBundle() {
    const files = {
      "runtime.wasm": RUNTIME,
      "sample-picture.jpg": "sample/picture.jpg",
      "sample-plate.jpg": "sample/plate.jpg",
    };
    for (const [fileName, path] of Object.entries(files)) {
      this.emitFile({ type: "asset", fileName, source: readFileSync(resolve(here, path)) });
    }
  },
};

export default defineConfig({
  plugins: [classicScript, filesOfThePage],
  build: {
    outDir: resolve(here, "../src/maskdepth/web"),
    emptyOutDir: true,
    target: "es2022",
    lib: {
      entry: resolve(here, "src/main.ts"),
      formats: ["iife"],
      name: "maskdepth",
      fileName: () => "page.js",
      cssFileName: "page",
    },
  },
});
