/**
 * The kill switch of a model. It is no part of a route: it must work while a release is writing routes, and whoever throws
 * it at three in the morning must not have to know what the release would have written next.
 */

/** Each way with a sentence that says what callers get. */
export const killSwitchModes = {
  normal: 'The route decides who is answered by which version.',
  champion: 'The champion answers everybody: no canary, no shadow, no control.',
  fallback: 'The fallback that the model file declares answers everybody, and its answers say so.',
  refuse: 'Nobody is answered: each request gets 503 with what to do.',
} as const satisfies Record<string, string>

export type KillSwitchMode = keyof typeof killSwitchModes
export const flagNames = Object.keys(killSwitchModes) as KillSwitchMode[]

export interface Flag {
  model: string
  serve: KillSwitchMode
  reason: string
  /** Who has thrown it. */
  actor: string
  /** Raised by every throw; replicas acknowledge it. */
  revision: number
  /** ISO 8601. */
  at: string
}

/**
 * What answers when the champion must not.
 * - `answer`: the same outputs for every row, as a network would give them.
 * - `previous`: the last champion before this one that is proven and was never taken back; `otherwise` for everybody when there
 *   is none, or it cannot be loaded.
 */
export type Fallback = (
  { kind: 'answer'; outputs: number[] } | { kind: 'previous'; otherwise?: number[] }
) & {
  /**
   * Answers by itself where the champion is found broken: on a replica that gets no valid answers from it, and everywhere when
   * the monitor finds its errors or its quality beyond the alarm.
   */
  automatic?: boolean
}

/** The name under which a constant answer is told, counted and logged: no version has given it. */
export const fallbackName = (model: string): string => `${model}_fallback`

/** Why nothing of a release may go on, in a sentence; undefined when nothing is pinned. */
export function pinReason(flag: Flag | undefined): string | undefined {
  if (flag === undefined || flag.serve === 'normal') return undefined
  const { model, serve, actor, reason, at } = flag
  const how = serve === 'refuse' ? 'is kept from answering' : `is pinned to its ${serve}`
  return (
    `${model} ${how} by ${actor} since ${at} (${reason}), so that no caller meets the candidate; ` +
    `\`tenure kill-switches set ${model} normal\` ends it`
  )
}
