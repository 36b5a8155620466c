/** Renders elements that several pages share. Texts from outside are only children or attributes, which the renderer escapes. */
import type { Child } from 'hono/jsx'
import { raw } from 'hono/html'
import type { TimeLook } from '../../../domain/zoned-time.ts'
import type { PageElement } from '../page.ts'
import { Term } from '../glossary.tsx'

/** A sentence or a notice has the tone `warn` when somebody must act. A verdict never has it. */
export type Tone = 'good' | 'bad' | 'warn' | 'quiet'
/** A verdict is good or bad, or says in words what is missing. */
export type BadgeTone = Exclude<Tone, 'warn'>

/** Shows a state as a word. The colour only repeats the word. */
export const Badge = ({ tone, children }: { tone: BadgeTone; children?: Child }): PageElement => (
  <span class={`badge ${tone}`}>{children}</span>
)

/** Renders the parts between backticks as code. */
export const withCode = (text: string): (string | PageElement)[] =>
  text.split('`').map((part, place) => (place % 2 === 1 ? <code>{part}</code> : part))

interface TimeParts {
  /** ISO 8601 in UTC. */
  at: string | undefined
  /** `time` by default: the date and the minute. */
  shows?: TimeLook | undefined
}

/** Shows a time. Rendering ends with filling it in the reader's zone, with its zone on hover. */
export const Time = ({ at, shows = 'time' }: TimeParts): PageElement =>
  at === undefined ? (
    <>—</>
  ) : (
    <time datetime={at} data-shows={shows}>
      {at}
    </time>
  )

/** Shows the time since a moment. */
export const Age = ({ at, nowMs }: { at: string | undefined; nowMs: number }): PageElement =>
  at === undefined ? <>—</> : <time datetime={at}>{durationText(nowMs - Date.parse(at))}</time>

/** Shows a time and the time since then: `2026-11-21 05:25 (51 min)`. */
export const Since = ({ at, nowMs }: { at: string | undefined; nowMs: number }): PageElement =>
  at === undefined ? (
    <span class="quiet">—</span>
  ) : (
    <span class="nowrap">
      <Time at={at} /> <span class="quiet">({durationText(nowMs - Date.parse(at))})</span>
    </span>
  )

const units: readonly [number, string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
]

/** Formats a duration in its largest unit, with the next smaller unit below three of the largest: `45 s`, `1 h 20 min`, `12 d`. */
export function durationText(ms: number): string {
  const index = units.findIndex(([unit]) => ms >= unit)
  const [unit, name] = units[index] ?? [1_000, 's']
  const whole = Math.max(0, Math.floor(ms / unit))
  const [small, smallName] = units[index + 1] ?? [0, '']
  const rest = small > 0 && index >= 0 && whole < 3 ? Math.floor((ms - whole * unit) / small) : 0
  return rest > 0 ? `${whole} ${name} ${rest} ${smallName}` : `${whole} ${name}`
}

/** Formats basis points as per cent. */
export const shareText = (basisPoints: number): string => `${basisPoints / 100} %`

export interface TableColumn<Row> {
  head: string
  /** Aligns the cells to the right, for numbers. */
  numeric?: boolean
  /** Makes the cell the header of its row for screen readers. */
  names?: boolean
  /** Leaves out the column's name on a phone, where the cell explains itself. */
  bare?: boolean
  cell: (row: Row) => Child
}

interface TableParts<Row> {
  caption: string
  /** Shows the caption to screen readers only, because a heading above the table says the same. */
  hideCaption?: boolean
  columns: readonly TableColumn<Row>[]
  rows: readonly Row[]
  /** Shown instead of the table when there are no rows. */
  empty: Child
}

/** Renders a table with a caption. A table that is too wide scrolls inside the page. */
export function DataTable<Row>({ caption, hideCaption, columns, rows, empty }: TableParts<Row>): PageElement {
  if (rows.length === 0) return <p class="empty">{empty}</p>
  return (
    <div class="scroll" role="group" aria-label={caption} tabindex={0}>
      <table>
        <caption class={hideCaption ? 'aloud' : undefined}>{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ head, numeric }) => (
              <th scope="col" class={numeric ? 'number' : undefined}>
                <Term word={head} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {columns.map(({ head, names, numeric, bare, cell }) =>
                names ? (
                  <th scope="row">{cell(row)}</th>
                ) : (
                  <td class={numeric ? 'number' : undefined} data-head={bare ? undefined : head}>
                    {cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

export type Fact = readonly [name: string, value: Child, look?: 'code']

/** Renders pairs of name and value, without absent pairs. */
export const Facts = ({ id, facts }: { id?: string; facts: readonly (Fact | undefined)[] }): PageElement => (
  <dl class="facts" id={id}>
    {facts
      .filter((fact) => fact !== undefined)
      .map(([name, value, look]) => (
        <>
          <dt>
            <Term word={name} />
          </dt>
          <dd class={look}>{value}</dd>
        </>
      ))}
  </dl>
)

interface LivePart {
  id: string
  /** The path of the page, with its query. */
  target: string
  everyMs?: number
  /** Stops the reloads, for content that no longer changes. */
  over?: boolean
  /** The URL of a stream with an event for each change. While it is open, only events reload the part. */
  stream?: string
  children?: Child
}

/**
 * Renders a part of a page that reloads itself from the page's address, with each change or every few seconds. It must not contain form
 * fields, because a reload drops typed text.
 */
export const Live = ({ id, target, everyMs = 3_000, over, stream, children }: LivePart): PageElement =>
  over ? (
    <div id={id}>{children}</div>
  ) : (
    <div
      id={id}
      data-stream={stream}
      data-every={stream && everyMs}
      hx-get={target}
      hx-trigger={stream === undefined ? `every ${everyMs}ms` : 'changed'}
      hx-select={`#${id}`}
      hx-swap="outerMorph"
      hx-sync={stream === undefined ? 'this:drop' : 'this:queue last'}
    >
      {children}
    </div>
  )

/** Shows a chart that this process drew, with its title and description inside; never a text from outside. */
export const Chart = ({ svg }: { svg: string }): PageElement => <figure class="chart">{raw(svg)}</figure>

interface FieldParts {
  name: string
  label: string
  value?: string
  hint: string
  required?: boolean
}

/** Renders a labelled text field of a filter. */
export const TextField = ({ name, label, value = '', hint, required }: FieldParts): PageElement => (
  <div>
    <label for={name}>{label}</label>
    <input
      id={name}
      name={name}
      value={value}
      placeholder={hint}
      maxlength={200}
      required={required}
      autocomplete="off"
    />
  </div>
)

interface PagerParts {
  /** The page number, from 1. */
  page: number
  more: boolean
  href: (page: number) => string
}

/** Renders links to the previous and the next page of a numbered list. */
export const Pager = ({ page, more, href }: PagerParts): PageElement =>
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
