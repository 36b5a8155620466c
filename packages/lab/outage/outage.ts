/**
 * Measures predictions while Postgres and Temporal are killed or frozen, beside the same load without an outage, and the prediction
 * log under overload with a frozen Postgres; writes packages/lab/outage/outage.md.
 * `npm run bench -- outage --minutes 10 [--rate 2000] [--kinds killed,frozen,overload] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import { figureTable, machine, roundedNumber as whole } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { outage, type OutageReport, type Window } from '../../../test/support/servers/outage.ts'

const options = readOptions({
  minutes: 10,
  /** Requests per second; the load generator uses half of the machine. */
  rate: 2_000,
  kinds: 'killed,frozen,overload',
  out: reportFile('outage/outage.md'),
})
const outageMs = options.minutes * 60_000
const calmMs = Math.min(60_000, outageMs)
const told: { title: string; report: OutageReport }[] = []
for (const kind of options.kinds.split(',')) {
  const report =
    kind === 'overload'
      ? await outage({ kind: 'frozen', outageMs: Math.min(outageMs, 60_000), calmMs: 10_000 })
      : await outage({ kind: kind as 'killed' | 'frozen', outageMs, calmMs, rate: options.rate })
  const title =
    kind === 'overload'
      ? 'Both frozen under all the load that there can be'
      : `Both ${kind}, ${options.minutes} minutes, ${options.rate} requests a second`
  told.push({ title, report })
  console.log(JSON.stringify({ title, ...report }))
}
writeFileSync(options.out, page())

function page(): string {
  return [
    '# Postgres and Temporal unavailable',
    '',
    `Made by \`npm run bench -- outage --minutes ${options.minutes} --rate ${options.rate}\` on ${machine}.`,
    'One API process serves 32 callers of the load generator over sockets; Postgres and Temporal run on the same machine. *Killed* means SIGKILL to every',
    'process of both servers, *frozen* means SIGSTOP. *Before* and *after* are the same load in the same run. A p99 is the median of the p99 of each ten seconds.',
    '',
    ...told.flatMap(({ title, report }) => [`## ${title}`, '', ...section(report), '']),
  ].join('\n')
}

function section(report: OutageReport): string[] {
  const { before, during, after, control, drainMs, served, stored, dropped, rows, answered } = report
  const line = (name: string, { requests, failed, p50Ms, p99Ms, p99RangeMs, rssMb }: Window): string[] => [
    name,
    whole(requests),
    `${(100 * (1 - failed / Math.max(1, requests + failed))).toFixed(4)} %`,
    p50Ms.toFixed(2),
    p99Ms.toFixed(2),
    p99RangeMs.map((ms) => ms.toFixed(2)).join('–'),
    rssMb.toFixed(0),
  ]
  const calm = Math.max(before.p99Ms, after.p99Ms)
  return [
    ...figureTable(' | answered | available | p50 ms | p99 ms | of ten seconds, from – to | RSS MB', [
      line('before', before),
      line('away', during),
      line('after', after),
    ]),
    '',
    `The p99 during the outage is ${percent(during.p99Ms / before.p99Ms)} of that before and ${percent(during.p99Ms / calm)} of the higher p99 of both calm windows; memory rose by`,
    `${(during.rssMb - before.rssMb).toFixed(0)} MB. During the outage GET /v1/models and POST /v1/models/iris/retrainings answered ${control.map(({ status, ms }) => `${status} after ${ms.toFixed(0)} ms`).join(' and ')}.`,
    `After the return the spool was empty within ${(drainMs / 1_000).toFixed(1)} s. Of ${whole(served)} rows served ${whole(stored)} are stored and ${whole(dropped)} were dropped and counted;`,
    `${whole(rows)} stand in the table, and callers got ${whole(answered)} answers: the equation is ${served === stored + dropped && rows === stored ? 'exact' : '**broken**'}.`,
  ]
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}
