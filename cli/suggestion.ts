/** The word that was probably meant. Nobody should have to read a page of help for a transposed letter. */

/** At most every third letter may be wrong; the first of several that are as near. */
export function nearestOf(word: string, known: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(word.length / 3))
  const near = known
    .map((each) => ({
      each,
      distance: each.startsWith(word) && word.length > 1 ? 1 : distanceOf(word, each),
    }))
    .filter(({ distance }) => distance <= most)
  return near.toSorted((one, other) => one.distance - other.distance)[0]?.each
}

/** Letters changed, left out, added or swapped with their neighbour (optimal string alignment). */
function distanceOf(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row[j] = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
