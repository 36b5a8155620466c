/**
 * Draws the spans of one trace below each other, statements left out:
 * `node --import tsx packages/lab/interop/trace-chart.ts spans.json trace.svg`. The file is a list of spans of OTLP/JSON.
 */
import { readFileSync, writeFileSync } from 'node:fs'

interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: { key: string }[]
  links?: { traceId: string; spanId: string }[]
}

const rowHeight = 20
const left = 210
const barWidth = 640
const width = 950
const top = 34

/** The spans that are no statements, each below its parent and in the order in which they began. */
function inOrder(spans: readonly Span[]): { span: Span; depth: number }[] {
  const shown = spans.filter(({ attributes }) => !attributes.some(({ key }) => key === 'db.system.name'))
  const ids = new Set(shown.map(({ spanId }) => spanId))
  const below = (parent: string | undefined, depth: number): { span: Span; depth: number }[] =>
    shown
      .filter(({ parentSpanId = '' }) => (ids.has(parentSpanId) ? parentSpanId : undefined) === parent)
      .sort((a, b) => beganMs(a) - beganMs(b))
      .flatMap((span) => [{ span, depth }, ...below(span.spanId, depth + 1)])
  return below(undefined, 0)
}

const beganMs = ({ startTimeUnixNano }: Span): number => Number(startTimeUnixNano) / 1e6
const tookMs = (span: Span): number => Number(span.endTimeUnixNano) / 1e6 - beganMs(span)

function drawTrace(spans: readonly Span[]): string {
  const rows = inOrder(spans)
  const fromMs = Math.min(...rows.map(({ span }) => beganMs(span)))
  const wholeMs = Math.max(...rows.map(({ span }) => beganMs(span) + tookMs(span))) - fromMs
  const x = (ms: number) => left + (barWidth * (ms - fromMs)) / wholeMs
  const place = new Map(rows.map(({ span }, row) => [span.spanId, row]))
  const drawn = rows.flatMap(({ span, depth }, row) => {
    const { name, traceId, links = [] } = span
    const y = top + row * rowHeight
    const from = x(beganMs(span))
    const wide = Math.max(2, (barWidth * tookMs(span)) / wholeMs)
    const known = links.flatMap(({ spanId }) => {
      const to = place.get(spanId)
      return to === undefined ? [] : [`row ${to + 1}`]
    })
    const others = links.filter((each) => each.traceId !== traceId)
    const requests = others.map((each) => `the request, trace ${each.traceId.slice(0, 8)}…`)
    const linked = [...known, ...requests]
    const said = linked.length === 0 ? `${Math.round(tookMs(span))} ms` : `linked to ${linked.join(' and ')}`
    // A long text at the right end stands before its bar.
    const isBefore = linked.length > 0 && from > left + barWidth / 2
    const colour = others.length > 0 ? '#c2341d' : depth === 0 || name === 'release' ? '#3a4a5c' : '#4d7fb8'
    return [
      `<text x="8" y="${y + 13}" fill="#8a94a0">${row + 1}</text>`,
      `<text x="${32 + depth * 14}" y="${y + 13}">${name}</text>`,
      `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${wide.toFixed(1)}" height="${rowHeight - 7}" rx="2" fill="${colour}"/>`,
      `<text x="${(isBefore ? from - 6 : from + wide + 6).toFixed(1)}" y="${y + 13}" text-anchor="${isBefore ? 'end' : 'start'}" fill="${others.length > 0 ? colour : '#5b6672'}">${said}</text>`,
    ]
  })
  const height = top + rows.length * rowHeight + 10
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    '<title>The spans of one trace: a retraining, its release, and the rollback with a link to its request</title>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="8" y="20" font-weight="600">trace ${rows[0]?.span.traceId}</text>`,
    `<text x="${left + barWidth}" y="20" text-anchor="end" fill="#5b6672">${(wholeMs / 1_000).toFixed(1)} s</text>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n')
}

const [from, to] = process.argv.slice(2)
if (from === undefined || to === undefined) throw new Error('usage: trace-chart.ts SPANS.json TRACE.svg')
writeFileSync(to, drawTrace(JSON.parse(readFileSync(from, 'utf8')) as Span[]))
