/** Marks rows with bytes. */

/**
 * 1 for each row for which `holds` is true. A loop, because `from` of a typed array calls an iterator per row and first collects the
 * values in a list.
 */
export function flags(rows: number, holds: (row: number) => boolean): Uint8Array {
  const found = new Uint8Array(rows)
  for (let row = 0; row < rows; row++) if (holds(row)) found[row] = 1
  return found
}
