/**
 * Every model at a glance, and first of all what waits for a person. On call at three in the morning this page has to say within
 * seconds what is live, since when, whether it is well, and whether somebody is needed.
 */
import { sparkline } from '../../../charts/sparkline.ts'
import { whyWaiting } from '../../../domain/why-waiting.ts'
import { listAlerts, type Alert } from '../../../store/alerts.ts'
import {
  listGlances,
  readHouse,
  readTraffic,
  type Glance,
  type RecentTraffic,
} from '../../../store/overview.ts'
import { listReleases, type Release } from '../../../store/releases.ts'
import { listWaiting, type WaitingRelease } from '../../../store/waiting.ts'
import { visible } from '../../scope.ts'
import { page, type View } from '../declare.ts'
import { Age, Badge, countText, Live, numberText, Table } from '../parts.tsx'
import { qualityInterval } from '../quality.ts'
import { asksPerson, plain, readable, stageText, stageTone } from '../words.ts'

/** More is never shown at once. */
const mostModels = 500
const mostAlerts = 20
const parts = 20
const partMs = 30_000

interface Overview {
  models: { glance: Glance; traffic?: RecentTraffic; release?: Release; alerts: number }[]
  open: Release[]
  waiting: WaitingRelease[]
  alerts: Alert[]
  replicas: number
  nowMs: number
}

export const overview = page<Overview>({
  async load({ store }, { actor }) {
    const [glances, traffic, releases, waiting, alerts, house] = await Promise.all([
      listGlances(store, mostModels),
      readTraffic(store, { parts, partMs }),
      listReleases(store, { open: true, limit: mostModels }),
      listWaiting(store, { open: true, limit: 100 }),
      listAlerts(store, { open: true, limit: mostModels }),
      readHouse(store),
    ])
    const open = visible(actor, releases, ({ state }) => state.model)
    const releaseOf = new Map(open.map((release) => [release.state.model, release]))
    const seen = visible(actor, alerts, ({ model }) => model)
    return {
      models: visible(actor, glances, ({ model }) => model).map((glance) => {
        const [asked, release] = [traffic.get(glance.model), releaseOf.get(glance.model)]
        return {
          glance,
          ...(asked === undefined ? {} : { traffic: asked }),
          ...(release === undefined ? {} : { release }),
          alerts: seen.filter(({ model }) => model === glance.model).length,
        }
      }),
      open,
      waiting: visible(actor, waiting, ({ model }) => model),
      alerts: seen,
      ...house,
    }
  },
  title: () => 'Tenure',
  view: (data, { target }) => (
    <>
      <h1>Overview</h1>
      <Live id="overview" target={target}>
        <Waiting {...data} />
        <section class="card">
          <Table
            caption="Models"
            rows={data.models}
            empty={
              <>
                There is no model yet. Write one file in <code>models/</code> and run{' '}
                <code>tenure models sync</code>.
              </>
            }
            columns={[
              { head: 'Model', names: true, cell: ({ glance }) => <ModelCell {...glance} /> },
              { head: 'Champion', cell: ({ glance }) => <ChampionCell glance={glance} /> },
              {
                head: 'Live for',
                cell: ({ glance }) => <Age at={glance.champion?.since} nowMs={data.nowMs} />,
              },
              { head: 'Traffic, 10 min', cell: ({ traffic }) => <TrafficCell traffic={traffic} /> },
              { head: 'Quality', cell: ({ glance }) => <QualityCell {...glance} /> },
              { head: 'Drift', cell: ({ glance }) => <DriftCell {...glance} /> },
              { head: 'Release', cell: ({ release }) => <ReleaseCell release={release} /> },
              {
                head: 'Alerts',
                numeric: true,
                cell: ({ alerts, glance }) =>
                  alerts === 0 ? (
                    '0'
                  ) : (
                    <a href={`/alerts?model=${encodeURIComponent(glance.model)}`}>{alerts}</a>
                  ),
              },
            ]}
          />
          <p class="quiet small">
            {data.replicas === 1 ? '1 replica answers' : `${data.replicas} replicas answer`}. As of{' '}
            {new Date(data.nowMs).toISOString().slice(0, 19).replace('T', ' ')} UTC.
          </p>
        </section>
        <OpenAlerts {...data} />
      </Live>
    </>
  ),
})

/** What a person is needed for, before anything else. */
const Waiting = ({ open, waiting }: Overview): View => {
  const asking = open.filter(({ state }) => asksPerson(state))
  if (asking.length + waiting.length === 0) return <></>
  return (
    <section class="card warn">
      <h2>Waits for a person</h2>
      <ul class="plain-list">
        {asking.map(({ state }) => (
          <li>
            <a href={`/releases/${state.id}`}>{state.version}</a>{' '}
            <Badge tone={stageTone(state)}>{stageText(state)}</Badge> {readable(whyWaiting(state))}
          </li>
        ))}
        {waiting.map((each) => (
          <li>
            {each.version} <Badge tone="quiet">waits for its turn</Badge> asked for by {each.requestedBy}; it
            begins when the open release of {each.model} has ended.
          </li>
        ))}
      </ul>
    </section>
  )
}

