/**
 * Shows what is wrong or known to be healthy, what needs someone, the models by trouble, and what changed in the last day. What it loads
 * once goes to the page and to the streams of all that follow it; a stream gets the parts whose HTML differs from what its browser shows.
 */
import { createHash } from 'node:crypto'
import { raw } from 'hono/html'
import { z } from 'zod'
import { groupedDigits } from '../../../../domain/figures.ts'
import type { Role } from '../../../../domain/roles.ts'
import { listRecentChanges } from '../../../../store/dashboard/model-history.ts'
import { listOverviewRows, readFleet, readTraffic } from '../../../../store/dashboard/overview.ts'
import type { Database } from '../../../../store/postgres.ts'
import type { FeedEvent } from '../../change-feed.ts'
import { Live, Time } from '../../components/elements.tsx'
import { FirstVersion } from '../../components/links.tsx'
import { listHref } from '../../components/pager.tsx'
import { definePage, type PageElement } from '../../page.ts'
import { finished } from '../../render-page.tsx'
import { ModelRow, rowId, shortVersion, trafficPartMs, trafficParts, type ModelLine } from './cells.tsx'
import { maxChanges, RecentChanges } from './changes.tsx'
import {
  calmText,
  concernsOf,
  inOrderOfTrouble,
  needingSomeone,
  toneOf,
  worstOf,
  type Concern,
  type Measured,
} from './concerns.ts'
import { readMeasured } from './measured.ts'

const dayMs = 86_400_000
/** Shown at first, and more on demand. */
const rowsAtOnce = 30
const maxRows = 300
const maxNow = 5

const fields = {
  /** A part of a name. */
  q: z.string().max(100).optional(),
  rows: z.coerce.number().int().min(1).max(maxRows).default(rowsAtOnce),
}
const overviewQuery = z.strictObject(fields)
type OverviewQuery = z.infer<typeof overviewQuery>

export const streamQuery = z.strictObject({
  ...fields,
  /** The marks of the parts that the page shows. */
  seen: z.string().max(4_000).optional(),
})

/** The readers that see the same. */
export interface OverviewSubject extends OverviewQuery {
  role: Role
  /** The time zone. */
  zone: string
}

export interface OverviewData {
  measured: Measured
  concerns: Concern[]
  lines: ModelLine[]
  /** The number of models that the filter leaves. */
  found: number
  changes: Awaited<ReturnType<typeof listRecentChanges>>
  replicas: number
  /** Replicas that should be alive and are not. */
  silent: number
  nowMs: number
}

async function loadOverview(
  store: Database,
  { q = '', rows, role }: Omit<OverviewSubject, 'zone'>,
): Promise<OverviewData> {
  const fromAt = new Date(Date.now() - dayMs).toISOString()
  const [measured, fleet, changes] = await Promise.all([
    readMeasured(store),
    readFleet(store),
    listRecentChanges(store, { fromAt, limit: maxChanges + 1 }),
  ])
  const concerns = concernsOf(measured, role)
  const worst = worstOf(concerns)
  const wanted = q.trim().toLowerCase()
  const found = inOrderOfTrouble(
    measured.states.filter(({ model }) => model.toLowerCase().includes(wanted)),
    worst,
  )
  const models = found.slice(0, rows).map(({ model }) => model)
  const [shown, traffic] = await Promise.all([
    listOverviewRows(store, models),
    readTraffic(store, { models, parts: trafficParts, partMs: trafficPartMs }),
  ])
  const stageOf = new Map(measured.stages.map((stage) => [stage.state.model, stage]))
  const lines = shown.map((row) => ({
    row,
    worst: worst.get(row.model),
    traffic: traffic.get(row.model),
    minute: measured.minutes.get(row.model),
    stage: stageOf.get(row.model),
    nowMs: fleet.nowMs,
  }))
  return { measured, concerns, lines, found: found.length, changes, ...fleet }
}

/** The parts of the page, each with its id, as HTML. */
interface Parts {
  sentence: string
  now: string
  rows: string[]
  more: string
  changes: string
  /** The ids of the rows in order. */
  order: string[]
}

