/**
 * Writes the times of a page. Elements, stored sentences and charts carry instants in UTC; the last step of rendering fills all of them in
 * the reader's zone, so that no page has two clocks, and what is cached before belongs to no reader.
 */
import { instantMs, knownZone, wallText, zoneName } from '../../domain/zoned-time.ts'
import { cookieIn } from '../auth/cookie.ts'

/** The script of the pages sets it to the zone of the browser. */
const zoneCookie = 'tenure_zone'

/** Returns the reader's zone; UTC without a cookie or with an unknown zone. */
export const zoneOf = (header: (name: string) => string | undefined): string =>
  knownZone(cookieIn(header('cookie'), zoneCookie) ?? 'UTC') ?? 'UTC'

/** `time` is the date and the minute, `clock` the time of the day to the second, `minute` to the minute; `due` of a time to come. */
export type TimeLook = 'time' | 'second' | 'milliseconds' | 'clock' | 'minute' | 'day' | 'due'

const slices: Readonly<Record<Exclude<TimeLook, 'due'>, [number, number]>> = {
  time: [0, 16],
  second: [0, 19],
  milliseconds: [0, 23],
  clock: [11, 19],
  minute: [11, 16],
  day: [0, 10],
}

function textOf(atMs: number, zone: string, look: TimeLook): string {
  if (look === 'due') return dueText(atMs, zone)
  const [from, to] = slices[look]
  return wallText(atMs, zone).slice(from, to).replace('T', ' ')
}

/** Within this time, a time to come also says how long it is until then. */
const nearMs = 2 * 3_600_000

/** `13:00 (in 9 min)` when it is near, else the date and the minute. */
function dueText(atMs: number, zone: string): string {
  const leftMs = atMs - Date.now()
  if (leftMs < 0 || leftMs > nearMs) return textOf(atMs, zone, 'time')
  const minutes = Math.round(leftMs / 60_000)
  return `${textOf(atMs, zone, 'minute')} (${minutes === 0 ? 'now' : `in ${minutes} min`})`
}

/** The time to the second with its zone, shown on hover: `2026-03-01 13:00:05 CET`. */
const titleOf = (atMs: number, zone: string): string =>
  `${textOf(atMs, zone, 'second')} ${zoneName(zone, atMs)}`

const iso = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`
/** Times in sentences; those of options are left out, because they are to be pasted. */
const inSentence = String.raw`(?<!--[a-z-]+ )(?<!\d)\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?Z|[ \u00a0]\d\d:\d\d(?::\d\d(?:\.\d+)?)? UTC)`
const parts = new RegExp(
  [
    String.raw`<(?<code>code|pre|textarea|script)\b[^]*?</\k<code>>`,
    String.raw`(?<plain><(?<name>svg|title|option)\b[^]*?</\k<name>>)`,
    String.raw`<time datetime="(?<at>${iso})"(?<rest>[^>]*)>(?<shown>[^<]*)</time>`,
    String.raw`(?<tag><[^>]*>)`,
    `(?<sentence>${inSentence})`,
  ].join('|'),
  'g',
)
const sentences = new RegExp(inSentence, 'g')
const titled = / (?:title|aria-label)="[^"]*\d{4}-\d\d-\d\d[^"]*"/g

/** The date stays beside the time. */
const unbroken = (text: string): string => text.replaceAll(' ', '\u00a0')

const msOf = (text: string): number => Date.parse(text.replace(/[ \u00a0](\d\d:\S+) UTC/, 'T$1Z'))

/** The label of a time below a chart that is written without a chart package, which `inZone` fills like an element. */
export function timeLabel(
  { x, y, anchor = 'start' }: { x: number; y: number; anchor?: 'start' | 'end' },
  atMs: number,
  spanMs: number,
): string {
  const look: TimeLook = spanMs < 3 * 60_000 ? 'clock' : spanMs < 36 * 3_600_000 ? 'minute' : 'day'
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" data-at="${atMs}" data-shows="${look}"></text>`
}
const labels = new RegExp(` data-at="(\\d+)" data-shows="(\\w+)">[^<]*`, 'g')

/** Fills the times of a page in a zone. What it has filled stays as it is. */
export function inZone(html: string, zone: string): string {
  const plainTime = (text: string) => (Number.isNaN(msOf(text)) ? text : textOf(msOf(text), zone, 'time'))
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
      const atMs = msOf(found.sentence)
      return Number.isNaN(atMs)
        ? part
        : `<time datetime="${new Date(atMs).toISOString()}" data-shows="due" title="${titleOf(atMs, zone)}">${unbroken(dueText(atMs, zone))}</time>`
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

/** Returns the instant of a time as typed on a clock of the zone, in ISO 8601: `2026-03-01`, `2026-03-01 12:00`. Other texts stay. */
export function typedInstant(typed: string, zone: string): string {
  const [, day, clock = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?$/.exec(typed.trim()) ?? []
  const wall = Date.parse(`${day}T${clock}Z`)
  // 2026-02-31 would be a day in March.
  const isTime = !Number.isNaN(wall) && new Date(wall).toISOString().startsWith(day!)
  return !isTime ? typed.trim() : new Date(instantMs(wall, zone)).toISOString()
}

/** Writes an instant as it may be typed: `2026-03-01 12:00`, with seconds when it has any. */
export const typedText = (at: string, zone: string): string =>
  wallText(Date.parse(at), zone)
    .replace('T', ' ')
    .replace(/\.0+$/, '')
    .replace(/(:\d\d):00$/, '$1')
