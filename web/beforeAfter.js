// On Refine Faces: each face before and after, in one frame; the edge between them follows the pointer.
import { app } from "../../scripts/app.js";

const NODE = "ConsistentFace_RefineFaces";
const HEIGHT = 130;
const STYLE = `
.consistent-face-pairs { display: flex; flex-wrap: wrap; gap: 4px; overflow: hidden auto; min-height: 0; }
.consistent-face-pairs div { position: relative; height: 120px; --edge: 50%; cursor: ew-resize; }
.consistent-face-pairs img { display: block; height: 100%; }
.consistent-face-pairs img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--edge)); }
.consistent-face-pairs div::after { content: ""; position: absolute; inset: 0 auto 0 var(--edge); width: 1px;
  background: #fff; }`;

function pair({ before, after }) {
  const frame = document.createElement("div");
  frame.title = "Left: before. Right: after.";
  for (const source of [before, after]) frame.append(Object.assign(new Image(), { src: source, draggable: false }));
  frame.onpointermove = ({ clientX }) => {
    const { left, width } = frame.getBoundingClientRect();
    frame.style.setProperty("--edge", `${(100 * (clientX - left)) / width}%`);
  };
  return frame;
}

function pairsOf(node) {
  const found = node.widgets.find((widget) => widget.name === "before_after");
  if (found) return found.element;
  const root = Object.assign(document.createElement("div"), { className: "consistent-face-pairs" });
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => HEIGHT };
  node.addDOMWidget("before_after", "before_after", root, options).serialize = false;
  return root;
}

app.registerExtension({
  name: "consistentFace.beforeAfter",
  setup() {
    document.head.append(Object.assign(document.createElement("style"), { textContent: STYLE }));
  },
  beforeRegisterNodeDef(type, definition) {
    if (definition.name !== NODE) return;
    const executed = type.prototype.onExecuted;
    type.prototype.onExecuted = function (output) {
      executed?.call(this, output);
      if (output?.before_after) pairsOf(this).replaceChildren(...output.before_after.map(pair));
    };
  },
});
