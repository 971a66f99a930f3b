// Emits texts in upper case, and the sizes of bytes.

import { emitTextsOut } from "#heddle";

/** @type {import("#heddle").OnTextsIn} */
export function onTextsIn(text) {
  emitTextsOut.send(text.toUpperCase());
}

/** @type {import("#heddle").OnBytesIn} */
export function onBytesIn(bytes) {
  emitTextsOut.send(`${bytes.length} bytes`);
}
