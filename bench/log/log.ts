/**
 * Measures the prediction log and writes bench/log.md: the fastest method of ingestion, and whether the row account is exact after
 * repeated kills. `npm run bench:log -- [--rounds 3] [--kills 20] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../temporal.config.ts'
import { measureIngest, shapes, ways, type Measured } from './ingest.ts'
import { killAgainAndAgain, type KillsReport } from './kills.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    kills: { type: 'string', default: '20' },
    out: { type: 'string', default: join(checkout, 'bench', 'log.md') },
  },
})
const measured = await measureIngest({ rounds: Number(values.rounds), ms: 1_000 })
const kills = await killAgainAndAgain({ kills: Number(values.kills), loadMs: 1_000 })
const text = report(measured, kills)
writeFileSync(values.out, text)
console.log(text)
if (kills.served !== kills.stored + kills.dropped || kills.rows !== kills.stored || kills.open > 0)
  process.exitCode = 1

function report(all: readonly Measured[], killed: KillsReport): string {
  const cell = (name: string, way: string): string => {
    const found = all.filter((each) => each.shape.name === name && each.way === way)
    const { rows, megabytes, nodeUs } = found.sort((a, b) => a.rows - b.rows)[Math.floor(found.length / 2)]!
    return `${thousands(rows)} (${megabytes.toFixed(0)} MB/s, ${nodeUs.toFixed(1)} µs)`
  }
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    '# The prediction log',
    '',
    `Made by \`npm run bench:log -- --rounds ${values.rounds} --kills ${values.kills}\` on ${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.versions.node};`,
    'Postgres and the process share them, and every commit waits for the disk.',
    '',
    '## Write methods',
    '',
    'Rows a second, one row being one request with all its instances; in brackets the bytes and what a row costs the process,',
    'encoding included. Medians of the rounds, one way after the other within each.',
    '',
    row(['', ...shapes.map(({ name }) => name)]),
    row(['---', ...shapes.map(() => '--:')]),
    ...ways.map(({ name }) => row([name, ...shapes.map((shape) => cell(shape.name, name))])),
    '',
    '## Conservation of rows after kills',
    '',
    `The API was killed ${killed.kills} times with SIGKILL under the load of 16 callers; before ${killed.outages} of them Postgres had been`,
    'killed or frozen, and came back before or after the process did. Then the accounts of all processes were summed:',
    '',
    row([
      'served',
      'stored',
      'dropped',
      'stored + dropped',
      'rows in the table',
      'answers that callers have got',
    ]),
    row(['--:', '--:', '--:', '--:', '--:', '--:']),
    row(
      [
        killed.served,
        killed.stored,
        killed.dropped,
        killed.stored + killed.dropped,
        killed.rows,
        killed.answered,
      ].map(thousands),
    ),
    '',
    `${killed.open} accounts stayed open. At each kill up to 16 answers were on their way, so served may exceed the answers got by ${thousands(killed.inFlight)};`,
    `it does by ${thousands(killed.served - killed.answered)}.`,
    '',
  ].join('\n')
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
