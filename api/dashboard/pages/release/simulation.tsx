/**
 * Simulates the policy of a release on the recorded traffic of its model, for a good candidate and for faulty ones. Uses the state machine
 * and the judge of real releases.
 */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { numberText } from '../../../../domain/figures.ts'
import { countText } from '../../../charts/figures.ts'
import { totalAlpha } from '../../../../domain/canary/alpha-split.ts'
import {
  countBusyTicks,
  defaultWorld,
  minBusyTicks,
  type SimulatedWorld,
} from '../../../../domain/simulation/scenario.ts'
import type { SimulationSummary, Spread } from '../../../../domain/simulation/summary.ts'
import { readRecordedTraffic } from '../../../services/registry/recorded-traffic.ts'
import { getRelease } from '../../../services/release-commands.ts'
import { definePage } from '../../page.ts'
import { durationText, DataTable } from '../../components/elements.tsx'
import { Crumbs } from '../../components/links.tsx'
import { DomainError } from '../../../../domain/errors.ts'
import { checkout, launcher, systemEnvironment } from '../../../../temporal.config.ts'
import type { SimulationOrder } from '../../../processes/simulator.ts'
import { createPromiseCache } from '../../promise-cache.ts'

const scenarios: Readonly<Record<string, string>> = {
  good: 'As good as the champion',
  'error:0.02': '2 % errors',
  'error:0.2': '20 % errors',
  'latency:1.5': '50 % slower',
  'no-traffic': 'No traffic',
}
const releases = 40
const withinMs = 4_000

export const simulationPage = definePage({
  async load({ store, serving }, { params }) {
    const release = await getRelease(store, params['id']!)
    const { model, policy } = release.state
    const { tickMs } = policy.watch
    const traffic = await readRecordedTraffic(store, { model, tickMs, nowMs: serving.wall() })
    const { recorded } = traffic
    const world: SimulatedWorld = {
      ...defaultWorld,
      ...traffic,
      recorded: countBusyTicks(recorded) < minBusyTicks ? undefined : recorded,
    }
    const order = { policy, world, scenarios: Object.keys(scenarios), releases, withinMs }
    return { release, recorded: world.recorded?.length, summaries: await simulatePolicy(order) }
  },
  title: ({ release }) => `Simulation of ${release.state.version}`,
  view: ({ release: { state }, recorded, summaries }) => (
    <>
      <Crumbs to={[[`/releases/${state.id}`, `Release of ${state.version}`]]} />
      <h1>Simulation</h1>
      <section class="card" id="simulation" aria-label="Simulated releases">
        <p class="quiet small">
          {summaries[0]?.releases ?? 0} releases per scenario, on{' '}
          {recorded === undefined
            ? `${defaultWorld.requestsPerSecond} requests/s, because too little traffic of this model is recorded`
            : `${countText(recorded)} recorded intervals of this model’s traffic`}
          .
        </p>
        <DataTable
          caption="Scenarios"
          rows={summaries}
          empty="No scenario could be simulated."
          columns={[
            { head: 'Scenario', names: true, cell: ({ scenario }) => scenarios[scenario] ?? scenario },
            { head: 'Runs', numeric: true, cell: ({ releases: runs }) => runs },
            { head: 'Promoted', numeric: true, cell: (each) => share(each.promoted, each) },
            { head: 'Rolled back', numeric: true, cell: (each) => share(each.rolledBack, each) },
            { head: 'Needs decision', numeric: true, cell: (each) => share(each.held, each) },
            {
              head: 'Requests to detect',
              numeric: true,
              cell: (each) => spread(each.canaryRequestsToDetect),
            },
            { head: 'Time to detect', numeric: true, cell: (each) => times(each.minutesToDetect) },
            { head: 'Failure budget used', numeric: true, cell: (each) => spread(each.excessBad) },
            { head: 'Time to promote', numeric: true, cell: (each) => times(each.minutesToPromote) },
          ]}
        />
        <p class="quiet small">
          Median / 95th percentile; 0 requests to detect: found in the shadow, which no caller meets.
          False-rollback risk ≤ {numberText(100 * totalAlpha(state.policy.limits.alpha))} % per release. More
          scenarios: <code>tenure simulate</code>.
        </p>
      </section>
    </>
  ),
})

const share = (count: number, { releases: of }: SimulationSummary): string =>
  of === 0 ? '—' : `${numberText((100 * count) / of)} %`

const spread = ({ p50, p95 }: Spread): string =>
  p50 === null ? '—' : `${countText(p50)} / ${countText(p95)}`

const times = ({ p50, p95 }: Spread): string =>
  p50 === null ? '—' : `${durationText(60_000 * p50)} / ${durationText(60_000 * (p95 ?? p50))}`

// Runs simulations in a child process, one at a time and with a time limit, and caches their results.

/** The process is killed this many milliseconds after the time limit of the simulation, which leaves time to start and to report. */
const graceMs = 10_000
const maxQueued = 4

const cached = createPromiseCache<SimulationSummary[]>(50)
let last: Promise<unknown> = Promise.resolve()
let waiting = 0

/** Runs a simulation. Throws `overloaded` when too many are queued. */
export function simulatePolicy(order: SimulationOrder): Promise<SimulationSummary[]> {
  const key = createHash('sha256').update(JSON.stringify(order)).digest('hex')
  return cached(key, async () => {
    if (waiting >= maxQueued) throw new DomainError('overloaded', `${waiting} simulations are queued already`)
    waiting++
    const played = last.then(() => play(order)).finally(() => waiting--)
    last = played.catch(() => {})
    return played
  })
}

function play(order: SimulationOrder): Promise<SimulationSummary[]> {
  return new Promise((resolve, reject) => {
    const child = fork(launcher, ['api/processes/simulator.ts'], {
      cwd: checkout,
      env: systemEnvironment(),
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    let answer: SimulationSummary[] | undefined
    const late = setTimeout(() => child.kill('SIGKILL'), order.withinMs + graceMs)
    child.on('message', (message) => (answer = message as SimulationSummary[]))
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      clearTimeout(late)
      if (answer !== undefined) return resolve(answer)
      const issue = `the simulation exited with ${signal ?? code} before it reported a result`
      reject(new DomainError('overloaded', issue))
    })
    child.send(order)
  })
}
