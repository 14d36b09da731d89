// The elements of index.html, by their ids.

export function element<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} #${id}.`);
  return found;
}

export function button(id: string): HTMLButtonElement {
  return element(id, HTMLButtonElement);
}

/** The value of the chosen radio button of a name. */
export function chosenRadio(name: string): string {
  const chosen = document.querySelector<HTMLInputElement>(`input[name="${name}"]:checked`);
  return chosen?.value ?? "";
}

/** Calls back when another radio button of a name is chosen. */
export function onRadio(name: string, change: () => void): void {
  for (const each of document.querySelectorAll(`input[name="${name}"]`)) {
    each.addEventListener("change", change);
  }
}

/** Lets the browser draw what has changed before a long calculation. */
export function nextPaint(): Promise<void> {
  return new Promise((resolve) => {
    // A page in the background is not drawn: the timer goes on without that.
    setTimeout(resolve, 60);
    requestAnimationFrame(() => setTimeout(resolve, 0));
  });
}

export function saveFile(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
