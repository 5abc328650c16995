// Menu entries that copy the open workflow as a request to the web service, without a key.
// A workflow of ours names its endpoint: { endpoint: "/path", fields: { field: [node's title, input] } }.
import { app } from "../../scripts/app.js";

const PHOTO = "ConsistentFace_LoadPhoto";
const NO_PHOTO = "none";
const PORT = 8190; // where `python dev.py serve` answers

/** Which endpoint the open workflow answers, if it is one of ours. */
function endpoint() {
  return app.rootGraph?.extra?.consistentFace;
}

/** The endpoint's fields with the values that the prompt (ComfyUI's API format) gives them, in the documented order.
 *  What is connected to another node has no value to send. `photo` turns a file of the input folder into what is sent.
 */
async function requestBody(fields, prompt, photo) {
  const body = {};
  const nodes = Object.values(prompt);
  for (const [field, [title, input]] of Object.entries(fields)) {
    const node = nodes.find((node) => node._meta.title === title);
    const value = node?.inputs[input];
    if (value === undefined || Array.isArray(value)) continue;
    if (node.class_type !== PHOTO) body[field] = value;
    else if (value !== NO_PHOTO) body[field] = await photo(value);
  }
  return body;
}

/** A command for a POSIX shell. The body goes through standard input: a photo is longer than an argument may be. */
function curl(url, body) {
  const header = "-H 'content-type: application/json'";
  return `curl ${header} --data-binary @- ${url} <<'JSON'\n${JSON.stringify(body, null, 2)}\nJSON\n`;
}

/** A picture of ComfyUI's input folder, as the service takes it. */
async function asDataUri(name) {
  const [folder, filename] = [name.replace(/[^/]*$/, ""), name.split("/").at(-1)];
  const query = new URLSearchParams({ filename, subfolder: folder.replace(/\/$/, ""), type: "input" });
  const answer = await app.api.fetchApi(`/view?${query}`);
  if (!answer.ok) throw new Error(`The photo ${name} is not in ComfyUI's input folder: choose or upload one.`);
  const reader = new FileReader();
  const read = new Promise((resolve) => (reader.onload = () => resolve(reader.result)));
  reader.readAsDataURL(await answer.blob());
  return read;
}

async function copy(write) {
  const asked = endpoint();
  try {
    if (!asked) throw new Error("This workflow answers no endpoint: open one of Consistent Face's templates.");
    const { output } = await app.graphToPrompt();
    const body = await requestBody(asked.fields, output, asDataUri);
    const url = `http://${location.hostname}:${PORT}${asked.endpoint}`;
    await toClipboard(write(url, body));
    say("success", `POST ${asked.endpoint} is on the clipboard. Where the service has keys, add yours.`);
  } catch (error) {
    say("error", error.message);
  }
}

/** Browsers give pages without HTTPS, unless on this machine, the old way alone. */
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("The browser lets this page write nothing on the clipboard: open it through HTTPS.");
}

function say(severity, detail) {
  app.extensionManager.toast.add({ severity, summary: "Copy as API request", detail, life: 5000 });
}

const COMMANDS = [
  {
    id: "consistentFace.copyCurl",
    label: "Copy as API request (curl)",
    icon: "pi pi-copy",
    function: () => copy(curl),
  },
  {
    id: "consistentFace.copyJson",
    label: "Copy as API request (JSON)",
    icon: "pi pi-copy",
    function: () => copy((url, body) => JSON.stringify(body, null, 2)),
  },
];

app.registerExtension({
  name: "consistentFace.copyRequest",
  commands: COMMANDS,
  menuCommands: [{ path: ["File"], commands: COMMANDS.map((command) => command.id) }],
  getCanvasMenuItems() {
    if (!endpoint()) return [];
    return [null, ...COMMANDS.map((command) => ({ content: command.label, callback: command.function }))];
  },
});
