/**
 * Replays thirty days of a model in a few minutes and checks memory, open handles, table growth and unacknowledged alerts. Writes
 * packages/lab/half-year/thirty-days.md. `npm run bench -- thirty-days [--day 8] [--days 30] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, sumBy, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { usageCell } from '../../../test/support/servers/processes.ts'
import { momentsOf } from './resource-usage.ts'
import { runHalfYear, type HalfYear } from './run.ts'

/** `day`: seconds per recorded day. */
const { day, days, out } = readOptions({ day: 8, days: 30, out: reportFile('half-year/thirty-days.md') })
const startedMs = Date.now()
const say = (line: string) => console.log(`${Math.round((Date.now() - startedMs) / 1_000)} s  ${line}`)
const lived = await runHalfYear(
  {
    weekMs: day * 7_000,
    weeks: days / 7,
    everyNth: 6,
    together: 5,
    trainRows: 20_000,
    testRows: 10_000,
    compare: false,
  },
  say,
)
writeFileSync(out, page(lived))
say(`${out} is written`)

function page(lived: HalfYear): string {
  const { vitals, left, retrainings, releases, windows } = lived
  const moments = momentsOf(vitals)
  const [, half, last] = moments
  const requests = sumBy(lived.weeks, (week) => week.requests)
  const grown = Object.entries(last.rows)
    .filter(([, count]) => count > 0)
    .sort(([, one], [, other]) => other - one)
    .slice(0, 20)
  return [
    '# Thirty days in minutes',
    '',
    `Made by \`npm run bench -- thirty-days --day ${day} --days ${days}\` in ${Math.round((Date.now() - startedMs) / 60_000)} minutes on ${machine}, with nothing else on the machine.`,
    '',
    `The run has ${days} recorded days with ${roundedNumber(requests)} requests and ${roundedNumber(lived.outcomes)} outcomes, ${windows.length} windows, ${retrainings.length} requests for a`,
    `retraining and ${releases.length} releases. Every duration of the policies is shortened by ${roundedNumber(lived.clock.ratio)} ([time scale](../docs/half-year.md#time-scale-and-its-limits)).`,
    '',
    '## Memory and handles',
    '',
    ...figureTable(
      'process | in the beginning | half-way | at the end',
      Object.keys(last.processes).map((name) => [
        name,
        ...moments.map(({ processes }) => usageCell(processes, name)),
      ]),
    ),
    '',
    'The control worker takes snapshots in its own process. The allocator keeps the memory that DuckDB needed for one.',
    '',
    '## Rows',
    '',
    ...figureTable(
      'table | half-way | at the end',
      grown.map(([name, count]) => [`\`${name}\``, String(half.rows[name] ?? 0), String(count)]),
    ),
    '',
    'The counts come from the statistics of Postgres. Rows of the log, outcomes, counters, windows and judgements are deleted after their retention;',
    'the other tables grow with the actions of users and models.',
    '',
    '## What was left',
    '',
    ...figureTable(
      ['', ''],
      Object.entries(left).map(([what, count]) => [what, String(count)]),
    ),
    '',
  ].join('\n')
}
