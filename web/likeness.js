// Writes what Score Identity found on the nodes that show the same picture: Save Image, Preview Image.
import { app } from "../../scripts/app.js";
import { report } from "./report.js";

const SCORE = "ConsistentFace_ScoreIdentity";

function nodesWithTheSamePicture(node) {
  const slot = node.findInputSlot("image");
  const link = node.getInputLink(slot);
  const others = node.getInputNode(slot)?.getOutputNodes(link.origin_slot) ?? [];
  return others.filter((other) => other !== node && other.constructor.nodeData?.output_node);
}

app.registerExtension({
  name: "consistentFace.likeness",
  beforeRegisterNodeDef(type, definition) {
    if (definition.name !== SCORE) return;
    const executed = type.prototype.onExecuted;
    type.prototype.onExecuted = function (output) {
      executed?.call(this, output);
      for (const node of nodesWithTheSamePicture(this)) report(node, output.text.join("\n"));
    };
  },
});
