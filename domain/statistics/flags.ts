/** Marks rows with bytes. */

/**
 * 1 for each row of which it holds. A loop, because `from` of a typed array calls an iterator for each row and collects the values in a
 * list first.
 */
export function flags(rows: number, holds: (row: number) => boolean): Uint8Array {
  const found = new Uint8Array(rows)
  for (let row = 0; row < rows; row++) if (holds(row)) found[row] = 1
  return found
}
