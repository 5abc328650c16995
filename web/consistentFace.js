// All that ComfyUI loads when the editor opens, so that it opens as fast as without us; the parts come when they are used.
// ComfyUI loads every .js, so theirs end in .mjs. Browsers may keep those beyond an update: each page asks for its own.
const { app } = window.comfyAPI.app; // as scripts/app.js exports it, without one more request to wait for
const loaded = Date.now();
const part = (name) => import(`./${name}.mjs?${loaded}`);

const PICKER = "ConsistentFace_AnalyzeFaces";
const SHOWN = {
  // after each run, by a function of results.mjs
  ConsistentFace_BuildIdentity: "showReport",
  ConsistentFace_CheckSafety: "showReport",
  ConsistentFace_KeepBest: "showReport",
  ConsistentFace_LoadIdentity: "showReport",
  ConsistentFace_RefineFaces: "showPairs",
  ConsistentFace_RemoveBackground: "showReport",
  ConsistentFace_SaveIdentity: "showReport",
  ConsistentFace_ScoreIdentity: "showSimilarity",
};
const COMMANDS = [
  {
    id: "consistentFace.copyCurl",
    label: "Copy as API request (curl)",
    icon: "pi pi-copy",
    function: async () => (await part("copyRequest")).copyCurl(),
  },
  {
    id: "consistentFace.copyJson",
    label: "Copy as API request (JSON)",
    icon: "pi pi-copy",
    function: async () => (await part("copyRequest")).copyJson(),
  },
];

app.registerExtension({
  name: "consistentFace",
  commands: COMMANDS,
  menuCommands: [{ path: ["File"], commands: COMMANDS.map((command) => command.id) }],
  getCanvasMenuItems() {
    if (!app.rootGraph?.extra?.consistentFace) return [];
    return [null, ...COMMANDS.map((command) => ({ content: command.label, callback: command.function }))];
  },
  async nodeCreated(node) {
    if (node.comfyClass === PICKER) (await part("facePicker")).addPicker(node);
  },
  beforeRegisterNodeDef(type, { name }) {
    const show = SHOWN[name];
    if (!show) return;
    const executed = type.prototype.onExecuted;
    type.prototype.onExecuted = async function (output) {
      executed?.call(this, output);
      if (output) (await part("results"))[show](this, output);
    };
  },
});
