/**
 * Simulates a year of three streams, calm and with twelve incidents, for Tenure and for contenders with the same trainer and data. `npm run
 * bench -- worth [--streams sea,hyperplane,flights] [--weeks 52] [--rows 7000] [--seed 1] [--json FILE] [--out FILE]`
 *
 * `--json` stores the figures after each week; `--from FILE,FILE` writes the page from such files. `--floods warn` uses another policy for
 * floods. `--campaigns FILE` simulates the campaigns of the flights, or reads them from the file if it exists.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readOptions, reportFile } from '../harness/options.ts'
import { worthChart } from './chart.ts'
import { simulateFalsePromotions } from './false-promotions.ts'
import { flightStream } from './flights.ts'
import { floodPolicies, type FloodPolicy } from '../../../domain/validation/floods.ts'
import { playCampaigns, type CampaignFigure } from './campaigns.ts'
import { playYear, type CalmWeeks, type YearResult } from './play.ts'
import { chartName, worthPage } from './report.ts'
import { hyperplaneStream, seaStream, type YearStream } from './streams.ts'

const options = readOptions({
  streams: 'sea,hyperplane,flights',
  weeks: 52,
  rows: 7_000,
  seed: 1,
  /** Number of simulated gates per difference. */
  gates: 1_000,
  floods: 'thin',
  json: '',
  from: '',
  campaigns: '',
  out: reportFile('worth/worth.md'),
})
const startedMs = Date.now()
const say = (line: string) =>
  console.log(`${String(Math.round((Date.now() - startedMs) / 1_000)).padStart(5)} s  ${line}`)

/** Half-weeks of the flights from 15 January to the end of June, and flights in half a week. */
const flightWeeks = 47
const flightsAWeek = 57_000

function floodPolicy(): FloodPolicy {
  const found = floodPolicies.find((policy) => policy === options.floods)
  if (found === undefined) throw new Error(`--floods takes one of ${floodPolicies.join(', ')}`)
  return found
}

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
  const floods = floodPolicy()
  for (const name of options.streams.split(',')) {
    const stream = await open(name)
    const reference: CalmWeeks = new Map()
    for (const withIncidents of [false, true]) {
      const keep = (year: YearResult) => {
        if (options.json !== '') writeFileSync(options.json, JSON.stringify([...years, year]))
      }
      const year = await playYear(stream, { withIncidents, reference, floods, say, keep })
      years.push(year)
      for (const line of year.contenders.flatMap(({ log }) => log)) say(`  ${line}`)
    }
  }
  return years
}

/** Weeks in which the waves begin, of the airports with the most flights. */
const campaignStarts = [8, 15, 22, 29, 36]

async function campaigns(): Promise<CampaignFigure[]> {
  if (options.campaigns === '') return []
  if (existsSync(options.campaigns))
    return JSON.parse(readFileSync(options.campaigns, 'utf8')) as CampaignFigure[]
  const figures = await playCampaigns(await open('flights'), { starts: campaignStarts, say })
  writeFileSync(options.campaigns, JSON.stringify(figures))
  return figures
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
  worthPage(years, {
    rows: options.rows,
    gate: simulateFalsePromotions(options.gates),
    campaigns: await campaigns(),
  }),
)
say(`${options.out} is written`)
