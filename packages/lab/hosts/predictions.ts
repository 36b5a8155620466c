/**
 * Sends predictions continuously through the load balancer, and detects forbidden responses: of a version rolled back before the request
 * was sent, or of an older route than every replica had acknowledged by then. One process orders and requests, so one clock decides.
 */
import { startAsker } from '../../../test/support/fleet/callers.ts'
import { irisRow } from '../../../test/support/serving/artifact.ts'
import { siteModel, type Site } from './site.ts'

export interface Predictions {
  answered(): number
  /** Returns the number of responses of a version. */
  answeredBy(version: string): number
  /** Returns reason → number of failures. */
  failed(): Map<string, number>
  /** Forbidden responses. */
  wrong: string[]
  /** Forbids responses of this version to requests sent from now on. */
  forbid(version: string): void
  allow(version: string): void
  /** Forbids responses of an older route to requests sent from now on. */
  require(generation: number): void
  stop(): Promise<void>
}

export function askAllTheTime({ url, keys }: Pick<Site, 'url' | 'keys'>, pauseMs: number): Predictions {
  const forbidden = new Map<string, number>()
  const required: { generation: number; sinceMs: number }[] = []
  const wrong: string[] = []
  const byVersion = new Map<string, number>()
  const asker = startAsker({
    targets: [url],
    each: 6,
    model: siteModel,
    row: irisRow,
    key: keys.predictor,
    pauseMs,
    requestsEach: 50,
    onAnswer({ version, generation, sentMs }) {
      byVersion.set(version, (byVersion.get(version) ?? 0) + 1)
      const least = required.findLast(({ sinceMs }) => sinceMs <= sentMs)?.generation ?? 0
      if ((forbidden.get(version) ?? Infinity) <= sentMs) wrong.push(`${version} after it was rolled back`)
      else if (generation < least)
        wrong.push(`${version} of generation ${generation} after ${least} was acknowledged`)
    },
  })
  return {
    answered: () => asker.answered,
    answeredBy: (version) => byVersion.get(version) ?? 0,
    failed() {
      const reasons = new Map<string, number>()
      for (const { why } of asker.failures) reasons.set(why, (reasons.get(why) ?? 0) + 1)
      return reasons
    },
    wrong,
    forbid: (version) => void forbidden.set(version, performance.now()),
    allow: (version) => void forbidden.delete(version),
    require: (generation) => void required.push({ generation, sinceMs: performance.now() }),
    stop: () => asker.stop(),
  }
}
