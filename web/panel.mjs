// Adds panels below a node's widgets, and their style sheet.
const href = new URL("consistentFace.css", import.meta.url);
document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));

/** Adds an element that is neither sent with the prompt nor saved with the workflow. */
export function addPanel(node, name, element, options) {
  const panel = node.addDOMWidget(name, name, element, { serialize: false, ...options });
  panel.serialize = false;
  requestAnimationFrame(() => node.setDirtyCanvas(true, true)); // an idle canvas must be redrawn to place the panel
  return panel;
}

/** Grows a node to the height that its widgets need; never shrinks it. */
export function grow(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}
