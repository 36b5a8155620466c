/** Shows search results: the search page, and the list in the dialog that Ctrl K opens on each page. */
import { z } from 'zod'
import { maxSearchLength, searchEverything, type SearchResult } from '../../../services/search.ts'
import { definePage, type PageElement } from '../../page.ts'
import { Age, Badge, TextField } from '../../components/elements.tsx'
import { truncated } from '../../../charts/figures.ts'
import { plain, shortReason, withoutFirst } from '../../labels.ts'

const maxOfAKind = 5

export const searchPage = definePage({
  query: z.strictObject({ q: z.string().trim().max(maxSearchLength).optional() }),
  async load({ store }, { query: { q = '' } }) {
    return {
      text: q,
      found: await searchEverything({ store }, { text: q, limit: maxOfAKind }),
      nowMs: Date.now(),
    }
  },
  title: ({ text }) => (text === '' ? 'Search' : `Search: ${text}`),
  view: ({ text, found, nowMs }) => (
    <>
      <h1>Search</h1>
      <form class="filter" method="get" action="/search" role="search">
        <TextField name="q" label="Words" value={text} hint="flight-delay rolled back" />
        <button>Search</button>
      </form>
      <section class="card">
        <Results text={text} found={found} nowMs={nowMs} />
      </section>
    </>
  ),
})

/** Shows a retraining by the name of its model, because its id has no meaning for the reader. */
const nameText = (name: string): string => /^retrain\/([^/]+)\//.exec(name)?.[1] ?? name

/** Converts identifiers to words: `rolled_back: 7 of 533 …` → `rolled back: 7 of 533 …`, and `rolled_back: rolled back by ada` once. */
export function detailText(detail: string): string {
  const [, state = '', reason] = /^([a-z_]+)(?:: (.*))?$/s.exec(detail) ?? []
  if (state === '') return shortReason(detail)
  return shortReason(
    reason === undefined ? plain(state) : `${plain(state)}: ${withoutFirst(plain(state), reason)}`,
  )
}

const Results = ({
  text,
  found,
  nowMs,
}: {
  text: string
  found: SearchResult[]
  nowMs: number
}): PageElement => (
  <div id="results">
    {found.length === 0 ? (
      <p class="empty" role="status">
        {text === ''
          ? 'Type a model, a version, an outcome or a name.'
          : 'No results. Each result contains every word.'}
      </p>
    ) : (
      <ul class="plain-list results">
        {found.map(({ kind, name, detail, at, path }) => (
          <li>
            <a href={path}>
              <Badge tone="quiet">{kind}</Badge> <strong>{nameText(name)}</strong>{' '}
              <span class="quiet small">
                {detail !== undefined && truncated(detailText(detail), 160)}
                {at !== undefined && (
                  <>
                    {' '}
                    · <Age at={at} nowMs={nowMs} /> ago
                  </>
                )}
              </span>
            </a>
          </li>
        ))}
      </ul>
    )}
  </div>
)
