/**
 * Measures good responses within the deadline under overload and beside slow clients; writes packages/lab/serving/overload.md.
 * `npm run bench -- overload [--rounds 3] [--seconds 5] [--part overload|slow] [--connections 2000]`
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { figureTable, machine, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { residentMb, sampleMemory } from '../../../test/support/servers/processes.ts'
import { openLoad } from './measure.ts'
import { deepSpec, inferBody, netSpecs } from './networks.ts'
import type { OpenPlan, OpenLoadResult } from '../../../test/support/serving/open-load.ts'
import { startServingSystem, type MeasuredSystem } from './system.ts'

const { rounds, seconds, part, connections, out } = readOptions({
  rounds: 3,
  seconds: 5,
  /** `overload`, `slow`, or both. */
  part: '',
  /** Maximum client connections; a replica accepts one new connection per event-loop turn. */
  connections: 2_000,
  out: reportFile('serving/overload.md'),
})
/** Deadline of a request. */
const deadlineMs = 500
const slowSenders = 2_000
/** Long enough for the server to close each slow connection and for it to return, the most expensive case. */
const slowSeconds = 13
const recoveryS = 10

const titles: Record<string, string> = {
  deep: 'A network of a million weights, one row a request: small requests, dear answers',
  wide: '*wide*, a hundred rows a request: 24 kB each, of which refusing costs a good part of answering',
}

const root = mkdtempSync(join(tmpdir(), 'tenure-overload-'))
const bodyOf = (name: string): string => join(root, `${name}.json`)
writeFileSync(bodyOf('wide'), inferBody('wide', 100))
writeFileSync(bodyOf('deep'), inferBody('wide', 1))
writeFileSync(bodyOf('iris'), inferBody('iris', 1))

const loadBefore = loadavg()[0]!
const system = await startServingSystem([...Object.values(netSpecs(undefined)), deepSpec()])
const lines: string[] = []
try {
  if (part !== 'slow') for (const name of ['deep', 'wide']) lines.push(...(await overload(system, name)))
  if (part !== 'overload') lines.push(...(await slow(system)))
  writeFileSync(out, `${page(lines).trimEnd()}\n`)
} finally {
  await system.stop()
  rmSync(root, { recursive: true, force: true })
}

/** 1, 2 and 5 times the capacity, and back. */
async function overload({ url, authorization, pid }: MeasuredSystem, name: string): Promise<string[]> {
  const plan = (phases: OpenPlan['phases']): OpenPlan => ({
    url: `${url}/v2/models/${name}/infer`,
    body: bodyOf(name),
    authorization,
    deadlineMs,
    mostConnections: connections,
    phases,
  })
  await openLoad(plan([{ name: 'warm', seconds: 2 }]))
  const rows: string[][] = []
  const memory = sampleMemory(pid, 200)
  for (let round = 0; round < rounds; round++) {
    const [closed] = await openLoad(plan([{ name: 'peak', seconds }]))
    const peak = closed!.good / seconds
    for (const factor of [1, 2, 5]) {
      const [over, after] = await openLoad(
        plan([
          { name: `${factor}`, rate: factor * peak, seconds },
          { name: 'after', rate: 0.7 * peak, seconds: recoveryS },
        ]),
      )
      rows.push(rowOf(round, factor, peak, over!, after!))
      console.log(name, rows.at(-1)!.join(' | '))
    }
  }
  return [
    `### ${titles[name]}`,
    '',
    ...figureTable(
      'round | offered | requests/s offered | of these sent | good/s | of the peak | refused/s | late or never/s | p50 ms | p99 ms | good again after',
      rows,
      { names: '--:' },
    ),
    '',
    `Resident memory at most ${memory.stop()} MB.`,
    '',
  ]
}

function rowOf(
  round: number,
  factor: number,
  peak: number,
  over: OpenLoadResult,
  after: OpenLoadResult,
): string[] {
  const perSecond = (count: number): string => roundedNumber(count / seconds)
  return [
    String(round + 1),
    `${factor} ×`,
    perSecond(over.offered),
    perSecond(over.offered - over.unsent),
    perSecond(over.good),
    `${Math.round((100 * over.good) / seconds / peak)} %`,
    perSecond(over.refused),
    perSecond(over.late + over.failed + over.unanswered),
    over.p50Ms.toFixed(0),
    over.p99Ms.toFixed(0),
    recoveryOf(after),
  ]
}

