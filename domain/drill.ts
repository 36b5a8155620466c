/**
 * Rehearsed releases: a candidate that is known to be bad goes the real way, and what is measured is how soon it is
 * noticed and gone. A defence that nobody has tripped for a year is a belief; a drill is its test.
 */

/** Each drill with what it does, and what must notice it. */
export const drillKinds = {
  bad: 'The candidate fails on a share of its requests; the judge of errors must take it back.',
  nan: 'The candidate answers with numbers that are none; the judge of invalid outputs must take it back.',
  slow: 'The candidate answers far slower than the champion; the judge of latency must take it back.',
  silent: 'What the candidate answers is not counted; the absence of evidence must take it back.',
  'lost-replica':
    'A replica stops renewing its lease in the middle of a release; it must fall back to what is proven, and return.',
  'dead-worker':
    'The watcher of a release falls silent; the exposure must lapse, and another watcher must take over.',
} as const satisfies Record<string, string>

export type DrillKind = keyof typeof drillKinds

export const drillKindNames = Object.keys(drillKinds) as DrillKind[]

/** What a replica makes of the answers of a drill's version. It is part of the artifact, so that no flag can spoil another. */
export interface DrillFault {
  kind: 'bad' | 'nan' | 'slow' | 'silent'
  /** The share of requests that meet it. */
  share: number
  /** How much longer an answer takes, of a slow one. */
  slowMs?: number
}

/** The fault that the version of a drill carries; none where the candidate is sound and something else fails. */
export function drillFaultOf(kind: DrillKind, slowMs: number): DrillFault | undefined {
  switch (kind) {
    case 'bad':
    case 'nan':
      return { kind, share: 0.5 }
    case 'slow':
      return { kind, share: 1, slowMs }
    case 'silent':
      return { kind, share: 1 }
    case 'lost-replica':
    case 'dead-worker':
      return undefined
    default:
      return kind satisfies never
  }
}

/** How a model is drilled. */
export interface DrillPolicy {
  /** A drill of each kind by itself this often. */
  everyMs?: number
  /** Or at these times: a cron expression, in UTC. */
  cron?: string
  /** What is rehearsed, one after the other. */
  kinds: DrillKind[]
  /** `mirrored`: the candidate sees copies, and no caller gets its answers. `live`: it answers a share of the callers. */
  traffic: 'mirrored' | 'live'
  /** The share of the callers, or of the requests that are copied. */
  shareBp: number
  /** How many callers may be harmed by one drill. It ends as failed when they are. */
  harmBudget: number
  /** How long the candidate may stay before the drill counts as failed. */
  withinMs: number
}

const monthMs = 30 * 86_400_000

export const defaultDrill: DrillPolicy = {
  everyMs: monthMs,
  kinds: [...drillKindNames],
  traffic: 'mirrored',
  shareBp: 1_000,
  harmBudget: 50,
  withinMs: 600_000,
}

/** What a drill has come to, as the rows of its release tell it. */
export interface DrillFacts {
  kind: DrillKind
  outcome?: string
  reason: string
  /** Of the last verdict, when it was against the candidate. */
  failure?: { code: string; message: string }
  exposed: number
  harmed: number
  harmBudget: number
  /** Whether the loss of a replica or a worker was noticed, and is over. */
  detected: boolean
  recovered: boolean
}

