/** Acts as users in the hosts story: only through the load balancer, with retries when there is no response. */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { findOpenRelease, findRelease, type Release } from '../../../store/release/releases.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'
import { quickPolicy } from '../../../test/support/release/release-fixture.ts'
import { siteModel, type Site } from './site.ts'

const stuckMs = 240_000
const maxRetrainings = 4

/** Returns the stages of the demo, each of some seconds. */
export function hostsPolicy(stageMs: number, firstCanaryMs = stageMs): ReleasePolicy {
  const step = { minMs: stageMs, minRequests: 40, deadlineMs: 240_000 }
  return {
    strategy: 'canary',
    approval: { approvers: 1, withinMs: 600_000 },
    shadow: { ...step, shareBp: 5_000 },
    stages: [
      { ...step, shareBp: 1_000, minMs: firstCanaryMs },
      { ...step, shareBp: 5_000 },
    ],
    probation: { ...step, holdbackBp: 1_000 },
    watch: { tickMs: 200, everyMs: 250, exposureMs: 5_000, acknowledgeMs: 5_000, decisionMs: 120_000 },
    limits: { ...quickPolicy.limits, maxStaleMs: 10_000 },
  }
}

export interface SiteAnswer {
  status: number
  json: Record<string, unknown>
}

/** Sends a request. Returns undefined without a response; the caller then checks the state and retries. */
export async function askSite(
  site: Pick<Site, 'url'>,
  key: string,
  path: string,
  body: object,
): Promise<SiteAnswer | undefined> {
  try {
    const answer = await outgoingFetch(`${site.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      privateHosts: 'all',
      maxBytes: 10_000_000,
      maxMs: 20_000,
    })
    return {
      status: answer.status,
      json: JSON.parse((await answer.bytes()).toString()) as SiteAnswer['json'],
    }
  } catch {
    await pause(300)
    return undefined
  }
}

/** Polls again while the data host does not respond. */
export async function untilFound<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + stuckMs
  let last = ''
  for (;;) {
    const found = await find().catch((error: Error) => void (last = error.message))
    if (found !== undefined) return found
    if (performance.now() > untilMs) throw new Error(`not within ${stuckMs / 1_000} s: ${what} ${last}`)
    await pause(50)
  }
}

/**
 * Retrains on a training worker until a release of a new version is open, and returns the version. Each retraining has one more epoch,
 * because the gate may find that a version is not better than the champion.
 */
export async function trainRelease(site: Site, policy: ReleasePolicy): Promise<Release> {
  const { store, keys } = site
  const list = () => listRetrainings(store, { model: siteModel, limit: 1_000 })
  for (let attempt = 0; attempt < maxRetrainings; attempt++) {
    const before = (await untilFound('the retrainings', list)).length
    let sentMs = -Infinity
    const found = await untilFound('the end of a retraining', async () => {
      const open = await findOpenRelease(store, siteModel)
      if (open !== undefined) return open
      const retrainings = await list()
      if (retrainings.length === before && performance.now() - sentMs > 10_000) {
        sentMs = performance.now()
        await askSite(site, keys.operator, `/v1/models/${siteModel}/retrainings`, {
          policy,
          // A third of the model file's epochs, in larger steps: equally good for a quarter of the CPU time.
          hyperparameters: { epochs: 12 + before, learningRate: 0.05 },
        })
      }
      const [newest] = retrainings
      return retrainings.length > before && newest?.endedAt !== undefined ? newest : undefined
    })
    if ('state' in found) return found
    if (found.outcome === 'released')
      return untilFound('the release', () => findOpenRelease(store, siteModel))
  }
  throw new Error(`${maxRetrainings} retrainings gave no release`)
}

export async function approve(site: Site, id: string): Promise<void> {
  await untilFound('the approval', async () => {
    const found = await findRelease(site.store, id)
    if (found === undefined) return undefined
    if (found.state.approvals.length > 0 || found.endedAt !== undefined) return true
    if (found.state.stage === 'awaiting_approval')
      await askSite(site, site.keys.approver, `/v1/releases/${id}/approve`, {})
    return undefined
  })
}

export const releaseAt = (site: Site, id: string, ...stages: string[]): Promise<Release> =>
  untilFound(`the release at ${stages.join(' or ')}`, async () => {
    const found = await findRelease(site.store, id)
    const is = found !== undefined && (stages.includes(found.state.stage) || found.endedAt !== undefined)
    return is ? found : undefined
  })

export const releaseEnd = (site: Site, id: string): Promise<Release> =>
  untilFound('the end of the release', async () => {
    const found = await findRelease(site.store, id)
    return found?.endedAt === undefined ? undefined : found
  })

/** Waits until both replicas follow the newest route; returns its generation. */
export const followed = (site: Site): Promise<number> =>
  untilFound('both replicas follow', async () => {
    const [row] = await site.store.query<{ generation: number; following: number }>(sql`
      select routing.generation, count(replicas.id)::int as following from routing
      left join routing_acknowledgements using (model)
      left join replicas on replicas.id = replica_id and lease_until > clock_timestamp()
        and routing_acknowledgements.generation = routing.generation
      where routing.model = ${siteModel} group by routing.generation`)
    return row !== undefined && row.following === 2 ? row.generation : undefined
  })
