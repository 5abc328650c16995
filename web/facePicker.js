// On Analyze Faces: the pictures with their faces outlined; a click on a face chooses it.
// The choice is written into the node's ordinary widgets, so that it is saved and works over the API too.
import { app } from "../../scripts/app.js";
import { chosen, clicked, written } from "./faceChoice.js";
import { addPanel, onRun } from "./results.js";

const NODE = "ConsistentFace_AnalyzeFaces";
const SETTINGS = ["select", "index", "min_size"];
const ENDS = ["execution_success", "execution_error", "execution_interrupted"];
const LOW = 44;
const HIGH = 240;

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
    const getMinHeight = () => (this.photos.length ? HIGH : LOW);
    addPanel(node, "face_picker", this.root, { hideOnZoom: false, getMinHeight });
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
    const failure = await findFaces(this.node);
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
    const found = count ? "Click a face; Shift-click for several." : "No face found.";
    this.hint.textContent = this.photos.length ? found : "";
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

  face({ box: [left, top, right, bottom], size, score }, number, numbers, usable) {
    const measured = `${Math.floor(size)} pixels, score ${score.toFixed(2)}`;
    const button = element(
      "button",
      {
        type: "button",
        className: "face",
        title: `Face ${number}: ${measured}` + (usable ? "" : ", below the minimum size"),
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

/** Runs the analysis alone, through ComfyUI's own queue: the loader, the photo and Analyze Faces. All faces are looked
 *  for, and none missed is an error; what was found reaches the node as after any other run.
 *  Resolves when the run has ended, with why it could not start, or nothing. */
async function findFaces(node) {
  const prompt = await app.graphToPrompt();
  const id = Object.keys(prompt.output).find((key) => key.split(":").at(-1) === String(node.id));
  if (prompt.output[id]?.class_type !== NODE) return "The node is bypassed or muted.";
  Object.assign(prompt.output[id].inputs, { select: "all", without_face: "bypass" });
  let run, finish;
  const over = new Set(); // a run can end before the answer to its queueing is here
  const end = ({ detail }) => {
    over.add(detail.prompt_id);
    if (detail.prompt_id === run) finish?.();
  };
  for (const name of ENDS) app.api.addEventListener(name, end);
  try {
    run = (await app.api.queuePrompt(-1, prompt, { partialExecutionTargets: [id] })).prompt_id;
    if (!over.has(run)) await new Promise((resolve) => (finish = resolve));
  } catch (error) {
    return reason(error);
  } finally {
    for (const name of ENDS) app.api.removeEventListener(name, end);
  }
}

/** ComfyUI's first complaint about a node, or the error's own words. */
function reason(error) {
  const fault = Object.values(error.response?.node_errors ?? {})[0]?.errors[0];
  return fault ? `${fault.message}: ${fault.details}` : error.message;
}

app.registerExtension({
  name: "consistentFace.facePicker",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const picker = new FacePicker(node);
    onRun(node, (_, { faces }) => faces && picker.show(faces));
  },
});
