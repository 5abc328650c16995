// Shows on Analyze Faces the pictures with outlined faces; a click on a face chooses it.
// The choice is written into the node's ordinary widgets, so that it is saved and works over the API too.
const search = new URL(import.meta.url).search;
const { addPanel, grow } = await import(`./panel.mjs${search}`);
const { chosen, clicked, written } = await import(`./faceChoice.mjs${search}`);
const { findFaces } = await import(`./findFaces.mjs${search}`);

const SETTINGS = ["select", "index", "min_size"];
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
    grow(node);
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
    grow(this.node);
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

/** Adds the picker to Analyze Faces; it shows the faces that each run finds. */
export function addPicker(node) {
  const picker = new FacePicker(node);
  const executed = node.onExecuted;
  node.onExecuted = function (output) {
    executed?.call(this, output);
    if (output?.faces) picker.show(output.faces);
  };
}
