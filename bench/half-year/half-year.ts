/**
 * Replays the real flights from February to June 2001 on a running system without an operator: late outcomes, quality alarms,
 * retrainings, gates, releases and rollbacks. It then scores the same flights with a model never retrained and one retrained weekly,
 * and writes docs/half-year.md.
 * `npm run bench:halfyear -- [--week 36] [--weeks 22] [--nth 6] [--together 5] [--out FILE] [--compare no] [--json FILE]`
 *
 * `--json` stores the figures; `--from FILE` writes the page from such a file.
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
    /** Seconds per recorded week. */
    week: { type: 'string', default: '36' },
    /** Weeks from 29 January; the records end with June. */
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

/** Restores the clock, which JSON cannot hold, from the start of the first retraining. */
function read(file: string): Kept {
  const { lived, tookMs } = JSON.parse(readFileSync(file, 'utf8')) as Kept
  const wallMs = Date.parse(lived.retrainings[0]?.asOf ?? '')
  const { weekMs } = lived.plan
  return {
    lived: { ...lived, clock: createSteppedClock({ recordedMs: firstDayMs, wallMs, weekMs }) },
    tookMs,
  }
}
