/** Shows what matches some words: the page of the search, and the list of the dialog that each page opens with Ctrl K. */
import { z } from 'zod'
import { maxSearchLength, searchEverything, type SearchResult } from '../../../services/search.ts'
import { definePage, type PageElement } from '../../page.ts'
import { Age, Badge, TextField } from '../../components/elements.tsx'

const maxOfAKind = 5

export const searchPage = definePage({
  query: z.strictObject({ q: z.string().trim().max(maxSearchLength).optional() }),
  async load({ store }, { actor, query: { q = '' } }) {
    return {
      text: q,
      found: await searchEverything({ store }, actor, { text: q, limit: maxOfAKind }),
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
              <Badge tone="quiet">{kind}</Badge> <strong>{name}</strong>{' '}
              <span class="quiet small">
                {detail?.slice(0, 160)}
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
