/**
 * Decides when a candidate loses its share of a gateway that has no health check which asks this system: when no replica has said for
 * several checks in a row that it may serve. Only the known good version gets a share, so no candidate can get more.
 */
import { canonicalJson } from '../canonical-json.ts'
import { counted } from '../figures.ts'
import { orderOf, type GatewayOrder, type GatewayServer, type GatewayTraits } from './gateway.ts'
import { totalBp } from './route.ts'

/** What a guard has learned from the replicas. */
export interface GuardMemory {
  /** The known good version, as a replica with a lease last named it. */
  proven?: string
  /** That version and the weights of that check. Of an earlier guard, it is still right while the gateway has these weights, and it one of them. */
  named?: NamedVersion
  /** How many checks in a row no replica has said that a version may serve, for each version with a weight. */
  silentChecks: Readonly<Record<string, number>>
}

/** What a guard keeps for the next one. */
export interface NamedVersion {
  proven: string
  /** Of the versions that had one. */
  weights: Readonly<Record<string, number>>
}

export const emptyMemory: GuardMemory = { silentChecks: {} }

/** What the replicas say of one version: that it may serve, or why none says so. */
export type ExposureAnswer = { mayServe: true; proven?: string } | { mayServe: false; reason: string }

export interface GuardJudgement {
  memory: GuardMemory
  /** Present when the whole share must go to the known good version. */
  order?: GatewayOrder
  /** What holds now. */
  text: string
}

/** Judges one check. `answers`: of each version of the model that has a weight. `checks`: from how many silent ones on a version loses its share. */
export function judgeExposure(
  memory: GuardMemory,
  { servers, answers }: { servers: readonly GatewayServer[]; answers: ReadonlyMap<string, ExposureAnswer> },
  { checks, traits }: { checks: number; traits: Pick<GatewayTraits, 'weightsOf' | 'hasLease'> },
): GuardJudgement {
  const [told] = [...answers.values()].flatMap((answer) => (answer.mayServe ? (answer.proven ?? []) : []))
  const weights = Object.fromEntries(
    servers.flatMap(({ name, weight }) => (weight > 0 ? [[name, weight]] : [])),
  )
  const named = told === undefined ? memory.named : { proven: told, weights }
  // A release may have ended since an earlier guard, and made another version the known good one. Then one of its two versions lost its share.
  const isSame =
    named !== undefined && named.proven in weights && canonicalJson(named.weights) === canonicalJson(weights)
  const proven = told ?? memory.proven ?? (isSame ? named.proven : undefined)
  const served = servers.filter(({ name, weight }) => weight > 0 && name !== proven)
  const silent = served.filter(({ name }) => answers.get(name)?.mayServe !== true)
  const silentChecks = Object.fromEntries(
    silent.map(({ name }) => [name, (memory.silentChecks[name] ?? 0) + 1]),
  )
  const next = { memory: { proven, named, silentChecks } }
  if (served.length === 0)
    return {
      ...next,
      text: proven === undefined ? 'no version has a share' : `no version but ${proven} has a share`,
    }
  const names = (of: readonly GatewayServer[]) => of.map(({ name }) => name).join(', ')
  const why = silent.flatMap(({ name }) => {
    const answer = answers.get(name)
    return answer?.mayServe === false ? [answer.reason] : []
  })
  if (silent.length === 0) return { ...next, text: `${names(served)} may serve` }
  const fewest = Math.min(...Object.values(silentChecks))
  // One text for all checks from then on.
  const text = `for ${counted(Math.min(fewest, checks), 'check')} no replica has said that ${names(silent)} may serve (${[...new Set(why)].join('; ')})`
  // A replica that lets another candidate serve lives, and moves the weights itself.
  if (silent.length < served.length || fewest < checks) return { ...next, text }
  const order =
    proven === undefined
      ? undefined
      : orderOf(traits, [{ arm: 'champion', version: proven, shareBp: totalBp }], proven)
  return order === undefined
    ? {
        ...next,
        text: `${text}, and none has named the known good version since the guard started${
          named ? ` (an earlier guard knew ${named.proven}, and it may be another one by now)` : ''
        }: nothing is changed`,
      }
    : { ...next, order, text }
}
