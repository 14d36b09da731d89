// The files that belong to the page: from the page itself where it is a single file, else from its
// own server. Nothing else is ever asked for.

/** The bytes of a file of the page, such as "model.onnx"; null where the page has no such file. */
export async function loadFile(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
  const inside = document.getElementById(`file:${name}`);
  if (inside !== null) {
    const bytes = decodeBase64(inside.textContent);
    inside.remove(); // the text is some megabytes
    return unpack(bytes);
  }
  if (location.protocol === "file:") return null;
  const response = await fetch(name);
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`The server did not send ${name} (${response.status}).`);
  return new Uint8Array(await response.arrayBuffer());
}

export async function requireFile(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await loadFile(name);
  if (bytes === null) throw new Error(`This page lacks its file ${name}: make it again.`);
  return bytes;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
