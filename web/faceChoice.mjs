// Which faces are chosen, in the words of Analyze Faces' widgets. No page, no graph.
// Faces are numbered from 1, from the left; a face's `size` is its shorter side in pixels.

/** The numbers that `index` lists, as in "1, 3". */
export function listed(index) {
  return index.split(/[\s,]+/).filter(Boolean).map(Number);
}

/** The numbers that are chosen among faces of these sizes. */
export function chosen({ select, index, min_size }, sizes) {
  if (select === "index") return listed(index);
  const usable = sizes.map((size, position) => ({ size, number: position + 1 })).filter(({ size }) => size >= min_size);
  if (select === "largest") usable.sort((one, other) => other.size - one.size);
  return usable.slice(0, select === "all" ? usable.length : 1).map(({ number }) => number);
}

/** The numbers after a click on a face: it alone, or, for `several`, it among the others or no more. */
export function clicked(numbers, number, several) {
  if (!several) return [number];
  const rest = numbers.filter((other) => other !== number);
  if (rest.length === numbers.length) return [...numbers, number].sort((one, other) => one - other);
  return rest.length ? rest : numbers; // somebody must be chosen
}

/** What the widgets must say for these numbers to be chosen. */
export function written(numbers) {
  return { select: "index", index: numbers.join(", ") };
}