/** Time until responses are good and stay good. */
function recoveryOf({ quarters }: OpenLoadResult): string {
  const bad = quarters.findLastIndex(({ offered, good }) => good < 0.99 * offered)
  return bad === quarters.length - 1 ? `more than ${recoveryS} s` : `${((bad + 1) / 4).toFixed(2)} s`
}

/** Clients at a third of the capacity, alternately with and without slow clients. */
async function slow({ url, authorization, pid }: MeasuredSystem): Promise<string[]> {
  const healthy = (phases: OpenPlan['phases']): OpenPlan => ({
    url: `${url}/v2/models/iris/infer`,
    body: bodyOf('iris'),
    authorization,
    deadlineMs,
    mostConnections: 1_000,
    phases,
  })
  const [closed] = await openLoad(healthy([{ name: 'peak', connections: 64, seconds }]))
  const rate = closed!.good / seconds / 3
  const rows: { without: OpenLoadResult; with: OpenLoadResult }[] = []
  let mostMb = 0
  for (let round = 0; round < rounds; round++) {
    const measured = async () =>
      (await openLoad(healthy([{ name: 'healthy', rate, seconds: slowSeconds }])))[0]!
    const besides = async () => {
      const senders = await holdConnections(`${url}/v2/models/iris/infer`)
      const found = await measured()
      mostMb = Math.max(mostMb, residentMb(pid))
      senders.disconnect()
      await once(senders, 'exit')
      return found
    }
    // Alternates the order, so that neither case profits.
    const first = round % 2 === 0 ? await measured() : undefined
    const crowded = await besides()
    rows.push({ without: first ?? (await measured()), with: crowded })
    const { without } = rows.at(-1)!
    console.log(`slow: p99 ${without.p99Ms.toFixed(2)} → ${crowded.p99Ms.toFixed(2)} ms`)
  }
  const ratios = rows.map((row) => row.with.p99Ms / row.without.p99Ms)
  return [
    `### ${slowSenders} slow callers beside healthy ones`,
    '',
    `A third of the slow callers send headers byte by byte, a third send bodies byte by byte, and a third keep idle connections open. The server closes most of them within the ${slowSeconds} s of a measurement, and they connect again. Healthy callers request one row of *iris* at ${roundedNumber(rate)} requests/s, a third of the peak.`,
    '',
    ...figureTable(
      'round | p50 ms without / with | p99 ms without / with | × | bad answers without / with',
      rows.map((row, round) => {
        const both = (of: (result: OpenLoadResult) => string): string =>
          `${of(row.without)} / ${of(row.with)}`
        return [
          String(round + 1),
          both(({ p50Ms }) => p50Ms.toFixed(2)),
          both(({ p99Ms }) => p99Ms.toFixed(2)),
          ratios[round]!.toFixed(2),
          both(({ offered, good }) => String(offered - good)),
        ]
      }),
      { names: '--:' },
    ),
    '',
    `The median of the ratios is ${quantileOf(ratios, 0.5).toFixed(2)} (≤ 1.2). Resident memory at most ${mostMb} MB.`,
    '',
  ]
}

function holdConnections(url: string): Promise<ChildProcess> {
  const child = fork('packages/lab/serving/slow-senders.ts', [url, String(slowSenders)], {
    cwd: checkout,
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  return new Promise((resolve) => child.stdout!.once('data', () => resolve(child)))
}

function page(parts: readonly string[]): string {
  return [
    '# Overload and slow clients',
    '',
    `Made by \`npm run bench -- overload --rounds ${rounds} --seconds ${seconds} --connections ${connections}\` on ${machine}; the load average was ${loadBefore.toFixed(1)} before. The generator, the API process and Postgres share the machine.`,
    '',
    `The *peak* is the rate of a closed load, in which each caller waits for its response. Then requests arrive at a constant rate on at most ${roundedNumber(connections)} connections. Each request tells the server its deadline of ${deadlineMs} ms; only a successful response within the deadline is *good*. A request for which no connection is free is not sent, but counts as offered. After each overload, ${recoveryS} s at 0.7 × the peak follow. *Good again* is the time after which at least 99 % of the requests are good until the end.`,
    '',
    ...parts,
  ].join('\n')
}
