/**
 * Measures the watch of champions: false alarms in simulated years of good champions, the expected delay at quiet traffic, and incidents on
 * real processes; writes packages/lab/watch/watch.md. `npm run bench -- watch [--years 100] [--simulated-only] [--seed 1] [--out FILE]`; the years are those
 * of each pattern.
 */
import { writeFileSync } from 'node:fs'
import { percentText } from '../../../domain/figures.ts'
import { figureTable, machine, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { delaysOf, patterns, simulateYears, slowDelays } from './years.ts'
import { runIncidents, type IncidentRow } from './incidents.ts'
import { runFailing, withSystem, type FailingChampionRun } from './live.ts'

const options = readOptions({
  years: 100,
  'simulated-only': false,
  seed: 1,
  out: reportFile('watch/watch.md'),
})
const shares = [0.1, 0.3, 0.5, 1]
const quietRates = [0.1, 1, 10, 100]
const draws = 200

const live = options['simulated-only']
  ? undefined
  : await withSystem(async (system, notifications) => ({
      failing: await runFailing(system, notifications, [
        ...[100, 10].flatMap((rate) => shares.map((share) => [{ share, rate }])),
        shares.map((share) => ({ share, rate: 1 })),
      ]),
      incidents: await runIncidents(system, notifications),
    }))
const years = patterns.map((pattern, place) => {
  const found = simulateYears(pattern, options.years, options.seed + place)
  console.log(pattern.name, JSON.stringify(found))
  return [pattern.name, String(options.years), String(found.told), String(found.rolledBack)]
})
const seconds = (values: readonly number[]): string =>
  [0.5, 0.9].map((share) => roundedNumber(quantileOf(values, share))).join(' / ')
const delays = [
  ...shares.map((share) => [
    `${percentText(share)} fail`,
    ...quietRates.map((rate) => seconds(delaysOf({ share, rate, draws, seed: options.seed }))),
  ]),
  [
    'three times as slow (told only)',
    ...quietRates.map((rate) => seconds(slowDelays({ rate, draws, seed: options.seed }))),
  ],
]
writeFileSync(options.out, page(live?.failing ?? [], live?.incidents ?? []))

function page(failing: readonly FailingChampionRun[], incidents: readonly IncidentRow[]): string {
  const broken = incidents.map(({ incident, notifiedS, message, requests, failed }) => [
    incident,
    notifiedS?.toFixed(1) ?? 'not told',
    `${failed} of ${requests}`,
    message.replaceAll('|', '/'),
  ])
  const rows = failing.map(({ share, rate, notifiedS, back, requests, failed }) => [
    `${percentText(share)} fail, ${rate} requests/s`,
    notifiedS.toFixed(1),
    back.toFixed(1),
    String(requests),
    String(failed),
  ])
  return `${[
    '# The watch of champions',
    '',
    `\`npm run bench -- watch\` on ${machine}.`,
    '',
    '## Incidents on real processes',
    '',
    'A proven champion begins to answer with invalid outputs. Seconds from the fault to the message in a channel and to the first answer of the',
    'former version; the requests that the replicas had counted by then. Two replicas, one control worker. One try each, one after another; those with 1 request/s at the',
    'same time.',
    '',
    ...figureTable('Fault | told, s | back, s | requests | failed', rows),
    '',
    '## Other incidents',
    '',
    'One part is broken after another, beside 20 requests/s of another model; the callers address each replica directly, so those of a killed one fail until it is back. An outage of Temporal or Postgres is told after 30 s (`TENURE_OUTAGE_ALERT_MS`).',
    '',
    ...figureTable('Incident | told, s | requests failed | message', broken),
    '',
    '## Quiet traffic',
    '',
    `Seconds from the fault to the end of the tick that proves it, median / 90 % of ${draws} draws from the detector alone. A replica stores a tick 1.5 s later, and the`,
    'control worker looks every 2 s.',
    '',
    ...figureTable(`Fault | ${quietRates.map((rate) => `${rate} requests/s`).join(' | ')}`, delays),
    '',
    '## Good champions',
    '',
    'Simulated years. Told: how often `champion_failing` was raised. Rolled back: how often the model would have been rolled back, after the former',
    'version had answered the failing requests. Unless said otherwise a request fails with a chance of 0.5 %; the limit is 2 %.',
    '',
    ...figureTable('Traffic | years | told | rolled back', years),
    '',
  ].join('\n')}`
}
