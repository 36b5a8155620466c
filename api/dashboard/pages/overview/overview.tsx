/** Shows what is live and since when, what needs attention, what is at risk, and what changed in the last day. */
import { readStages } from '../../stage-badge.tsx'
import { listOpenAlerts } from '../../../../store/dashboard/alert-list.ts'
import { listOverviewRows, readFleet, readTraffic } from '../../../../store/dashboard/overview.ts'
import { listModelHistory, listRecentChanges } from '../../../../store/dashboard/model-history.ts'
import { readLastMinute } from '../../../../store/registry/champion-watch.ts'
import { listReleases } from '../../../../store/release/releases.ts'
import { listQueued } from '../../../../store/release/release-queue.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { OpenAlerts, NeedsAttention } from './attention.tsx'
import { maxChanges, RecentChanges } from './changes.tsx'
import { OverviewSummary } from './summary.tsx'
import { drawModelLanes, laneModels, lanesSpanMs, ModelLanes } from './lanes.tsx'
import {
  ChampionCell,
  DriftCell,
  ModelCell,
  QualityCell,
  ReleaseCell,
  trafficParts,
  trafficPartMs,
  TrafficCell,
} from './cells.tsx'
import { Live, DataTable, Time } from '../../components/elements.tsx'

const maxModels = 500
const dayMs = 86_400_000
/** The limit per model and kind: an hourly window for a week. */
const maxSpans = 170

export const overviewPage = definePage({
  async load({ store }, { actor }) {
    const held = modelFilter(actor)
    const [rows, traffic, open, waiting, alerts, fleet, changes] = await Promise.all([
      listOverviewRows(store, { ...held, limit: maxModels }),
      readTraffic(store, { parts: trafficParts, partMs: trafficPartMs }),
      listReleases(store, { ...held, open: true, limit: maxModels }),
      listQueued(store, { ...held, open: true, limit: 100 }),
      listOpenAlerts(store, { ...held, limit: maxModels }),
      readFleet(store),
      listRecentChanges(store, {
        ...held,
        fromAt: new Date(Date.now() - dayMs).toISOString(),
        limit: maxChanges + 1,
      }),
    ])
    const releaseOf = new Map(open.map((release) => [release.state.model, release]))
    const [minutes, stages] = await Promise.all([
      readLastMinute(
        store,
        rows.map(({ model }) => model),
      ),
      readStages(
        store,
        open.map(({ state }) => state),
      ),
    ])
    const models = rows.map((row) => ({
      row,
      traffic: traffic.get(row.model),
      minute: minutes.get(row.model),
      release: releaseOf.get(row.model),
      alerts: alerts.filter(({ model }) => model === row.model).length,
    }))
    const fromMs = Math.floor((fleet.nowMs - lanesSpanMs) / 60_000) * 60_000
    const shown = laneModels(models)
    const spans = await listModelHistory(store, {
      models: shown,
      fromAt: new Date(fromMs).toISOString(),
      limit: maxSpans,
    })
    const lanes = await drawModelLanes({ spans, fromMs, nowMs: fleet.nowMs })
    return {
      models,
      open,
      stages,
      waiting,
      alerts,
      changes,
      lanes,
      hiddenLanes: models.length - shown.length,
      ...fleet,
    }
  },
  title: () => 'Tenure',
  view: (data, { target }) => (
    <>
      <h1>Overview</h1>
      <Live id="overview" target={target}>
        <OverviewSummary {...data} />
        <NeedsAttention {...data} />
        <section class="card" id="models">
          <DataTable
            caption="Models"
            rows={data.models}
            empty={
              <>
                No models yet. Add a file to <code>models/</code>, run <code>tenure models sync</code>, and
                train it with <code>tenure retrain &lt;model&gt;</code>.
              </>
            }
            columns={[
              { head: 'Model', names: true, cell: ({ row }) => <ModelCell {...row} /> },
              {
                head: 'Live',
                cell: ({ row, release }) => (
                  <ChampionCell row={row} hasRelease={release !== undefined} nowMs={data.nowMs} />
                ),
              },
              { head: 'Traffic (10 min)', cell: ({ traffic }) => <TrafficCell traffic={traffic} /> },
              { head: 'Quality', cell: ({ row }) => <QualityCell {...row} /> },
              { head: 'Drift', cell: ({ row }) => <DriftCell {...row} /> },
              {
                head: 'Release',
                cell: ({ release }) => <ReleaseCell stage={release && data.stages.get(release.state.id)} />,
              },
              {
                head: 'Alerts',
                numeric: true,
                cell: ({ alerts, row }) =>
                  alerts === 0 ? (
                    '0'
                  ) : (
                    <a href={`/alerts?model=${encodeURIComponent(row.model)}`}>{alerts}</a>
                  ),
              },
            ]}
          />
          <p class="quiet small">
            {data.replicas} {data.replicas === 1 ? 'replica' : 'replicas'} healthy · updated{' '}
            <Time at={new Date(data.nowMs).toISOString()} shows="clock" />
          </p>
        </section>
        <div class="beside lists">
          <OpenAlerts {...data} />
          <RecentChanges {...data} />
        </div>
        <ModelLanes chart={data.lanes} hidden={data.hiddenLanes} />
      </Live>
    </>
  ),
})
