/**
 * Measures what Tenure adds to a call of an endpoint elsewhere, and what dead and slow endpoints cost a model of the same replica. Writes
 * packages/lab/endpoints/endpoints.md. `npm run bench -- endpoints [--rounds 20] [--seconds 0.5] [--out FILE]`
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort } from '@tenure/embedded'
import { checkout } from '../../../temporal.config.ts'
import { figureTable, machine, quantileOf, spreadOf } from '../../../test/support/figures.ts'
import { startLoad } from '../../../test/support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../test/support/serving/artifact.ts'
import { registerEndpoint } from '../../../test/support/serving/endpoint.ts'
import { nextRoute } from '../../../test/support/serving/registration.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { startServingSystem } from '../serving/system.ts'

const { rounds, seconds, out } = readOptions({
  rounds: 20,
  seconds: 0.5,
  out: reportFile('endpoints/endpoints.md'),
})
/** Requests a second to the local model, and beside it to another one. */
const localRate = 500
const besideRate = 25

const server = fork(join(checkout, 'packages/lab/endpoints/server.ts'))
const [port] = (await once(server, 'message')) as [number]
const answer = () => [0.7, 0.2, 0.1]
const addresses = {
  remote: `http://127.0.0.1:${port}/`,
  slow: `http://127.0.0.1:${port}/slow`,
  silent: `http://127.0.0.1:${port}/silent`,
  dead: `http://127.0.0.1:${await freePort()}/`,
}
const system = await startServingSystem(
  [irisSpec('local'), irisSpec('other')],
  async ({ store }, artifactRoot) => {
    for (const [model, address] of Object.entries(addresses)) {
      const version = await registerEndpoint({ store, artifactRoot }, { address, answer }, { model })
      await nextRoute(store, model, { proven: version })
    }
  },
  { TENURE_PRIVATE_HOSTS: '127.0.0.1', TENURE_PUBLIC_PREDICTIONS: 'on' },
)
const body = JSON.stringify({ instances: [irisRow] })

/** Returns the times of answers of a model in milliseconds. */
async function timesOf(
  url: string,
  path: string,
  load: { callers: number; rate?: number },
): Promise<number[]> {
  const running = startLoad(url, { path, body, ...load })
  await pause(200)
  running.takeTimes()
  await pause(seconds * 1_000)
  const times = running.takeTimes()
  await running.stop()
  return times
}
const pathOf = (model: string): string => `/v1/models/${model}/predict`
const localTimes = async (beside: string): Promise<number[]> => {
  const other = startLoad(system.url, { path: pathOf(beside), body, callers: 50, rate: besideRate })
  const times = await timesOf(system.url, pathOf('local'), { callers: 16, rate: localRate })
  // Open requests of a silent endpoint end within its time limit.
  await other.stop()
  return times
}

try {
  for (const model of Object.keys(addresses).slice(0, 3)) await untilAsked(model)
  const added: { direct: number; through: number }[] = []
  /** In short turns, because other work on the machine comes and goes. */
  const pooled: Record<string, number[]> = { other: [], remote: [], slow: [], silent: [], dead: [] }
  // The first round, in which code is compiled, is not counted. Each later one begins with another endpoint.
  for (const beside of Object.keys(pooled)) await localTimes(beside)
  for (let round = 0; round < rounds; round++) {
    const direct = quantileOf(await timesOf(addresses.remote, '/', { callers: 1 }), 0.5)
    const through = quantileOf(await timesOf(system.url, pathOf('remote'), { callers: 1 }), 0.5)
    added.push({ direct, through })
    const turns = Object.entries(pooled)
    const first = round % turns.length
    for (const [beside, found] of [...turns.slice(first), ...turns.slice(0, first)])
      found.push(...(await localTimes(beside)))
    console.log(round, added.at(-1))
  }
  writeFileSync(out, report(added, pooled))
} finally {
  await system.stop()
  server.kill()
}

/** The replica loads a version once its golden rows were asked, or its server gave no answer. */
async function untilAsked(model: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const { status } = await fetch(`${system.url}${pathOf(model)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    if (status === 200 || (model === 'silent' && status === 503)) return
    await pause(200)
  }
  throw new Error(`${model} is not served`)
}

function report(
  added: readonly { direct: number; through: number }[],
  pooled: Record<string, number[]>,
): string {
  const range = (numbers: readonly number[]): string => {
    const [low, middle, high] = spreadOf(numbers).map((value) => value.toFixed(2))
    return `${middle} (${low} to ${high})`
  }
  const p99Of = (name: string): number => quantileOf(pooled[name]!, 0.99)
  const isMet = (base: string) =>
    ['slow', 'silent', 'dead'].every((name) => p99Of(name) <= 1.1 * p99Of(base)) ? 'meet' : 'do not meet'
  const names: Record<string, string> = {
    other: 'another model of this replica',
    remote: 'an endpoint that answers',
    slow: 'an endpoint that answers after 0.9 s',
    silent: 'an endpoint that never answers, with a limit of 1 s',
    dead: 'an endpoint that is down',
  }
  return [
    '# Endpoints elsewhere',
    '',
    `Made by \`npm run bench -- endpoints --rounds ${rounds} --seconds ${seconds}\` on ${machine}; the replica, Postgres, the endpoint and the callers`,
    `share them. Load before: ${loadavg()[0]!.toFixed(1)}. All take turns in each of ${rounds} rounds.`,
    '',
    '## What Tenure adds',
    '',
    'One caller, one row. The endpoint is a server of Node that answers JSON at once. Medians of the rounds, with the least and the most; the aim is at most 1 ms.',
    '',
    ...figureTable('p50 ms, asked directly | through Tenure | added', [
      [
        range(added.map(({ direct }) => direct)),
        range(added.map(({ through }) => through)),
        range(added.map(({ direct, through }) => through - direct)),
      ],
    ]),
    '',
    '## What a faulty endpoint costs another model',
    '',
    `A model of the replica is asked ${localRate} times a second, and beside it another one ${besideRate} times a second by 50 callers. No fallback is declared. Quantiles of all rounds together.`,
    `The aim is that a fault of the endpoint moves the p99 by at most 10 %. Against an endpoint that answers, these figures ${isMet('remote')} it; against another model of the`,
    `replica, which costs less to ask than any endpoint, they ${isMet('other')} it. Other work on the machine moves the p99 too.`,
    '',
    ...figureTable(
      'beside | p50 ms | p99 ms | p99 beside an endpoint that answers = 1 | beside another model = 1',
      Object.entries(pooled).map(([name, times]) => [
        names[name]!,
        quantileOf(times, 0.5).toFixed(2),
        p99Of(name).toFixed(2),
        (p99Of(name) / p99Of('remote')).toFixed(2),
        (p99Of(name) / p99Of('other')).toFixed(2),
      ]),
    ),
    '',
  ].join('\n')
}
