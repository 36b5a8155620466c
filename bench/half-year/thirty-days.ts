/**
 * Replays thirty days of a model in a few minutes and checks memory, open handles, table growth and unacknowledged alerts. Writes
 * bench/thirty-days.md. `npm run bench:thirty-days -- [--day 8] [--days 30] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../temporal.config.ts'
import type { HalfYear } from './settings.ts'
import { runHalfYear } from './run.ts'
import type { Vitals } from './resource-usage.ts'

const { values } = parseArgs({
  options: {
    /** Seconds per recorded day. */
    day: { type: 'string', default: '8' },
    days: { type: 'string', default: '30' },
    out: { type: 'string', default: join(checkout, 'bench', 'thirty-days.md') },
  },
})
const days = Number(values.days)
const startedMs = Date.now()
const say = (line: string) => console.log(`${Math.round((Date.now() - startedMs) / 1_000)} s  ${line}`)
const lived = await runHalfYear(
  {
    weekMs: Number(values.day) * 7_000,
    weeks: days / 7,
    everyNth: 6,
    together: 5,
    trainRows: 20_000,
    testRows: 10_000,
    compare: false,
  },
  say,
)
writeFileSync(values.out, page(lived))
say(`${values.out} is written`)

function page(lived: HalfYear): string {
  const { vitals, left, retrainings, releases, windows } = lived
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const [first, half, last] = [
    vitals[1] ?? vitals[0]!,
    vitals[Math.floor(vitals.length / 2)]!,
    vitals.at(-1)!,
  ]
  const cell = (each: Vitals, name: string) => {
    const found = each.processes[name]
    return found === undefined ? '–' : `${found.rssMb.toFixed(0)} MB, ${found.handles} handles`
  }
  const requests = lived.weeks.reduce((sum, week) => sum + week.requests, 0)
  const grown = Object.entries(last.rows)
    .filter(([, count]) => count > 0)
    .sort(([, one], [, other]) => other - one)
    .slice(0, 20)
  return [
    '# Thirty days in minutes',
    '',
    `Made by \`npm run bench:thirty-days -- --day ${values.day} --days ${values.days}\` in ${Math.round((Date.now() - startedMs) / 60_000)} minutes on ${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.versions.node}, with nothing else on the machine.`,
    '',
    `${days} recorded days with ${requests.toLocaleString('en-US')} requests and ${lived.outcomes.toLocaleString('en-US')} outcomes, ${windows.length} windows, ${retrainings.length} requests for a`,
    `retraining and ${releases.length} releases; every duration of the policies is shortened by ${Math.round(lived.clock.ratio).toLocaleString('en-US')}. docs/half-year.md says what that means.`,
    '',
    '## Memory and handles',
    '',
    row(['process', 'in the beginning', 'half-way', 'at the end']),
    row(['---', '--:', '--:', '--:']),
    ...Object.keys(last.processes).map((name) =>
      row([name, cell(first, name), cell(half, name), cell(last, name)]),
    ),
    '',
    'The control worker takes snapshots in its own process: what DuckDB has once needed for one, the allocator keeps.',
    '',
    '## Rows',
    '',
    row(['table', 'half-way', 'at the end']),
    row(['---', '--:', '--:']),
    ...grown.map(([name, count]) => row([`\`${name}\``, String(half.rows[name] ?? 0), String(count)])),
    '',
    'As the statistics of Postgres have them. Rows of the log, of outcomes, counters, windows and judgements go with their days;',
    'the others grow with the actions of users and models.',
    '',
    '## What was left',
    '',
    row(['', '']),
    row(['---', '--:']),
    ...Object.entries(left).map(([what, count]) => row([what, String(count)])),
    '',
  ].join('\n')
}
