// Shows the results of the last run on a node: its report, and faces before and after.
const { addPanel } = await import(`./panel.mjs${new URL(import.meta.url).search}`);

const REPORT_HEIGHT = 90;
const PAIRS_HEIGHT = 130;

/** The exported functions take a node and the output of its run. */
export function showReport(node, { text }) {
  if (text) report(node, text.join("\n"));
}

/** Writes the report; an empty text adds no panel. */
function report(node, text) {
  const panel = panelOf(node, "report") ?? (text ? addReport(node) : null);
  if (panel) panel.value = text;
}

function addReport(node) {
  const area = document.createElement("textarea");
  Object.assign(area, { readOnly: true, className: "comfy-multiline-input" });
  return addPanel(node, "report", area, {
    getMinHeight: () => REPORT_HEIGHT,
    getValue: () => area.value,
    setValue: (text) => (area.value = text),
  });
}

/** Shows the similarity also on the nodes that show the same pictures: Save Image, Preview Image. */
export function showSimilarity(node, { text }) {
  for (const each of [node, ...nodesWithTheSamePicture(node)]) report(each, text.join("\n"));
}

function nodesWithTheSamePicture(node) {
  const slot = node.findInputSlot("image");
  const link = node.getInputLink(slot);
  const others = node.getInputNode(slot)?.getOutputNodes(link.origin_slot) ?? [];
  return others.filter((other) => other !== node && other.constructor.nodeData?.output_node);
}

/** Shows each face before and after in one frame; the edge between them follows the pointer. */
export function showPairs(node, { before_after: pairs }) {
  if (!pairs) return;
  const panel = panelOf(node, "before_after") ?? addPairs(node);
  panel.element.replaceChildren(...pairs.map(pair));
}

function addPairs(node) {
  const root = Object.assign(document.createElement("div"), { className: "consistent-face-pairs" });
  return addPanel(node, "before_after", root, { hideOnZoom: false, getMinHeight: () => PAIRS_HEIGHT });
}

function pair({ before, after }) {
  const frame = Object.assign(document.createElement("div"), { title: "Left: before. Right: after." });
  for (const source of [before, after]) frame.append(Object.assign(new Image(), { src: source, draggable: false }));
  frame.onpointermove = ({ clientX }) => {
    const { left, width } = frame.getBoundingClientRect();
    frame.style.setProperty("--edge", `${(100 * (clientX - left)) / width}%`);
  };
  return frame;
}

function panelOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}
