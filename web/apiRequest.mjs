// The request to the web service that asks for what a workflow is set to. No page, no graph.
// A workflow of ours names its endpoint: { endpoint: "/path", fields: { field: [node's title, input] } }.

const PHOTO = "ConsistentFace_LoadPhoto";
const NO_PHOTO = "none";

/** The endpoint's fields with the values that the prompt (ComfyUI's API format) gives them, in the documented order.
 *  What is connected to another node has no value to send. `photo` turns a file of the input folder into what is sent.
 */
export async function requestBody(fields, prompt, photo) {
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
export function curl(url, body) {
  const header = "-H 'content-type: application/json'";
  return `curl ${header} --data-binary @- ${url} <<'JSON'\n${JSON.stringify(body, null, 2)}\nJSON\n`;
}
