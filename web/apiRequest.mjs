// Writes the request to the web service that has a workflow's settings. Uses neither page nor graph.
// Our workflows name their endpoint: { endpoint: "/path", fields: { field: [node's title, input] } }.

const PHOTO = "ConsistentFace_LoadPhoto";
const NO_PHOTO = "none";

/** Returns the endpoint's fields with their values in the prompt (ComfyUI's API format), in the documented order.
 *  Inputs that are connected to another node have no value to send. `photo` encodes a file of the input folder.
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

/** Returns a command for a POSIX shell. The body goes to standard input, since a photo is too long for an argument. */
export function curl(url, body) {
  const header = "-H 'content-type: application/json'";
  return `curl ${header} --data-binary @- ${url} <<'JSON'\n${JSON.stringify(body, null, 2)}\nJSON\n`;
}
