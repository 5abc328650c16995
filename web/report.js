// Shows on a node what it told of its last run: who was kept, how alike, where saved.
import { app } from "../../scripts/app.js";

const NODES = new Set([
  "ConsistentFace_BuildIdentity",
  "ConsistentFace_KeepBest",
  "ConsistentFace_LoadIdentity",
  "ConsistentFace_SaveIdentity",
  "ConsistentFace_ScoreIdentity",
]);

function reportOf(node) {
  const found = node.widgets?.find((widget) => widget.name === "report");
  if (found) return found;
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.className = "comfy-multiline-input";
  const options = {
    serialize: false,
    getMinHeight: () => 90,
    getValue: () => area.value,
    setValue: (text) => (area.value = text),
  };
  const widget = node.addDOMWidget("report", "text", area, options);
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
      if (output?.text) reportOf(this).value = output.text.join("\n");
    };
  },
});
