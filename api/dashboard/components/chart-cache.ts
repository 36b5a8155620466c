/** Caches drawn charts, because live pages request the same ones every few seconds and drawing blocks the event loop. */
const maxCharts = 200
const kept = new Map<string, Promise<string>>()

/** `key` names everything the chart shows. */
export function cachedChart(key: string, draw: () => Promise<string>): Promise<string> {
  const known = kept.get(key)
  if (known !== undefined) return known
  const drawing = draw()
  drawing.catch(() => kept.delete(key))
  const [oldest] = kept.keys()
  if (kept.size >= maxCharts && oldest !== undefined) kept.delete(oldest)
  kept.set(key, drawing)
  return drawing
}
