/**
 * Writes the times of a page. Elements, stored sentences and charts carry instants in UTC; the last step of rendering fills all of them in
 * the reader's zone, so that no page has two clocks, and what is cached before belongs to no reader.
 */
import {
  dueText,
  knownZone,
  sentenceMs,
  timeInSentence,
  timeText,
  wallText,
  zoneName,
  type TimeLook,
} from '../../domain/zoned-time.ts'
import { spanLook } from '../charts/axis.ts'
import { cookieIn } from '../auth/cookie.ts'

/** The script of the pages sets it to the zone of the browser. */
const zoneCookie = 'tenure_zone'

/** Returns the reader's zone; UTC without a cookie or with an unknown zone. */
export const zoneOf = (header: (name: string) => string | undefined): string =>
  knownZone(cookieIn(header('cookie'), zoneCookie) ?? 'UTC') ?? 'UTC'

const textOf = (atMs: number, zone: string, look: TimeLook): string =>
  look === 'due' ? dueText({ atMs, nowMs: Date.now() }, zone, 'time') : timeText(atMs, zone, look)

/** The time to the second with its zone, shown on hover: `2026-03-01 13:00:05 CET`. */
const titleOf = (atMs: number, zone: string): string =>
  `${textOf(atMs, zone, 'second')} ${zoneName(zone, atMs)}`

const iso = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`
const parts = new RegExp(
  [
    String.raw`<(?<code>code|pre|textarea|script)\b[^]*?</\k<code>>`,
    String.raw`(?<plain><(?<name>svg|title|option)\b[^]*?</\k<name>>)`,
    String.raw`<time datetime="(?<at>${iso})"(?<rest>[^>]*)>(?<shown>[^<]*)</time>`,
    String.raw`(?<tag><[^>]*>)`,
    `(?<sentence>${timeInSentence})`,
  ].join('|'),
  'g',
)
const sentences = new RegExp(timeInSentence, 'g')
const titled = / (?:title|aria-label)="[^"]*\d{4}-\d\d-\d\d[^"]*"/g

/** The date stays beside the time. */
const unbroken = (text: string): string => text.replaceAll(' ', '\u00a0')

/** The label of a time below a chart that is written without a chart package, which `inZone` fills like an element. */
export function timeLabel(
  { x, y, anchor = 'start' }: { x: number; y: number; anchor?: 'start' | 'end' },
  atMs: number,
  spanMs: number,
): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" data-at="${atMs}" data-shows="${spanLook(spanMs)}"></text>`
}
const labels = new RegExp(` data-at="(\\d+)" data-shows="(\\w+)">[^<]*`, 'g')

/** Fills the times of a page in a zone. What it has filled stays as it is. */
export function inZone(html: string, zone: string): string {
  const plainTime = (text: string) =>
    Number.isNaN(sentenceMs(text)) ? text : textOf(sentenceMs(text), zone, 'time')
  const plain = (text: string) =>
    text
      .replaceAll(labels, (label: string, at: string, look: TimeLook) =>
        label.replace(/>.*/, `>${textOf(Number(at), zone, look)}`),
      )
      .replaceAll(sentences, plainTime)
  return html.replaceAll(parts, (part: string, ...rest: unknown[]) => {
    const found = rest.at(-1) as Partial<
      Record<'plain' | 'at' | 'rest' | 'shown' | 'tag' | 'sentence', string>
    >
    if (found.plain !== undefined) return plain(found.plain)
    if (found.tag !== undefined) return found.tag.replaceAll(titled, plain)
    if (found.sentence !== undefined) {
      const atMs = sentenceMs(found.sentence)
      return Number.isNaN(atMs)
        ? part
        : `<time datetime="${new Date(atMs).toISOString()}" data-shows="due" title="${titleOf(atMs, zone)}">${unbroken(textOf(atMs, zone, 'due'))}</time>`
    }
    if (found.at === undefined) return part
    const atMs = Date.parse(found.at)
    const given = found.rest!
    const title = given.includes(' title="')
      ? given.replaceAll(new RegExp(iso, 'g'), (text) => titleOf(Date.parse(text), zone))
      : `${given} title="${titleOf(atMs, zone)}"`
    const look = / data-shows="(\w+)"/.exec(given)?.[1] as TimeLook | undefined
    const text = look === undefined ? found.shown! : textOf(atMs, zone, look)
    return `<time datetime="${found.at}"${title}>${unbroken(text)}</time>`
  })
}

/** Writes an instant as it may be typed: `2026-03-01 12:00`, with seconds when it has any. */
export const typedText = (at: string, zone: string): string =>
  wallText(Date.parse(at), zone)
    .replace('T', ' ')
    .replace(/\.0+$/, '')
    .replace(/(:\d\d):00$/, '$1')