export function partsOf(data: OverviewData, query: OverviewQuery, zone: string): Parts {
  const htmlOf = (part: PageElement) => finished(String(part), zone)
  return {
    sentence: htmlOf(<Sentence {...data} />),
    now: htmlOf(<Now {...data} />),
    rows: data.lines.map((line) => htmlOf(<ModelRow {...line} />)),
    more: htmlOf(<More {...data} query={query} />),
    changes: htmlOf(<RecentChanges {...data} />),
    order: data.lines.map(({ row }) => rowId(row.model)),
  }
}

/** Tells a text from others by 30 bits. */
const markOf = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 5)

const seenOf = ({ sentence, now, rows, more, changes, order }: Parts): string =>
  [sentence, now, ...rows, more, changes, order.join(' ')].map(markOf).join('.')

/** Returns the event with what differs from what a browser shows; undefined when nothing does. */
export function eventOf(parts: Parts, seen = ''): FeedEvent | undefined {
  const known = new Set(seen.split('.'))
  const isNew = (text: string) => !known.has(markOf(text))
  const { sentence, now, rows, more, changes, order } = parts
  const changed = [sentence, now, ...rows, more, changes].filter(isNew)
  const isMoved = isNew(order.join(' '))
  if (changed.length === 0 && !isMoved) return undefined
  const data = JSON.stringify({ parts: changed, ...(isMoved && { order }) })
  return { id: seenOf(parts), event: 'parts', data }
}

/** Loads what the readers of each of these subjects see now, once for all of them. */
export async function lookAtOverview(
  store: Database,
  subject: OverviewSubject,
): Promise<(seen: string | undefined) => FeedEvent | undefined> {
  const parts = partsOf(await loadOverview(store, subject), subject, subject.zone)
  return (seen) => eventOf(parts, seen)
}

export const overviewPage = definePage<OverviewData, OverviewQuery>({
  query: overviewQuery,
  load: ({ store }, { query, actor }) => loadOverview(store, { ...query, role: actor.role }),
  title: () => 'Tenure',
  view(data, { target, query, zone }) {
    const parts = partsOf(data, query, zone)
    return (
      <>
        <Live id="overview" target={target} stream={listHref('/changes', { ...query, seen: seenOf(parts) })}>
          {raw(parts.sentence)}
          {raw(parts.now)}
          <section id="models" aria-label="Models">
            <Filter q={query.q} count={data.measured.states.length} />
            <table class="lines">
              <caption class="aloud">Models, those in trouble first</caption>
              <thead>
                <tr>
                  <th scope="col">
                    <span class="aloud">State</span>
                  </th>
                  <th scope="col">Model</th>
                  <th scope="col">Live</th>
                  <th scope="col" class="at">
                    Since
                  </th>
                  <th scope="col" class="spark" aria-hidden="true">
                    10 min
                  </th>
                  <th scope="col" class="number">
                    Failed<span class="wide"> (1 min)</span>
                  </th>
                  <th scope="col" class="quality">
                    Quality
                  </th>
                  <th scope="col" class="release">
                    Release
                  </th>
                </tr>
              </thead>
              <tbody>{raw(parts.rows.join(''))}</tbody>
            </table>
            {raw(parts.more)}
          </section>
          {raw(parts.changes)}
        </Live>
        <section aria-labelledby="lanes-title">
          <h2 id="lanes-title">Timeline</h2>
          <div
            id="time-line"
            hx-get="/timeline"
            hx-trigger="revealed"
            hx-select="#time-line"
            hx-swap="outerHTML"
          >
            <a href="/timeline">The last 7 days</a>
          </div>
        </section>
      </>
    )
  },
})

/** Says what is wrong most of all, or what is known to be healthy. */
const Sentence = ({ concerns, measured, lines, nowMs }: OverviewData): PageElement => {
  const [worst] = concerns
  const first = measured.states.every(({ version }) => version === undefined) ? lines[0]?.row : undefined
  const { text, tone } =
    worst === undefined ? calmText(measured) : { text: worst.text, tone: toneOf(worst.kind) }
  return (
    <header id="sentence" class={`sentence ${tone}`}>
      <h1>{text}</h1>
      {worst !== undefined && (
        <p>
          <Facts concern={worst} nowMs={nowMs} />
          <ActionLink concern={worst} />
        </p>
      )}
      {worst === undefined && first !== undefined && (
        <p class="quiet">
          <FirstVersion {...first} />
        </p>
      )}
    </header>
  )
}

