/** Runs calls for many models or views, some at once, because one after another a remote server would need minutes for a thousand. */

const maxAtOnce = 16

/** The results in the order of the items. After an error no further item is begun. */
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
