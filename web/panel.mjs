// What we add below a node's widgets, and its style.
const href = new URL("consistentFace.css", import.meta.url);
document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));

/** An element that is neither sent with the prompt nor saved with the workflow. */
export function addPanel(node, name, element, options) {
  const panel = node.addDOMWidget(name, name, element, { serialize: false, ...options });
  panel.serialize = false;
  requestAnimationFrame(() => node.setDirtyCanvas(true, true)); // it gets its place when a canvas that rests is drawn
  return panel;
}

/** As high as its widgets need, and no lower than it was. */
export function grow(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}
