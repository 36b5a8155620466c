/**
 * Replays the real flights from February to June 2001 on a running system without an operator: late outcomes, quality alarms,
 * retrainings, gates, releases and rollbacks. It then scores the same flights with a model never retrained and one retrained weekly,
 * and writes docs/half-year.md.
 * `npm run bench -- halfyear [--week 36] [--weeks 22] [--nth 6] [--together 5] [--out FILE] [--compare no] [--json FILE]`
 *
 * `--json` stores the figures; `--from FILE` writes the page from such a file.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { readOptions } from '../harness/options.ts'
import { createSteppedClock } from './clock.ts'
import { chartOf } from './chart.ts'
import { reportPage } from './report.ts'
import { firstDayMs, runHalfYear, type HalfYear } from './run.ts'

const options = readOptions({
  /** Seconds per recorded week. */
  week: 36,
  /** Weeks from 29 January; the records end with June. */
  weeks: 22,
  nth: 6,
  together: 5,
  compare: 'yes',
  json: '',
  from: '',
  out: join(checkout, 'docs', 'half-year.md'),
})
const startedMs = Date.now()
const say = (line: string) =>
  console.log(`${String(Math.round((Date.now() - startedMs) / 1_000)).padStart(4)} s  ${line}`)
const kept = options.from === '' ? await live() : read(options.from)
const chart = join(dirname(options.out), 'images', `${basename(options.out, '.md')}.svg`)
mkdirSync(dirname(chart), { recursive: true })
writeFileSync(chart, chartOf(kept.lived))
writeFileSync(
  options.out,
  reportPage(kept.lived, { tookMs: kept.tookMs, chart: relative(dirname(options.out), chart) }),
)
if (options.json !== '') writeFileSync(options.json, JSON.stringify(kept))
say(`${options.out} is written`)

interface Kept {
  lived: HalfYear
  tookMs: number
}

async function live(): Promise<Kept> {
  const lived = await runHalfYear(
    {
      weekMs: options.week * 1_000,
      weeks: options.weeks,
      everyNth: options.nth,
      together: options.together,
      trainRows: 40_000,
      testRows: 20_000,
      compare: options.compare === 'yes',
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
