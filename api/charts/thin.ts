/** Thins out points: it keeps the first, lowest, highest and last point of every column, so that no peak is lost. */
export function thin<T>(points: readonly T[], valueOf: (point: T) => number | null, most = 800): T[] {
  if (points.length <= most) return [...points]
  const columns = Math.max(1, Math.floor(most / 4))
  const kept: T[] = []
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * points.length) / columns)
    const to = Math.floor(((column + 1) * points.length) / columns)
    const chosen = new Set([from, to - 1])
    let [lowest, highest] = [-1, -1]
    for (let i = from; i < to; i++) {
      const value = valueOf(points[i]!)
      if (value === null || !Number.isFinite(value)) continue
      if (lowest < 0 || value < valueOf(points[lowest]!)!) lowest = i
      if (highest < 0 || value > valueOf(points[highest]!)!) highest = i
    }
    if (lowest >= 0) chosen.add(lowest).add(highest)
    for (const i of [...chosen].sort((one, other) => one - other)) kept.push(points[i]!)
  }
  return kept
}
