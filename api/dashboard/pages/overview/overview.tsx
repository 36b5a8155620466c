/** Shows every model with its champion, traffic, quality and open release; what needs attention stands first. */
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import { listOverviewRows, readFleet, readTraffic } from '../../../../store/dashboard/overview.ts'
import { listReleases } from '../../../../store/release/releases.ts'
import { listQueued } from '../../../../store/release/release-queue.ts'
import { modelFilter } from '../../../auth/authorization.ts'
import { definePage } from '../../page.ts'
import { OpenAlerts, NeedsAttention } from './attention.tsx'
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
import { Live, Since, DataTable } from '../../components/elements.tsx'

const maxModels = 500

export const overviewPage = definePage({
  async load({ store }, { actor }) {
    const held = modelFilter(actor)
    const [rows, traffic, open, waiting, alerts, fleet] = await Promise.all([
      listOverviewRows(store, { ...held, limit: maxModels }),
      readTraffic(store, { parts: trafficParts, partMs: trafficPartMs }),
      listReleases(store, { ...held, open: true, limit: maxModels }),
      listQueued(store, { ...held, open: true, limit: 100 }),
      listAlerts(store, { ...held, open: true, limit: maxModels }),
      readFleet(store),
    ])
    const releaseOf = new Map(open.map((release) => [release.state.model, release]))
    const models = rows.map((row) => ({
      row,
      traffic: traffic.get(row.model),
      release: releaseOf.get(row.model),
      alerts: alerts.filter(({ model }) => model === row.model).length,
    }))
    return { models, open, waiting, alerts, ...fleet }
  },
  title: () => 'Tenure',
  view: (data, { target }) => (
    <>
      <h1>Overview</h1>
      <Live id="overview" target={target}>
        <NeedsAttention {...data} />
        <section class="card">
          <DataTable
            caption="Models"
            rows={data.models}
            empty={
              <>
                No models yet. Add a file to <code>models/</code>, then run <code>tenure models sync</code>.
              </>
            }
            columns={[
              { head: 'Model', names: true, cell: ({ row }) => <ModelCell {...row} /> },
              { head: 'Champion', cell: ({ row }) => <ChampionCell row={row} /> },
              {
                head: 'Live since (UTC)',
                cell: ({ row }) => <Since at={row.champion?.since} nowMs={data.nowMs} />,
              },
              { head: 'Traffic (10 min)', cell: ({ traffic }) => <TrafficCell traffic={traffic} /> },
              { head: 'Quality', cell: ({ row }) => <QualityCell {...row} /> },
              { head: 'Drift', cell: ({ row }) => <DriftCell {...row} /> },
              { head: 'Release', cell: ({ release }) => <ReleaseCell release={release} /> },
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
            {new Date(data.nowMs).toISOString().slice(11, 19)} UTC
          </p>
        </section>
        <OpenAlerts {...data} />
      </Live>
    </>
  ),
})
