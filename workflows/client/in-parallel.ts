/** Runs calls for many models or views concurrently. With a remote server, a thousand sequential calls would take minutes. */

const maxAtOnce = 16

/** Returns the results in the order of the items. Starts no further item after an error. */
export async function inParallel<Item, Result>(
  items: Iterable<Item>,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const waiting = [...items].entries()
  const next = async (): Promise<void> => {
    for (const [place, item] of waiting) results[place] = await work(item)
  }
  await Promise.all(Array.from({ length: maxAtOnce }, next))
  return results
}