/** The version and since when. */
const Facts = ({
  concern: { version, since, model },
  nowMs,
}: {
  concern: Concern
  nowMs: number
}): PageElement => (
  <>
    {version !== undefined && model !== undefined && (
      <span class="quiet nowrap">{shortVersion(model, version)} </span>
    )}
    {since !== undefined && (
      <span class="quiet nowrap">
        since <Time at={since} shows={nowMs - Date.parse(since) < dayMs ? 'minute' : undefined} />{' '}
      </span>
    )}
  </>
)

const ActionLink = ({ concern: { action, text } }: { concern: Concern }): PageElement => (
  <a class="button second" href={action.href}>
    {action.word}
    <span class="aloud"> {text}</span>
  </a>
)

const Now = ({ concerns, nowMs }: OverviewData): PageElement => {
  const asking = needingSomeone(concerns)
  const more = asking.length - maxNow
  if (asking.length === 0) return <div id="now"></div>
  return (
    <section id="now">
      <h2>Now</h2>
      <ul class="plain-list now">
        {asking.slice(0, maxNow).map((concern) => (
          <li class={toneOf(concern.kind)}>
            <div>
              <strong>{concern.text}</strong> <Facts concern={concern} nowMs={nowMs} />
              {concern.detail !== undefined && <span class="quiet small detail">{concern.detail}</span>}
            </div>
            <ActionLink concern={concern} />
          </li>
        ))}
      </ul>
      {more > 0 && (
        <p class="small">
          <a
            href={
              asking.slice(maxNow).some(({ kind }) => kind === 'critical' || kind === 'warning')
                ? '/alerts'
                : '#models'
            }
          >
            and {groupedDigits(more)} more
          </a>
        </p>
      )}
    </section>
  )
}

/** A reload leaves it alone, with what is typed in it. Without script it is a form. */
const Filter = ({ q, count }: { q: string | undefined; count: number }): PageElement => (
  <form method="get" action="/" role="search" aria-label="Models" hx-morph-skip>
    <label class="aloud" for="q">
      Filter models
    </label>
    <input
      id="q"
      name="q"
      value={q}
      placeholder={`Filter ${groupedDigits(count)} ${count === 1 ? 'model' : 'models'}`}
      maxlength={100}
      autocomplete="off"
      hx-get="/"
      hx-trigger="input changed delay:200ms"
      hx-target="#overview"
      hx-select="#overview"
      hx-swap="outerMorph"
      hx-sync="#overview:replace"
    />
  </form>
)

/** How many of the models are shown, and a link to more. */
const More = ({
  lines,
  found,
  measured,
  replicas,
  silent,
  query,
}: OverviewData & { query: OverviewQuery }): PageElement => {
  const rows = Math.min(maxRows, lines.length + rowsAtOnce)
  const next = listHref('/', { ...query, rows })
  return (
    <div id="more">
      {measured.states.length === 0 ? (
        <p class="empty">
          No models yet. Add a file to <code>models/</code>, run <code>tenure models sync</code>, and train it
          with <code>tenure retrain &lt;model&gt;</code>.
        </p>
      ) : (
        found === 0 && <p class="empty">No model has this in its name.</p>
      )}
      <p class="quiet small">
        {found > lines.length && [
          `${groupedDigits(lines.length)} of ${groupedDigits(found)} models · `,
          rows > lines.length ? (
            <a
              href={next}
              hx-get={next}
              hx-target="#overview"
              hx-select="#overview"
              hx-swap="outerMorph"
              hx-sync="#overview:replace"
            >
              {Math.min(rows, found) - lines.length} more
            </a>
          ) : (
            'filter to see others'
          ),
          ' · ',
        ]}
        {silent > 0 && [replicas, ' of ']}
        {replicas + silent} {replicas + silent === 1 ? 'replica' : 'replicas'} healthy
      </p>
    </div>
  )
}
