// Shows on a node what it told of its last run: who was kept, how alike, what is unsafe, where saved.
import { app } from "../../scripts/app.js";

const NODES = new Set([
  "ConsistentFace_BuildIdentity",
  "ConsistentFace_CheckSafety",
  "ConsistentFace_KeepBest",
  "ConsistentFace_LoadIdentity",
  "ConsistentFace_RemoveBackground",
  "ConsistentFace_SaveIdentity",
  "ConsistentFace_ScoreIdentity",
]);
const HEIGHT = 90;

/** Writes a text on a node, in a field of its own below its widgets; an empty text makes no field. */
export function report(node, text) {
  const field = node.widgets?.find((widget) => widget.name === "report") ?? (text ? addField(node) : null);
  if (field) field.value = text;
}

function addField(node) {
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.className = "comfy-multiline-input";
  const options = {
    serialize: false,
    getMinHeight: () => HEIGHT,
    getValue: () => area.value,
    setValue: (text) => (area.value = text),
  };
  const widget = node.addDOMWidget("report", "report", area, options);
  widget.serialize = false; // nor does it belong to the saved workflow
  return widget;
}

app.registerExtension({
  name: "consistentFace.report",
  beforeRegisterNodeDef(type, definition) {
    if (!NODES.has(definition.name)) return;
    const executed = type.prototype.onExecuted;
    type.prototype.onExecuted = function (output) {
      executed?.call(this, output);
      if (output?.text) report(this, output.text.join("\n"));
    };
  },
});
