// Copies the open workflow as a request to the web service, without a key.
const { curl, requestBody } = await import(`./apiRequest.mjs${new URL(import.meta.url).search}`);
const { app } = window.comfyAPI.app;
const PORT = 8190; // the port of `python dev.py serve`

export const copyCurl = () => copy(curl);
export const copyJson = () => copy((url, body) => JSON.stringify(body, null, 2));

/** Reads a picture of ComfyUI's input folder in the form that the service accepts. */
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
  const asked = app.rootGraph?.extra?.consistentFace; // the workflow's endpoint, if it is one of our templates
  try {
    if (!asked) throw new Error("This workflow has no endpoint in the web service: open a Consistent Face template.");
    const { output } = await app.graphToPrompt();
    const body = await requestBody(asked.fields, output, asDataUri);
    const url = `http://${location.hostname}:${PORT}${asked.endpoint}`;
    await toClipboard(write(url, body));
    say("success", `The request POST ${asked.endpoint} is on the clipboard. If the service requires a key, add yours.`);
  } catch (error) {
    say("error", error.message);
  }
}

/** Copies by execCommand: browsers have no other way for remote pages without HTTPS. */
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("The browser does not let this page write to the clipboard: open it through HTTPS.");
}

function say(severity, detail) {
  app.extensionManager.toast.add({ severity, summary: "Copy as API request", detail, life: 5000 });
}
