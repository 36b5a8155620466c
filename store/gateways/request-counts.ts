/**
 * Counts the requests of the versions behind a gateway that counts none in its API, from the counters that Prometheus has of it. Each series
 * counts on its own, because their sum falls when one pod of the gateway restarts. Prometheus is asked beside the weights, so that one that
 * hangs delays no rollback.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import { readSample } from '../../domain/canary/external/metric-answer.ts'
import { reasonOf } from '../../domain/errors.ts'
import type { GatewayServer } from '../../domain/serving/gateway.ts'
import { readMetricSources } from '../integrations/metric-sources.ts'
import { queryPrometheus } from '../integrations/prometheus.ts'

type Counted = Pick<GatewayServer, 'sinceMs' | 'attempts' | 'requests' | 'failures' | 'unread'>

export interface RequestCounts {
  /**
   * What each version has served by the weights that it has now, as far as Prometheus has said. Counts begin `settleMs` after the weights
   * were first seen, because what is scraped shortly after a change came by the former ones. `words`: what is replaced in the selector, for
   * each version. `isInForce`: whether the gateway serves by these weights.
   */
  of(
    weights: Readonly<Record<string, number>>,
    options: { words: Readonly<Record<string, Record<string, string>>>; isInForce: boolean },
  ): Record<string, Counted>
}

const everyMs = 3_000
const answerMs = 5_000
/** Prometheus may miss one question. */
const maxSilentMs = 15_000

/** The query gives it to each series, so that the same labels of two versions stay apart. */
const versionLabel = 'tenure_version'

/** A version that should have had this many requests by now and has no counter is not one without requests. */
const unseenRequests = 10

interface Series {
  version: string
  /** The server that Prometheus scrapes; undefined where the series does not tell it. */
  target: string | undefined
  /** As far as it has counted. */
  value: number
  isFailure: boolean
  /** Since when it has been below. */
  fellMs?: number
}

