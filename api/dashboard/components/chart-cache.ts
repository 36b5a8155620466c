/**
 * Charts that were drawn, kept for who looks next: a page that is live asks for the same few every few seconds, and each costs some
 * milliseconds in which this process answers nobody.
 */
const most = 200
const kept = new Map<string, Promise<string>>()

/** `key` names everything the chart shows. */
export function drawnOnce(key: string, draw: () => Promise<string>): Promise<string> {
  const known = kept.get(key)
  if (known !== undefined) return known
  const drawing = draw()
  drawing.catch(() => kept.delete(key))
  const [oldest] = kept.keys()
  if (kept.size >= most && oldest !== undefined) kept.delete(oldest)
  kept.set(key, drawing)
  return drawing
}
