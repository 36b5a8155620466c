/** Searches models, versions, releases, runs and the audit log with the access of a key, and names the page of each result. */
import * as schema from '../../domain/schema.ts'
import { searchRow, searchRows, type SearchRow } from '../../store/dashboard/lists.ts'
import type { Store } from '../../store/postgres.ts'

/** A result with the path of its page. */
export const searchResult = schema.extend(searchRow, { path: schema.text })
export type SearchResult = schema.TypeOf<typeof searchResult>

export const maxSearchLength = 200
const maxWords = 8

/** Returns at most `limit` results of each kind; none for an empty query. */
export async function searchEverything(
  { store }: { store: Store },
  { text, limit }: { text: string; limit: number },
): Promise<SearchResult[]> {
  const words = text.split(/\s+/).filter(Boolean).slice(0, maxWords)
  if (words.length === 0) return []
  const found = await searchRows(store, { words, limit })
  return found.map((row) => ({ ...row, path: pathOf(row) }))
}

function pathOf({ kind, id, model }: SearchRow): string {
  const [name, of] = [encodeURIComponent(id), encodeURIComponent(model ?? '')]
  switch (kind) {
    case 'model':
      return `/models/${name}`
    case 'version':
      return `/models/${of}/versions/${name}`
    case 'release':
      return `/releases/${name}`
    case 'retraining':
      return `/retrainings/${name}`
    case 'sweep':
      return `/sweeps/${name}`
    case 'audit':
      return `/audit?before=${Number(id) + 1}`
    default:
      return kind satisfies never
  }
}
