/** Measures rollback orders under load: the time until every reachable replica serves the previous version. */
import sql from 'sql-template-tag'
import { nextRoute, writeChampion } from '../../../test/support/serving/registration.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import type { HostName } from './network.ts'
import { askSite, untilFound } from './people.ts'
import type { Predictions } from './predictions.ts'
import { siteModel, urlOf, type Site } from './site.ts'

const replicaHosts: HostName[] = ['api1', 'api2']

export interface OrderFigures {
  orders: number
  /** Time from the order to the acknowledgement of the last reachable replica. */
  p50Ms: number
  p99Ms: number
  /** Time from the order to its response. */
  answerP99Ms: number
  /** Responses of the rolled-back version by a cut-off replica, after the response to the order. */
  answersCutOff: number
}

/**
 * Measures rollback orders. With `cutOff`, that replica is cut off from the data host before each order, and the order goes to the other
 * one. `versions`: the one to return to and the one to roll back.
 */
export async function measureOrders(
  site: Site,
  predictions: Predictions,
  {
    versions: [good, taken],
    orders,
    cutOff,
  }: { versions: [string, string]; orders: number; cutOff?: HostName },
): Promise<OrderFigures> {
  const { network } = site
  const reachable = replicaHosts.filter((name) => name !== cutOff)
  const cut = cutOff && ({ from: cutOff, to: 'data', bothWays: true } as const)
  const reachedMs: number[] = []
  const answeredMs: number[] = []
  let answersCutOff = 0
  for (let order = 0; order < orders; order++) {
    predictions.allow(taken)
    await seat(site, good, taken)
    if (cut) network.cut(cut)
    const wallMs = Date.now()
    const fromMs = performance.now()
    const answer = await askSite(
      cut ? { url: urlOf(reachable[0]!) } : site,
      site.keys.operator,
      `/v1/models/${siteModel}/rollback`,
      { version: taken, reason: `order ${order}` },
    )
    if (answer?.status !== 200) throw new Error(`order ${order}: ${JSON.stringify(answer)}`)
    answeredMs.push(performance.now() - fromMs)
    const replicas = answer.json['replicas'] as { state: string }[]
    if (replicas.every(({ state }) => state === 'follows')) predictions.forbid(taken)
    reachedMs.push((await acknowledgedMs(site, reachable)) - wallMs)
    const before = predictions.answeredBy(taken)
    if (cut) network.heal(cut)
    await acknowledgedMs(site, replicaHosts)
    predictions.forbid(taken)
    if (cut) answersCutOff += predictions.answeredBy(taken) - before
  }
  return {
    orders,
    p50Ms: quantileOf(reachedMs, 0.5),
    p99Ms: quantileOf(reachedMs, 0.99),
    answerP99Ms: quantileOf(answeredMs, 0.99),
    answersCutOff,
  }
}

/** Routes to the version again, as if it had been promoted again. */
async function seat(site: Site, good: string, version: string): Promise<void> {
  const { store } = site
  await store.query(sql`update versions set rolled_back_at = null where version = ${version}`)
  await writeChampion(store, siteModel, good)
  await writeChampion(store, siteModel, version)
  await nextRoute(store, siteModel, { proven: version, standby: good })
  await acknowledgedMs(site, replicaHosts)
}

/** Returns when the last of the replicas acknowledged the newest route, by the clock of Postgres, which all hosts of this machine share. */
const acknowledgedMs = ({ store }: Site, reachable: HostName[]): Promise<number> =>
  untilFound('the route on the reachable replicas', async () => {
    const rows = await store.query<{ host: string; at_ms: number }>(sql`
      select replicas.host, (extract(epoch from routing_acknowledgements.at) * 1000)::float8 as at_ms from routing
      join routing_acknowledgements using (model, generation) join replicas on replicas.id = replica_id
      where routing.model = ${siteModel} and lease_until > clock_timestamp()`)
    const found = rows.filter(({ host }) => (reachable as string[]).includes(host))
    return found.length === reachable.length ? Math.max(...found.map(({ at_ms }) => at_ms)) : undefined
  })
