/**
 * Plays a year of three streams, calm and with twelve incidents, for Tenure and for contenders with the same trainer and data.
 * `npm run bench:worth -- [--streams sea,hyperplane,flights] [--weeks 52] [--rows 7000] [--seed 1] [--json FILE] [--out FILE]`
 *
 * `--json` stores the figures after each week; `--from FILE,FILE` writes the page from such files.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readOptions, reportFile } from '../harness/options.ts'
import { worthChart } from './chart.ts'
import { simulateFalsePromotions } from './false-promotions.ts'
import { flightStream } from './flights.ts'
import { playYear, type CalmVersions, type YearResult } from './play.ts'
import { chartName, worthPage } from './report.ts'
import { hyperplaneStream, seaStream, type YearStream } from './streams.ts'

const options = readOptions({
  streams: 'sea,hyperplane,flights',
  weeks: 52,
  rows: 7_000,
  seed: 1,
  /** Simulated gates for each difference. */
  gates: 1_000,
  json: '',
  from: '',
  out: reportFile('worth/worth.md'),
})
const startedMs = Date.now()
const say = (line: string) =>
  console.log(`${String(Math.round((Date.now() - startedMs) / 1_000)).padStart(5)} s  ${line}`)

/** Half-weeks of the flights from 15 January to the end of June, and flights in half a week. */
const flightWeeks = 47
const flightsAWeek = 57_000

async function open(name: string): Promise<YearStream> {
  const { weeks, rows, seed } = options
  switch (name) {
    case 'sea':
      return seaStream({ weeks, rowsAWeek: rows, seed })
    case 'hyperplane':
      return hyperplaneStream({ weeks, rowsAWeek: rows, seed })
    case 'flights': {
      // Twice the rows: the AUC of a week of real flights is noisier.
      const everyNth = Math.max(1, Math.round(flightsAWeek / (2 * rows)))
      return flightStream({ weeks: Math.min(weeks, flightWeeks), everyNth })
    }
    default:
      throw new Error(`no stream is called ${name}: use sea, hyperplane or flights`)
  }
}

async function play(): Promise<YearResult[]> {
  const years: YearResult[] = []
  for (const name of options.streams.split(',')) {
    const stream = await open(name)
    const reference: CalmVersions = new Map()
    for (const withIncidents of [false, true]) {
      const keep = (year: YearResult) => {
        if (options.json !== '') writeFileSync(options.json, JSON.stringify([...years, year]))
      }
      const year = await playYear(stream, { withIncidents, reference, say, keep })
      years.push(year)
      for (const line of year.contenders.flatMap(({ log }) => log)) say(`  ${line}`)
    }
  }
  return years
}

const years =
  options.from === ''
    ? await play()
    : options.from.split(',').flatMap((file) => JSON.parse(readFileSync(file, 'utf8')) as YearResult[])
const charts = join(dirname(options.out), 'charts')
mkdirSync(charts, { recursive: true })
for (const year of years) writeFileSync(join(charts, chartName(year)), worthChart(year))
writeFileSync(
  options.out,
  worthPage(years, { rows: options.rows, gate: simulateFalsePromotions(options.gates) }),
)
say(`${options.out} is written`)
