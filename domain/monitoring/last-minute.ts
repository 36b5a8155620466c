/**
 * Says what the versions of a model answered in the last minute. A count and its version are one value here, because the minute after a
 * rollback has the failures of one version and the requests of another.
 */
import { addToDetector } from '@tenure/sequential'
import { groupedDigits, percentText } from '../figures.ts'
import { watchThreshold } from './champion-watch.ts'

/** What one version answered callers; `failed` counts every failed request. */
export interface VersionMinute {
  version: string
  requests: number
  failed: number
}

/** What the champion answered since it became champion. */
export interface ChampionMinute extends VersionMinute {
  /** The share of failed requests that its model file tolerates. */
  limit: number
  /** Whether the watch has proven that it fails; absent while the watch judges nothing, or leaves it to the judge of its release. */
  isProven?: boolean
  /** The time since it became champion. */
  servedMs: number
  /** The version that was rolled back to this one within the minute. */
  rolledBack?: string
}

export interface LastMinute {
  /** Absent without a champion. */
  champion?: ChampionMinute
  /** The other versions that answered: a candidate, a fallback, or the champion before. The most requests first. */
  others: readonly VersionMinute[]
}

/** A minute, and the tick that is not counted yet. */
export const lastMinuteMs = 70_000
/** The fewest requests of a minute that are called failing. */
const minRequests = 20

/** The requests of all versions. */
export const requestsOf = ({ champion, others }: LastMinute): number =>
  others.reduce((sum, { requests }) => sum + requests, champion?.requests ?? 0)

/**
 * Judges the minute of a champion. It fails where the watch has proven that, which raises the alert; where nothing watches, the minute alone must prove
 * it. Otherwise failures above the limit are not certain yet.
 */
export function judgeMinute({
  requests,
  failed,
  limit,
  isProven,
}: Pick<ChampionMinute, 'requests' | 'failed' | 'limit' | 'isProven'>): 'well' | 'uncertain' | 'failing' {
  if (requests < minRequests || failed <= requests * limit || failed < 3) return 'well'
  const proves = () => addToDetector([], { total: requests, events: failed }, limit).logM >= watchThreshold
  return (isProven ?? proves()) ? 'failing' : 'uncertain'
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`

/** The span of the figures of the champion: a minute, or since it became champion. */
export const spanText = ({ servedMs }: Pick<ChampionMinute, 'servedMs'>): string =>
  servedMs < lastMinuteMs ? `in the last ${seconds(servedMs)}` : 'in the last minute'

export const versionText = ({ version, requests, failed }: VersionMinute): string =>
  `${version}: ${groupedDigits(failed)} of ${groupedDigits(requests)} requests failed`

export const failingText = (champion: ChampionMinute): string =>
  `${champion.version} fails: ${percentText(champion.failed / champion.requests)} of requests ${spanText(champion)}`

export const uncertainText = (champion: ChampionMinute): string =>
  `${versionText(champion)} ${spanText(champion)}; not certain yet`

/** What has happened in the minute of a rollback; undefined in another one. */
export const rollbackText = ({
  rolledBack,
  servedMs,
  version,
  requests,
  failed,
}: ChampionMinute): string | undefined =>
  rolledBack === undefined
    ? undefined
    : `${rolledBack} rolled back ${seconds(servedMs)} ago; ${
        requests === 0
          ? `no request to ${version} is counted yet`
          : versionText({ version, requests, failed })
      }`
