/** What several pages are made of. Texts from outside are only ever children or attributes, which the renderer escapes. */
import type { Child } from 'hono/jsx'
import { raw } from 'hono/html'
import type { View } from '../page.ts'

export type Tone = 'good' | 'bad' | 'warn' | 'info' | 'quiet'

/** A word whose colour repeats what it says, and never says more. */
export const Badge = ({ tone, children }: { tone: Tone; children?: Child }): View => (
  <span class={`badge ${tone}`}>{children}</span>
)

/** A moment; read aloud and copied as ISO 8601, shown in UTC to the minute. */
export const Time = ({ at }: { at: string | undefined }): View =>
  at === undefined ? <>–</> : <time datetime={at} title={at}>{`${at.slice(0, 10)} ${at.slice(11, 16)}`}</time>

/** How long ago a moment was, in one unit. */
export const Age = ({ at, nowMs }: { at: string | undefined; nowMs: number }): View =>
  at === undefined ? (
    <>–</>
  ) : (
    <time datetime={at} title={at}>
      {durationText(nowMs - Date.parse(at))}
    </time>
  )

const units: readonly [number, string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
]

/** In its largest unit, or in two while the first is below three: `45 s`, `1 h 20 min`, `12 d`. */
export function durationText(ms: number): string {
  const index = units.findIndex(([unit]) => ms >= unit)
  const [unit, name] = units[index] ?? [1_000, 's']
  const whole = Math.max(0, Math.floor(ms / unit))
  const [small, smallName] = units[index + 1] ?? [0, '']
  const rest = small > 0 && index >= 0 && whole < 3 ? Math.floor((ms - whole * unit) / small) : 0
  return rest > 0 ? `${whole} ${name} ${rest} ${smallName}` : `${whole} ${name}`
}

/** Whole numbers with a space after each three digits. */
export const countText = (count: number): string =>
  Math.round(count)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, '\u202f')

/** Basis points as per cent. */
export const shareText = (basisPoints: number): string => `${basisPoints / 100} %`

/** A number as people compare it: four significant places, a sign when asked for. */
export function numberText(value: number | null | undefined, signed = false): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const text = Math.abs(value) >= 1_000 ? countText(value) : Number(value.toPrecision(4)).toString()
  return signed && value > 0 ? `+${text}` : text.replace(/^-/, '−')
}

/** A difference: three significant places and its sign. */
export function gainText(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  return numberText(Math.abs(value) >= 1_000 ? value : Number(value.toPrecision(3)), true)
}

export interface Column<Row> {
  head: string
  /** Numbers stand to the right. */
  numeric?: boolean
  /** Names the row, for those who hear it. */
  names?: boolean
  cell: (row: Row) => Child
}

/** A table with a caption, that scrolls by itself where it is wider than the page. `empty` says what it means that there is nothing. */
export function Table<Row>({
  caption,
  hideCaption,
  columns,
  rows,
  empty,
}: {
  caption: string
  /** The caption stands in a heading above already; it is still read aloud. */
  hideCaption?: boolean
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  empty: Child
}): View {
  if (rows.length === 0) return <p class="empty">{empty}</p>
  return (
    <div class="scroll" role="region" aria-label={caption} tabindex={0}>
      <table>
        <caption class={hideCaption ? 'aloud' : undefined}>{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ head, numeric }) => (
              <th scope="col" class={numeric ? 'number' : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {columns.map(({ names, numeric, cell }) =>
                names ? (
                  <th scope="row">{cell(row)}</th>
                ) : (
                  <td class={numeric ? 'number' : undefined}>{cell(row)}</td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** What is known of one thing, name by name. */
export const Facts = ({ facts }: { facts: readonly (readonly [name: string, value: Child])[] }): View => (
  <dl class="facts">
    {facts.map(([name, value]) => (
      <>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </>
    ))}
  </dl>
)

/**
 * A part of a page that is fetched anew every few seconds from the page's own address. What people type into must not stand in
 * it. `id` is unique on the page. What has come to its end is told a last time, with `over`, and asks no more.
 */
export const Live = ({
  id,
  target,
  everyMs = 3_000,
  over = false,
  children,
}: {
  id: string
  /** The address of the page, with its query. */
  target: string
  everyMs?: number
  over?: boolean
  children?: Child
}): View =>
  over ? (
    <div id={id}>{children}</div>
  ) : (
    <div
      id={id}
      hx-get={target}
      hx-trigger={`every ${everyMs}ms`}
      hx-select={`#${id}`}
      hx-swap="outerMorph"
      hx-sync="this:drop"
    >
      {children}
    </div>
  )

/** A chart that this process has drawn, which says itself what it shows; never a text that came from outside. */
export const Chart = ({ svg }: { svg: string }): View => <figure class="chart">{raw(svg)}</figure>

/** To the pages before and after. `target` is the path with every other part of the query. */
export const Pager = ({
  page,
  more,
  href,
}: {
  /** From 1. */
  page: number
  more: boolean
  href: (page: number) => string
}): View =>
  page === 1 && !more ? (
    <></>
  ) : (
    <nav class="pager" aria-label="More rows">
      {page > 1 && (
        <a href={href(page - 1)} rel="prev">
          Newer
        </a>
      )}
      <span class="quiet">Page {page}</span>
      {more && (
        <a href={href(page + 1)} rel="next">
          Older
        </a>
      )}
    </nav>
  )
