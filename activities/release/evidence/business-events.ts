/**
 * Reads what users did after their first request to an arm, for the business metrics of a release. Reads page by page and each user once,
 * so that counted evidence never changes.
 */
import {
  businessTest,
  type BusinessEvidence,
  type BusinessTest,
} from '../../../domain/canary/business-metric.ts'
import { valueOfUser, type BusinessMetric } from '../../../domain/canary/business-policy.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Database } from '../../../store/postgres.ts'
import {
  listUserEvents,
  type UserEventsCursor,
  type UserEventsQuery,
} from '../../../store/release/evidence.ts'

/** Requests per page, and the limit on users of a release: more users would cost more memory than they add evidence. */
const pageRequests = 10_000
const maxUsers = 1_000_000
/** Time limit of one reading when many pages are due. */
const readingMs = 500

export interface BusinessReader {
  /** Adds the pages that are due, until the time limit of one reading. */
  next(): Promise<BusinessEvidence>
  /** Adds all pages that are due. */
  rest(): Promise<BusinessEvidence>
}

/** Creates a reader for all business metrics. Undefined when none is judged, or when no user can have met both versions yet. */
export function businessReader(
  store: Database,
  { id: release, model, version, baseline, policy, routings }: ReleaseState,
): BusinessReader | undefined {
  const { business, alpha } = policy.limits
  // In a rolling release the replica decides the version, so one user may get both.
  const split = routings.filter(
    ({ stage, shareBp, replicas }) =>
      (stage === 'canary' || stage === 'probation') && replicas === undefined && shareBp < 10_000,
  )
  if (business === undefined || alpha.business === undefined || baseline === undefined) return undefined
  if (split.length === 0) return undefined
  const stages = new Map(split.map(({ generation, shareBp }, index) => [generation, { index, shareBp }]))
  const fromMs = Math.min(...split.map(({ startedMs }) => startedMs))
  const metrics = Object.entries(business).map(([name, metric]) => ({
    name,
    metric,
    test: businessTest(metric),
  }))
  const readers = groupedByTimes(metrics).map((group) => {
    const { withinMs, delayMs } = group[0]!.metric
    const names = [...new Set(group.map(({ metric }) => metric.event))]
    const versions = [version, baseline] as const
    const generations = [...stages.keys()]
    const asked = { release, model, versions, generations, fromMs, names, withinMs, delayMs }
    return pageReader(store, asked, { group, stages, candidate: version })
  })
  const read = async (untilMs: number): Promise<BusinessEvidence> => {
    for (const page of readers) while ((await page()) && performance.now() < untilMs);
    return Object.fromEntries(metrics.map(({ name, test }) => [name, test.figures()]))
  }
  return { next: () => read(performance.now() + readingMs), rest: () => read(Infinity) }
}

interface MeasuredMetric {
  name: string
  metric: BusinessMetric
  test: BusinessTest
}

/** Groups the metrics whose users are due at the same time, so that they are read together. */
function groupedByTimes(metrics: readonly MeasuredMetric[]): MeasuredMetric[][] {
  const groups = new Map<string, MeasuredMetric[]>()
  for (const each of metrics) {
    const { withinMs, delayMs } = each.metric
    const times = `${withinMs} ${delayMs}`
    groups.set(times, [...(groups.get(times) ?? []), each])
  }
  return [...groups.values()]
}

/** Adds the next page and returns whether it was full, so that more may follow. */
function pageReader(
  store: Database,
  asked: UserEventsQuery,
  {
    group,
    stages,
    candidate,
  }: {
    group: readonly MeasuredMetric[]
    stages: ReadonlyMap<number, { index: number; shareBp: number }>
    candidate: string
  },
): () => Promise<boolean> {
  const seen = new Set<number>()
  let after: UserEventsCursor | undefined
  return async () => {
    if (seen.size >= maxUsers) return false
    const { users, requests, last } = await listUserEvents(store, asked, { after, limit: pageRequests })
    after = last ?? after
    for (const { user, version, generation, events } of users) {
      const stage = stages.get(generation)
      if (stage === undefined || seen.has(user)) continue
      seen.add(user)
      for (const { metric, test } of group) {
        const { count = 0, sum = 0 } = events?.[metric.event] ?? {}
        test.add(
          version === candidate ? 'canary' : 'control',
          valueOfUser(metric, { events: count, sum }),
          stage,
        )
      }
    }
    return requests === pageRequests
  }
}
