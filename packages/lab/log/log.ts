/**
 * Measures the prediction log and writes packages/lab/log/log.md: the fastest method of ingestion, and whether the row account is exact after
 * repeated kills. `npm run bench -- log [--rounds 3] [--kills 20] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { measureIngest, shapes, ways, type Measured } from './ingest.ts'
import { killAgainAndAgain, type KillsReport } from '../../../test/support/serving/log-kills.ts'

const options = readOptions({ rounds: 3, kills: 20, out: reportFile('log/log.md') })
const measured = await measureIngest({ rounds: options.rounds, ms: 1_000 })
const kills = await killAgainAndAgain({ kills: options.kills, loadMs: 1_000 })
const text = report(measured, kills)
writeFileSync(options.out, text)
console.log(text)
if (kills.served !== kills.stored + kills.dropped || kills.rows !== kills.stored || kills.open > 0)
  process.exitCode = 1

function report(all: readonly Measured[], killed: KillsReport): string {
  const cell = (name: string, way: string): string => {
    const found = all.filter((each) => each.shape.name === name && each.way === way)
    const { rows, megabytes, nodeUs } = found.sort((a, b) => a.rows - b.rows)[Math.floor(found.length / 2)]!
    return `${roundedNumber(rows)} (${megabytes.toFixed(0)} MB/s, ${nodeUs.toFixed(1)} µs)`
  }
  const { served, stored, dropped } = killed
  return [
    '# The prediction log',
    '',
    `Made by \`npm run bench -- log --rounds ${options.rounds} --kills ${options.kills}\` on ${machine};`,
    'Postgres and the process share them, and every commit waits for the disk.',
    '',
    '## Write methods',
    '',
    'The table compares ways to write the log to Postgres, in rows a second. A row is one request with all its instances. In brackets are the bytes and',
    'the processor time of a row, including its encoding. The ways take turns in each round, and figures are medians.',
    '',
    ...figureTable(
      ['', ...shapes.map(({ name }) => name)],
      ways.map(({ name }) => [name, ...shapes.map((shape) => cell(shape.name, name))]),
    ),
    '',
    '## Conservation of rows after kills',
    '',
    `The API was killed ${killed.kills} times with SIGKILL under the load of 16 callers. Before ${killed.outages} of these kills Postgres had been`,
    'killed or frozen; it came back before or after the API did. The table sums the accounts of all processes:',
    '',
    ...figureTable(
      'served | stored | dropped | stored + dropped | rows in the table | answers that callers have got',
      [[served, stored, dropped, stored + dropped, killed.rows, killed.answered].map(roundedNumber)],
      { names: '--:' },
    ),
    '',
    `${killed.open} accounts stayed open. At each kill up to 16 responses were in flight, so *served* may exceed the received responses by ${roundedNumber(killed.inFlight)};`,
    `the difference is ${roundedNumber(served - killed.answered)}.`,
    '',
  ].join('\n')
}
