/** Caches the results of asynchronous work by key: the newest `max`, without failures. Simultaneous requests for one key share one run. */
export function createPromiseCache<Value>(max: number) {
  const kept = new Map<string, Promise<Value>>()
  return (key: string, make: () => Promise<Value>): Promise<Value> => {
    const known = kept.get(key)
    if (known !== undefined) return known
    const making = make()
    making.catch(() => kept.delete(key))
    const [oldest] = kept.keys()
    if (kept.size >= max && oldest !== undefined) kept.delete(oldest)
    kept.set(key, making)
    return making
  }
}
