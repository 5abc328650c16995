// Computes the chosen faces from the values of Analyze Faces' widgets, and back. Uses neither page nor graph.
// Faces are numbered from 1, from the left; a face's `size` is its shorter side in pixels.

/** The numbers that `index` lists, such as "1, 3". */
export function listed(index) {
  return index.split(/[\s,]+/).filter(Boolean).map(Number);
}

/** Returns the chosen numbers among faces of these sizes. */
export function chosen({ select, index, min_size }, sizes) {
  if (select === "index") return listed(index);
  const usable = sizes.map((size, position) => ({ size, number: position + 1 })).filter(({ size }) => size >= min_size);
  if (select === "largest") usable.sort((one, other) => other.size - one.size);
  return usable.slice(0, select === "all" ? usable.length : 1).map(({ number }) => number);
}

/** Returns the numbers after a click on a face: only that face or, with `several`, the others with it toggled. */
export function clicked(numbers, number, several) {
  if (!several) return [number];
  const rest = numbers.filter((other) => other !== number);
  if (rest.length === numbers.length) return [...numbers, number].sort((one, other) => one - other);
  return rest.length ? rest : numbers; // at least one face stays chosen
}

/** Returns the widget values that choose these numbers. */
export function written(numbers) {
  return { select: "index", index: numbers.join(", ") };
}
