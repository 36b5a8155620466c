/**
 * Defines the kill switch of a model. It is independent of routes: it works while a release writes them, and an operator need not know
 * the state of the release.
 */
import * as schema from '../schema.ts'

/** Each mode with the response that callers get. */
export const killSwitchModes = {
  normal: 'The route decides which version serves each request.',
  champion:
    'The last version that passed its probation serves all traffic: no canary, no shadow, no champion on probation.',
  fallback: 'The fallback of the model file serves all traffic, and its responses say so.',
  refuse: 'Every request is refused with 503.',
} as const satisfies Record<string, string>

export type KillSwitchMode = keyof typeof killSwitchModes
export const flagNames = Object.keys(killSwitchModes) as KillSwitchMode[]

export const killSwitchRow = schema.record({
  model: schema.text,
  serve: schema.textOf<KillSwitchMode>(),
  reason: schema.text,
  /** The user who set it. */
  actor: schema.text,
  /** Increases with each change; replicas acknowledge it. */
  revision: schema.count,
  at: schema.time,
})
export type Flag = schema.TypeOf<typeof killSwitchRow>

/**
 * The fallback that serves instead of the champion.
 * - `answer`: the same outputs for every row, as a network would give them.
 * - `previous`: the last earlier champion that passed its probation and was never rolled back; the constant `otherwise` when the
 *   model has no such version, or it cannot be loaded.
 */
export type Fallback = (
  | { kind: 'answer'; outputs: number[] }
  | { kind: 'previous'; otherwise?: number[] }
) & {
  /**
   * Whether the fallback serves automatically while the champion is broken: on a replica without valid outputs, and on all replicas when
   * errors or quality cross the alarm limit.
   */
  automatic?: boolean
}

export const fallbackSuffix = '_fallback'

/** The version name of a constant response in responses, counters and logs. */
export const fallbackName = (model: string): string => model + fallbackSuffix

/** Why the kill switch holds a release; undefined in the mode `normal`. */
export function pinReason(flag: Flag | undefined): string | undefined {
  if (flag === undefined || flag.serve === 'normal') return undefined
  const { model, serve, actor, reason, at } = flag
  const how = serve === 'refuse' ? 'is refused' : `is pinned to its ${serve}`
  return (
    `kill switch: ${model} ${how} by ${actor} since ${at} (${reason}), so the candidate gets no traffic; ` +
    `clear it with \`tenure kill-switches set ${model} normal --reason "…"\``
  )
}