export function openRequestCounts(
  {
    source,
    requests,
    status,
    settleMs,
  }: { source: string; requests: string; status: string; settleMs: number },
  { metricSources, now = Date.now }: { metricSources: string; now?: () => number },
): RequestCounts {
  /** When these weights were first seen. */
  let weighed = { key: '', sinceMs: 0 }
  /** Present once a reading of settled weights is the base of the next one. */
  let base: { sinceMs: number; series: Map<string, Series> } | undefined
  let totals = new Map<string, { requests: number; failures: number }>()
  let asked = { atMs: -Infinity, isPending: false }
  let answeredMs = now()
  let problem: string | undefined

  type Weights = Readonly<Record<string, number>>
  /** Whether a version has no counter, and should have one by now. */
  const isUnseen = (version: string, weights: Weights, read: ReadonlyMap<string, Series>): boolean => {
    const seen = new Set([...read.values()].map((series) => series.version))
    const weight = weights[version] ?? 0
    if (weight === 0 || seen.has(version)) return false
    if ([...(base?.series.values() ?? [])].some((series) => series.version === version)) return true
    // A gateway may have no counter of a version before its first request.
    const others = Object.keys(weights).filter((each) => seen.has(each))
    const served = others.reduce((sum, each) => sum + (totals.get(each)?.requests ?? 0), 0)
    return served * weight >= unseenRequests * others.reduce((sum, each) => sum + weights[each]!, 0)
  }

  const count = (read: ReadonlyMap<string, Series>): void => {
    if (base === undefined) {
      base = { sinceMs: now(), series: new Map(read) }
      return
    }
    const { series: known } = base
    const targets = new Set([...known.values()].map(({ target }) => target))
    for (const [name, { version, target, value, isFailure }] of read) {
      const last = known.get(name)
      const served = servedIn(last, value, { isTargetKnown: target !== undefined && targets.has(target) })
      known.set(name, {
        version,
        target,
        isFailure,
        ...(served === undefined ? { value: last!.value, fellMs: last!.fellMs ?? now() } : { value }),
      })
      const total = totals.get(version) ?? { requests: 0, failures: 0 }
      totals.set(version, {
        requests: total.requests + (served ?? 0),
        failures: total.failures + (isFailure ? (served ?? 0) : 0),
      })
    }
  }

  /** Undefined while it is not known whether a counter that has fallen was restarted: another server of Prometheus may have answered. */
  const servedIn = (
    last: Series | undefined,
    value: number,
    { isTargetKnown }: { isTargetKnown: boolean },
  ): number | undefined => {
    // A series that is new at a server without it is new there. That of another server may have a history.
    if (last === undefined) return isTargetKnown ? Math.round(value) : 0
    if (value >= last.value) return Math.round(value - last.value)
    return now() - (last.fellMs ?? now()) > settleMs ? Math.round(value) : undefined
  }

  const ask = async (
    weights: Weights,
    words: Readonly<Record<string, Record<string, string>>>,
  ): Promise<void> => {
    const { key, sinceMs } = weighed
    const isSettled = now() - sinceMs >= settleMs
    const found = (await readMetricSources(metricSources))[source]
    if (found?.kind !== 'promql')
      throw new Error(`the file of metric sources names no ${source} of the kind promql`)
    const selectors = Object.entries(words).map(([version, each]) => {
      // Their quotes and braces would be those of the query.
      const odd = [version, ...Object.values(each)].find((word) => !/^[\w.-]+$/.test(word))
      if (odd !== undefined) throw new Error(`${JSON.stringify(odd)} is no name to select counters by`)
      return {
        version,
        selector: requests.replaceAll(/\$(\w+)/g, (text, word: string) => each[word] ?? text),
      }
    })
    if (selectors.length === 0) return
    // One question, because a scrape between two would show one version's counters later than the other's.
    const query = selectors
      .map(
        ({ version, selector }) =>
          // A sample that is older may be one of the former weights.
          `label_replace(last_over_time(${selector}[${settleMs}ms]), "${versionLabel}", "${version}", "", "")`,
      )
      .join(' or ')
    const { resultType, result } = await queryPrometheus(found, { query, maxMs: answerMs })
    if (resultType !== 'vector' || !Array.isArray(result))
      throw new Error('the answer is not a vector of Prometheus: metrics.requests is a selector of counters')
    const series = seriesIn(result, status)
    // Others may have been set meanwhile.
    const isCounted = isSettled && weighed.key === key && weighed.sinceMs === sinceMs
    const unseen = selectors.filter(
      ({ version }) => series.size === 0 || (isCounted && isUnseen(version, weights, series)),
    )
    if (unseen.length > 0)
      throw new Error(
        `Prometheus has no counter that metrics.requests selects: ${unseen.map(({ selector }) => selector).join(', ')}`,
      )
    answeredMs = now()
    if (isCounted) count(series)
  }

  return {
    of(weights, { words, isInForce }) {
      const key = canonicalJson(weights)
      if (key !== weighed.key || !isInForce) {
        weighed = { key, sinceMs: now() }
        base = undefined
        totals = new Map()
      }
      if (!asked.isPending && now() - asked.atMs >= everyMs) {
        asked = { atMs: now(), isPending: true }
        ask(weights, words)
          .then(
            () => (problem = undefined),
            (error: unknown) => (problem = reasonOf(error)),
          )
          .finally(() => (asked = { ...asked, isPending: false }))
      }
      // Without the time that has passed, which would make each look another problem.
      const unread =
        now() - answeredMs < maxSilentMs
          ? undefined
          : `the requests of the gateway are not known: ${problem ?? 'Prometheus has not answered'}`
      return Object.fromEntries(
        Object.keys(weights).map((version) => {
          const { requests: count, failures } = totals.get(version) ?? { requests: 0, failures: 0 }
          return [
            version,
            { sinceMs: base?.sinceMs ?? now(), attempts: count, requests: count, failures, unread },
          ]
        }),
      )
    },
  }
}

/** By the labels, one of which is the version. */
function seriesIn(result: readonly unknown[], status: string): Map<string, Series> {
  const entries = result.map((each): [name: string, series: Series] => {
    const { metric = {}, value } = each as { metric?: Record<string, string>; value?: unknown }
    const { [versionLabel]: version, [status]: code, job = '', instance } = metric
    if (version === undefined)
      throw new Error(`a series has no label ${versionLabel}, which the query gives it`)
    if (code === undefined) throw new Error(`a series of ${version} has no label ${status}`)
    const count = readSample(value)
    if (!Number.isFinite(count)) throw new Error(`a counter of ${version} is ${count}`)
    const labels = Object.entries(metric).toSorted(([one], [other]) => (one < other ? -1 : 1))
    const target = instance === undefined ? undefined : `${job} ${instance}`
    return [JSON.stringify(labels), { version, target, value: count, isFailure: code.startsWith('5') }]
  })
  return new Map(entries)
}