const ModelCell = ({ model, about, serve }: Glance): View => (
  <>
    <a class="nowrap" href={`/models/${encodeURIComponent(model)}`} title={about}>
      {model}
    </a>
    {serve !== 'normal' && (
      <>
        {' '}
        <Badge tone="bad">pinned to its {serve}</Badge>
      </>
    )}
  </>
)

const ChampionCell = ({ glance: { champion, model } }: { glance: Glance }): View => {
  if (champion === undefined) return <span class="quiet">none yet</span>
  const short = champion.version.startsWith(`${model}_`)
    ? champion.version.slice(model.length + 1)
    : champion.version
  return champion.releaseId === undefined ? (
    <span title={champion.version}>{short}</span>
  ) : (
    <a href={`/releases/${champion.releaseId}`} title={`${champion.version}: how it became champion`}>
      {short}
    </a>
  )
}

const TrafficCell = ({ traffic }: { traffic: RecentTraffic | undefined }): View => {
  if (traffic === undefined) return <span class="quiet">none</span>
  const total = traffic.requests.reduce((sum, count) => sum + count, 0)
  const rate = total / ((parts * partMs) / 1_000)
  return (
    <>
      <span class="spark" aria-hidden="true">
        {sparkline(traffic.requests, { width: parts })}
      </span>{' '}
      <span class="nowrap">{rate >= 10 ? countText(rate) : numberText(Number(rate.toPrecision(2)))}/s</span>
      {traffic.bad > 0 && (
        <>
          {' '}
          <Badge tone={traffic.bad / total > 0.01 ? 'bad' : 'warn'}>
            {numberText((100 * traffic.bad) / total)} % bad
          </Badge>
        </>
      )}
    </>
  )
}

const QualityCell = ({ quality, evaluated, positives }: Glance): View => {
  if (quality !== undefined && quality.value !== null) {
    const interval = qualityInterval(quality, positives)
    return (
      <>
        <span class="nowrap">
          {quality.metric} {numberText(quality.value)}
          {interval && (
            <span class="quiet">
              {' '}
              ({numberText(interval[0])} to {numberText(interval[1])})
            </span>
          )}
        </span>{' '}
        <Badge tone={quality.level === 'lost' ? 'bad' : quality.level === 'held' ? 'good' : 'quiet'}>
          {quality.level}
        </Badge>
      </>
    )
  }
  if (evaluated === undefined || evaluated.value === null) return <span class="quiet">–</span>
  const before = { metric: evaluated.metric, value: evaluated.value, rows: evaluated.rows }
  const interval = qualityInterval(before, positives)
  return (
    <span class="nowrap">
      {evaluated.metric} {numberText(evaluated.value)}
      <span class="quiet">
        {interval && ` (${numberText(interval[0])} to ${numberText(interval[1])})`} before its release
      </span>
    </span>
  )
}

const DriftCell = ({ drift }: Glance): View => {
  if (drift === undefined) return <span class="quiet">not judged yet</span>
  const { level, worst } = drift
  const tone = level === 'alarm' ? 'bad' : level === 'warn' ? 'warn' : level === 'stable' ? 'good' : 'quiet'
  return (
    <Badge tone={tone}>
      {plain(level)}
      {(level === 'alarm' || level === 'warn') && worst !== undefined ? `: ${worst}` : ''}
    </Badge>
  )
}

const ReleaseCell = ({ release }: { release: Release | undefined }): View =>
  release === undefined ? (
    <span class="quiet">none open</span>
  ) : (
    <>
      <a href={`/releases/${release.state.id}`}>{release.state.version.replace(/^.*_v/, 'v')}</a>{' '}
      <Badge tone={stageTone(release.state)}>{stageText(release.state)}</Badge>
      {release.state.drill !== undefined && (
        <>
          {' '}
          <Badge tone="quiet">drill</Badge>
        </>
      )}
    </>
  )

const OpenAlerts = ({ alerts, nowMs }: Overview): View => (
  <section class="card">
    <Table
      caption="Open alerts"
      rows={alerts.slice(0, mostAlerts)}
      empty="No alert is open."
      columns={[
        { head: 'For', cell: ({ raisedAt }) => <Age at={raisedAt} nowMs={nowMs} /> },
        {
          head: 'Severity',
          cell: ({ severity }) => (
            <Badge tone={severity === 'critical' ? 'bad' : severity === 'warning' ? 'warn' : 'info'}>
              {severity}
            </Badge>
          ),
        },
        { head: 'Model', cell: ({ model }) => <span class="nowrap">{model ?? '–'}</span> },
        { head: 'What', cell: ({ message }) => message },
        {
          head: 'Looked after by',
          cell: ({ acknowledgedBy }) => acknowledgedBy ?? <span class="quiet">nobody</span>,
        },
      ]}
    />
    {alerts.length > mostAlerts && (
      <p>
        <a href="/alerts">All {alerts.length} alerts</a>
      </p>
    )}
  </section>
)
