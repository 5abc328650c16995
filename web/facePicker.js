// On Analyze Faces: the pictures with their faces outlined; a click on a face chooses it.
// The choice is written into the node's ordinary widgets, so that it is saved and works over the API too.
import { app } from "../../scripts/app.js";
import { chosen, clicked, written } from "./faceChoice.js";
import { findFaces } from "./findFaces.js";

const NODE = "ConsistentFace_AnalyzeFaces";
const SETTINGS = ["select", "index", "min_size"];
const LOW = 44;
const HIGH = 240;
const STYLE = `
.consistent-face-picker { display: flex; flex-direction: column; gap: 4px; min-height: 0; overflow: hidden auto;
  font: 12px sans-serif; color: var(--input-text); }
.consistent-face-picker .bar { display: flex; gap: 8px; align-items: center; }
.consistent-face-picker .bar button { flex: none; padding: 4px 10px; border: 1px solid var(--border-color);
  border-radius: 6px; color: inherit; background: var(--comfy-input-bg); cursor: pointer; }
.consistent-face-picker .frame { flex: 1 0 0; min-height: 120px; display: flex; justify-content: center; }
.consistent-face-picker .picture { position: relative; max-width: 100%; max-height: 100%; margin: auto; }
.consistent-face-picker img { display: block; width: 100%; height: 100%; }
.consistent-face-picker .face { position: absolute; padding: 0; border: 2px solid #fff; border-radius: 3px;
  background: none; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; cursor: pointer; }
.consistent-face-picker .face span { position: absolute; left: 0; top: 0; padding: 0 4px; background: #fff;
  color: #141414; font: bold 11px/15px sans-serif; }
.consistent-face-picker .face[aria-pressed="true"] { border-color: #2ecc71; }
.consistent-face-picker .face[aria-pressed="true"] span { background: #2ecc71; }
.consistent-face-picker .face:disabled { border-style: dashed; opacity: 0.7; cursor: not-allowed; }`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class FacePicker {
  photos = [];

  constructor(node) {
    this.node = node;
    this.hint = element("span", {});
    this.button = element("button", { type: "button", textContent: "Find faces", onclick: () => this.find() });
    this.pictures = element("div", { style: "display: contents" });
    const bar = element("div", { className: "bar" }, this.button, this.hint);
    this.root = element("div", { className: "consistent-face-picker" }, bar, this.pictures);
    const options = { serialize: false, hideOnZoom: false, getMinHeight: () => (this.photos.length ? HIGH : LOW) };
    node.addDOMWidget("face_picker", "face_picker", this.root, options).serialize = false;
    for (const name of SETTINGS) this.watch(this.widget(name));
  }

  widget(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  watch(widget) {
    const changed = widget.callback;
    widget.callback = (...values) => {
      changed?.apply(widget, values);
      this.draw();
    };
  }

  values() {
    return Object.fromEntries(SETTINGS.map((name) => [name, this.widget(name).value]));
  }

  async find() {
    this.button.disabled = true;
    this.hint.textContent = "Looking ...";
    const failure = await findFaces(this.node, NODE);
    this.button.disabled = false;
    if (failure) this.hint.textContent = failure;
  }

  show(photos) {
    this.photos = photos;
    this.draw();
    const [width, height] = this.node.computeSize();
    this.node.setSize([Math.max(this.node.size[0], width), Math.max(this.node.size[1], height)]);
  }

  draw() {
    const count = this.photos.reduce((sum, photo) => sum + photo.faces.length, 0);
    this.hint.textContent = count ? "Click a face; Shift-click for several." : this.photos.length ? "No face found." : "";
    this.pictures.replaceChildren(...this.photos.map((photo) => this.picture(photo)));
  }

  picture({ picture, faces }) {
    const values = this.values();
    const numbers = chosen(values, faces.map((face) => face.size));
    const buttons = faces.map((face, position) => this.face(face, position + 1, numbers, face.size >= values.min_size));
    const image = element("img", { src: picture, alt: "", draggable: false });
    const box = element("div", { className: "picture" }, image, ...buttons);
    image.onload = () => (box.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`);
    return element("div", { className: "frame" }, box);
  }

  face({ box: [left, top, right, bottom], size }, number, numbers, usable) {
    const button = element(
      "button",
      {
        type: "button",
        className: "face",
        title: `Face ${number}: ${Math.floor(size)} pixels` + (usable ? "" : ", below the minimum size"),
        disabled: !usable,
        onclick: (event) => this.choose(clicked(numbers, number, event.shiftKey || event.ctrlKey || event.metaKey)),
      },
      element("span", { textContent: number }),
    );
    button.setAttribute("aria-pressed", numbers.includes(number));
    const share = (value) => `${100 * value}%`;
    Object.assign(button.style, {
      left: share(left),
      top: share(top),
      width: share(right - left),
      height: share(bottom - top),
    });
    return button;
  }

  choose(numbers) {
    for (const [name, value] of Object.entries(written(numbers))) {
      const widget = this.widget(name);
      widget.value = value;
      widget.callback(value);
    }
    this.node.graph.change?.();
  }
}

app.registerExtension({
  name: "consistentFace.facePicker",
  setup() {
    document.head.append(element("style", { textContent: STYLE }));
  },
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const picker = new FacePicker(node);
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.call(this, output);
      if (output?.faces) picker.show(output.faces);
    };
  },
});
