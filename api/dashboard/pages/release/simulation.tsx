/**
 * What the policy of a release would do to a good candidate and to bad ones, played on the traffic that the model really had: by the
 * same state machine and the same judge that decide over the release itself.
 */
import { totalAlpha } from '../../../../domain/sequential/alpha-split.ts'
import { defaultWorld, type SimulatedWorld } from '../../../../domain/simulation/scenario.ts'
import type { SimulationSummary, Spread } from '../../../../domain/simulation/summary.ts'
import { readRecorded } from '../../../../store/dashboard/overview.ts'
import { getReleaseInScope } from '../../../services/release-commands.ts'
import { page } from '../../page.ts'
import { durationText, numberText, Table } from '../../components/elements.tsx'
import { simulatePolicy } from './simulate.ts'
import type { Release } from '../../../../store/release/releases.ts'

const scenarios: Readonly<Record<string, string>> = {
  good: 'It is as good as the champion',
  'error:0.02': 'It fails 2 % of its callers',
  'error:0.2': 'It fails 20 % of its callers',
  'latency:1.5': 'It takes half as long again',
  'no-traffic': 'No request comes',
}
const releases = 40
const withinMs = 4_000
/** Fewer recorded ticks say nothing of a day. */
const fewestTicks = 20

interface Simulation {
  release: Release
  recorded: number
  summaries: SimulationSummary[]
}

export const simulationPage = page<Simulation>({
  async load({ store }, { actor, params }) {
    const release = await getReleaseInScope(store, actor, params['id']!)
    const { model, policy } = release.state
    const { tickMs } = policy.watch
    const recorded = await readRecorded(store, { model, tickMs })
    const world: SimulatedWorld = {
      ...defaultWorld,
      tickMs,
      ...(recorded.length < fewestTicks ? {} : { recorded }),
    }
    const order = { policy, world, scenarios: Object.keys(scenarios), releases, withinMs }
    return { release, recorded: recorded.length, summaries: await simulatePolicy(order) }
  },
  title: ({ release }) => `What the policy of ${release.state.version} would do`,
  view: ({ release: { state }, recorded, summaries }) => (
    <>
      <p class="crumbs">
        <a href={`/releases/${state.id}`}>Release of {state.version}</a>
      </p>
      <h1>What the policy would do</h1>
      <section class="card" id="simulation" aria-label="Simulated releases">
        <p class="quiet small">
          {summaries[0]?.releases ?? 0} releases each, played by the state machine and the judge of real ones,
          on{' '}
          {recorded < fewestTicks
            ? `${defaultWorld.requestsPerSecond} requests a second: too little was recorded of this model`
            : `${recorded} recorded ticks of this model’s traffic`}
          .
        </p>
        <Table
          caption="If the candidate were …"
          rows={summaries}
          empty="Nothing could be simulated."
          columns={[
            { head: 'If', names: true, cell: ({ scenario }) => scenarios[scenario] ?? scenario },
            { head: 'Played', numeric: true, cell: ({ releases: played }) => played },
            { head: 'Promoted', numeric: true, cell: (each) => share(each.promoted, each) },
            { head: 'Taken back', numeric: true, cell: (each) => share(each.rolledBack, each) },
            { head: 'Asks a person', numeric: true, cell: (each) => share(each.held, each) },
            {
              head: 'Requests until noticed',
              numeric: true,
              cell: (each) => spread(each.canaryRequestsToDetect),
            },
            { head: 'Time', numeric: true, cell: (each) => times(each.minutesToDetect) },
            { head: 'Bad answers', numeric: true, cell: (each) => spread(each.excessBad) },
            { head: 'Promoted after', numeric: true, cell: (each) => times(each.minutesToPromote) },
          ]}
        />
        <p class="quiet small">
          Median and 95 %. A candidate that is no worse is taken back wrongly with a probability of at most{' '}
          {numberText(totalAlpha(state.policy.limits.alpha))}. <code>tenure simulate</code> plays more of
          them.
        </p>
      </section>
    </>
  ),
})

const share = (count: number, { releases: of }: SimulationSummary): string =>
  of === 0 ? '–' : `${numberText((100 * count) / of)} %`

const spread = ({ p50, p95 }: Spread): string =>
  p50 === null
    ? '–'
    : `${numberText(Number(p50.toPrecision(3)))} / ${numberText(p95 === null ? null : Number(p95.toPrecision(3)))}`

const times = ({ p50, p95 }: Spread): string =>
  p50 === null ? '–' : `${durationText(60_000 * p50)} / ${durationText(60_000 * (p95 ?? p50))}`
