/**
 * Counts the requests of the versions behind a gateway that counts none in its API, from the counters that Prometheus has of it. Each series
 * counts on its own, because their sum falls when one pod of the gateway restarts. Prometheus is asked beside the weights, so that one that
 * hangs delays no rollback.
 */
import { reasonOf } from '../../domain/errors.ts'
import type { GatewayServer } from '../../domain/serving/gateway.ts'
import { readMetricSources } from '../integrations/metric-sources.ts'
import { queryPrometheus, sampleValue } from '../integrations/prometheus.ts'

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

/** A series without a sample for this long is gone. A target that misses a few scrapes is not. */
const staleness = '10m'
const everyMs = 3_000
const answerMs = 5_000
/** Prometheus may miss one question. */
const maxSilentMs = 15_000

interface Series {
  value: number
  isFailure: boolean
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

  const ask = async (words: Readonly<Record<string, Record<string, string>>>): Promise<void> => {
    const { key, sinceMs } = weighed
    const isSettled = now() - sinceMs >= settleMs
    const found = (await readMetricSources(metricSources))[source]
    if (found?.kind !== 'promql')
      throw new Error(`the file of metric sources names no ${source} of the kind promql`)
    const read = await Promise.all(
      Object.entries(words).map(async ([version, each]) => {
        const selector = requests.replaceAll(/\$(\w+)/g, (text, word: string) => each[word] ?? text)
        const query = `last_over_time(${selector}[${staleness}])`
        const { resultType, result } = await queryPrometheus(found, { query, maxMs: answerMs })
        if (resultType !== 'vector' || !Array.isArray(result))
          throw new Error(
            'the answer is not a vector of Prometheus: metrics.requests is a selector of counters',
          )
        return seriesIn(result, { version, status })
      }),
    )
    answeredMs = now()
    // Others have been set meanwhile.
    if (weighed.key !== key || weighed.sinceMs !== sinceMs) return
    const last = base
    // One that vanishes may come back.
    const series = new Map([...(last?.series ?? []), ...read.flat()])
    base = isSettled ? { sinceMs: last?.sinceMs ?? now(), series } : undefined
    if (last === undefined || base === undefined) return
    for (const [name, { value, isFailure }] of read.flat()) {
      const version = name.slice(0, name.indexOf(' '))
      const total = totals.get(version) ?? { requests: 0, failures: 0 }
      const before = last.series.get(name)?.value ?? 0
      // It was restarted.
      const served = Math.round(value < before ? value : value - before)
      totals.set(version, {
        requests: total.requests + served,
        failures: total.failures + (isFailure ? served : 0),
      })
    }
  }

  return {
    of(weights, { words, isInForce }) {
      const key = JSON.stringify(Object.entries(weights).toSorted())
      if (key !== weighed.key || !isInForce) {
        weighed = { key, sinceMs: now() }
        base = undefined
        totals = new Map()
      }
      if (!asked.isPending && now() - asked.atMs >= everyMs) {
        asked = { atMs: now(), isPending: true }
        ask(words)
          .then(
            () => (problem = undefined),
            (error: unknown) => (problem = reasonOf(error)),
          )
          .finally(() => (asked = { ...asked, isPending: false }))
      }
      const silentMs = now() - answeredMs
      const unread =
        silentMs < maxSilentMs
          ? undefined
          : `Prometheus has not told its counters for ${Math.round(silentMs / 1_000)} s: ${problem ?? 'no answer'}`
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

/** By the version and the labels. */
function seriesIn(
  result: readonly unknown[],
  { version, status }: { version: string; status: string },
): [name: string, series: Series][] {
  return result.map((each) => {
    const { metric = {}, value } = each as { metric?: Record<string, string>; value?: unknown }
    const code = metric[status]
    if (code === undefined) throw new Error(`a series of ${version} has no label ${status}`)
    const count = sampleValue(value)
    if (!Number.isFinite(count)) throw new Error(`a counter of ${version} is ${count}`)
    const labels = Object.entries(metric).toSorted(([one], [other]) => (one < other ? -1 : 1))
    return [`${version} ${JSON.stringify(labels)}`, { value: count, isFailure: code.startsWith('5') }]
  })
}