/** Whether the defence that was to be shown has shown itself, and why or why not in a sentence. */
export function judgeDrill(facts: DrillFacts): { passed: boolean; message: string; detectedBy?: string } {
  const { kind, outcome, reason, failure, exposed, harmed, harmBudget, detected, recovered } = facts
  const failed = (message: string) => ({ passed: false, message })
  if (outcome === undefined) return failed('its release has not ended')
  if (outcome === 'promoted') return failed('the candidate of a drill was promoted')
  if (harmed > harmBudget) return failed(`${harmed} callers were harmed, its budget is ${harmBudget}`)
  switch (kind) {
    case 'bad':
    case 'nan':
    case 'slow':
      if (failure !== undefined && failure.code !== budgetCode)
        return { passed: true, message: failure.message, detectedBy: failure.code }
      return failed(
        exposed === 0
          ? `no request has met the candidate: ${reason}`
          : `nothing was found against it: ${reason}`,
      )
    case 'silent':
      if (outcome === 'rolled_back' && reason.startsWith('at the deadline there was no data'))
        return { passed: true, message: reason, detectedBy: 'no_data' }
      return failed(`it was not taken back for want of data: ${reason}`)
    case 'lost-replica':
      if (!detected) return failed('the silent replica was not taken for lost')
      if (!recovered) return failed('the replica did not return in time')
      return { passed: true, message: 'the replica fell back and returned', detectedBy: 'lease' }
    case 'dead-worker':
      if (!detected) return failed('that nobody watched was not noticed')
      if (!recovered) return failed('no other watcher took over')
      return {
        passed: true,
        message: 'the exposure ended or another watcher was there before',
        detectedBy: 'watch',
      }
    default:
      return kind satisfies never
  }
}

/** The reason with which a drill's candidate is taken back that has harmed as many callers as it may. */
export const budgetCode = 'drill_budget'

/** What is wrong with a drill policy, field by field. */
export function issuesOfDrill(policy: DrillPolicy): string[] {
  const issues: string[] = []
  const whole = (place: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER) => {
    if (!Number.isInteger(value) || value < min || value > max)
      issues.push(`${place} is a whole number from ${min}, not ${value}`)
  }
  if (policy.everyMs !== undefined) whole('everyMs', policy.everyMs, 1)
  if (!Array.isArray(policy.kinds) || policy.kinds.some((kind) => !drillKindNames.includes(kind)))
    issues.push(`kinds are among ${drillKindNames.join(', ')}`)
  if (policy.traffic !== 'mirrored' && policy.traffic !== 'live')
    issues.push(`traffic is mirrored or live, not ${String(policy.traffic)}`)
  whole('shareBp', policy.shareBp, 1, 9_000)
  whole('harmBudget', policy.harmBudget, 0)
  whole('withinMs', policy.withinMs, 1)
  return issues
}

/** The last drill of one kind that was held to its end, or the last that could not be. */
export interface LastDrill {
  kind: DrillKind
  held: boolean
  passed: boolean
  message: string
  ageMs: number
}

/**
 * Why a release that asks for fresh drills may not be opened; undefined when it may. Each of its kinds that has ever been held
 * is fresh: one defence that is shown every week says nothing of another that was shown last year.
 */
export function issueOfLastDrill(
  last: readonly LastDrill[],
  { withinMs, kinds }: { withinMs: number; kinds: readonly DrillKind[] },
): string | undefined {
  const held = last.filter((each) => each.held)
  const failed = held.find(({ passed }) => !passed)
  if (failed) return `the last drill "${failed.kind}" has failed: ${failed.message}`
  const [oldest] = held
    .filter(({ kind }) => kinds.includes(kind))
    .toSorted((one, other) => other.ageMs - one.ageMs)
  if (oldest !== undefined && oldest.ageMs <= withinMs) return undefined
  const wanted = oldest === undefined ? kinds : [oldest.kind]
  const [tried] = last
    .filter(
      ({ kind, ageMs, ...each }) =>
        !each.held && wanted.includes(kind) && ageMs < (oldest?.ageMs ?? Infinity),
    )
    .toSorted((one, other) => one.ageMs - other.ageMs)
  const since =
    tried === undefined ? '' : `; "${tried.kind}" was not held ${minutes(tried.ageMs)} ago: ${tried.message}`
  return oldest === undefined
    ? `its policy asks for a drill, and there has been none${since}`
    : `the last drill "${oldest.kind}" was ${minutes(oldest.ageMs)} ago, ` +
        `its policy asks for one within ${Math.round(withinMs / 60_000)}${since}`
}

const minutes = (ms: number): string => `${Math.round(ms / 60_000)} minutes`
