// Runs only the analysis, through ComfyUI's own queue: the loader, the photo and Analyze Faces.
const { app } = window.comfyAPI.app;
const NODE = "ConsistentFace_AnalyzeFaces";
const ENDS = ["execution_success", "execution_error", "execution_interrupted"];

/** Resolves when the run has ended, with the reason if it could not start. The run finds all faces, and a photo without
 *  a face is no error; the node receives the result as after any other run. */
export async function findFaces(node) {
  const prompt = await app.graphToPrompt();
  const id = Object.keys(prompt.output).find((key) => key.split(":").at(-1) === String(node.id));
  if (prompt.output[id]?.class_type !== NODE) return "The node is bypassed or muted.";
  Object.assign(prompt.output[id].inputs, { select: "all", without_face: "bypass" });
  let run, finish;
  const over = new Set(); // a run can end before the answer to its queueing arrives
  const end = ({ detail }) => {
    over.add(detail.prompt_id);
    if (detail.prompt_id === run) finish?.();
  };
  for (const name of ENDS) app.api.addEventListener(name, end);
  try {
    run = (await app.api.queuePrompt(-1, prompt, { partialExecutionTargets: [id] })).prompt_id;
    if (!over.has(run)) await new Promise((resolve) => (finish = resolve));
  } catch (error) {
    return reason(error);
  } finally {
    for (const name of ENDS) app.api.removeEventListener(name, end);
  }
}

/** Returns ComfyUI's first error about a node, or the message of the error. */
function reason(error) {
  const fault = Object.values(error.response?.node_errors ?? {})[0]?.errors[0];
  return fault ? `${fault.message}: ${fault.details}` : error.message;
}
