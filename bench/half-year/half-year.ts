/**
 * Replays the real flights from February to June 2001 on a real running system that nobody touches: outcomes come late, the
 * monitor sees the quality move, asks for retrainings, the gate judges, releases go through or are taken back. Then the same
 * flights are put to a model that was never retrained and to one that was retrained every week. Writes docs/half-year.md.
 * `npm run bench:halfyear -- [--week 36] [--weeks 22] [--nth 6] [--together 5] [--out FILE] [--compare no] [--json FILE]`
 *
 * `--json` keeps the figures as well, and `--from FILE` writes the page from such a file again.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../temporal.config.ts'
import { createSteppedClock } from './clock.ts'
import { chartOf } from './chart.ts'
import type { HalfYear } from './settings.ts'
import { reportPage } from './report.ts'
import { firstDayMs, runHalfYear } from './run.ts'

const { values } = parseArgs({
  options: {
    /** Seconds that a recorded week takes. */
    week: { type: 'string', default: '36' },
    /** From 29 January on; the records end with June. */
    weeks: { type: 'string', default: '22' },
    nth: { type: 'string', default: '6' },
    together: { type: 'string', default: '5' },
    compare: { type: 'string', default: 'yes' },
    json: { type: 'string' },
    from: { type: 'string' },
    out: { type: 'string', default: join(checkout, 'docs', 'half-year.md') },
  },
})
const startedMs = Date.now()
const say = (line: string) =>
  console.log(`${String(Math.round((Date.now() - startedMs) / 1_000)).padStart(4)} s  ${line}`)
const kept = values.from === undefined ? await live() : read(values.from)
mkdirSync(dirname(values.out), { recursive: true })
const chart = values.out.replace(/\.md$/, '.svg')
writeFileSync(chart, chartOf(kept.lived))
writeFileSync(values.out, reportPage(kept.lived, { tookMs: kept.tookMs, chart: basename(chart) }))
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(kept))
say(`${values.out} is written`)

interface Kept {
  lived: HalfYear
  tookMs: number
}

async function live(): Promise<Kept> {
  const lived = await runHalfYear(
    {
      weekMs: Number(values.week) * 1_000,
      weeks: Number(values.weeks),
      everyNth: Number(values.nth),
      together: Number(values.together),
      trainRows: 40_000,
      testRows: 20_000,
      compare: values.compare === 'yes',
    },
    say,
  )
  return { lived, tookMs: Date.now() - startedMs }
}

/** The clock has no text; the first retraining was asked for as of its beginning. */
function read(file: string): Kept {
  const { lived, tookMs } = JSON.parse(readFileSync(file, 'utf8')) as Kept
  const wallMs = Date.parse(lived.retrainings[0]?.asOf ?? '')
  const { weekMs } = lived.plan
  return {
    lived: { ...lived, clock: createSteppedClock({ recordedMs: firstDayMs, wallMs, weekMs }) },
    tookMs,
  }
}
