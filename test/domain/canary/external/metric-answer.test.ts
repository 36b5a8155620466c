/** Tests which answers of the metric systems of others are evidence, as Prometheus, Thanos, VictoriaMetrics, Datadog and servers of JSON give them. */
import { describe, expect, it } from 'vitest'
import {
  readPrometheusAnswer,
  readPrometheusValue,
  readWebhookValue,
} from '../../../../domain/canary/external/metric-answer.ts'

const sample = (value: unknown, at: unknown = 1) => [{ metric: {}, value: [at, value] }]
const vector = (value: unknown, more: object = {}, data: object = {}) => ({
  status: 'success',
  data: { resultType: 'vector', result: sample(value), ...data },
  ...more,
})
const scalar = (value: unknown) => ({ status: 'success', data: { resultType: 'scalar', result: [1, value] } })

const valueOf = (read: () => number): number | 'none' => {
  try {
    return read()
  } catch {
    return 'none'
  }
}

describe('an answer in the form of Prometheus is evidence', () => {
  it.each<[string, unknown, number | 'none']>([
    ['Prometheus: a vector', vector('0.25'), 0.25],
    ['Prometheus: a scalar', scalar('3'), 3],
    ['Prometheus: zero', vector('0'), 0],
    ['Prometheus: below zero', vector('-1.5'), -1.5],
    ['Prometheus: with an exponent', vector('1.2e-05'), 1.2e-5],
    ['Prometheus: with a sign', vector('+2'), 2],
    ['Prometheus: infos', vector('0.25', { infos: ['PromQL info: metric might not be a counter'] }), 0.25],
    ['Prometheus: no warnings', vector('0.25', { warnings: [] }), 0.25],
    ['Thanos: no partial response', vector('0.25', { warnings: null }), 0.25],
    [
      'VictoriaMetrics: whole',
      vector('0.25', { isPartial: false, stats: { seriesFetched: '3', executionTimeMsec: 7 } }),
      0.25,
    ],
    ['Mimir: statistics', vector('0.25', {}, { stats: { samples: { totalQueryableSamples: 9 } } }), 0.25],
    ['Prometheus: warnings', vector('0.25', { warnings: ['1 store is gone'] }), 'none'],
    ['Thanos: a partial response', vector('0.25', { warnings: ['partial response'] }), 'none'],
    ['Thanos: a warning as a text', vector('0.25', { warnings: 'partial response' }), 'none'],
    ['VictoriaMetrics: isPartial', vector('0.25', { isPartial: true }), 'none'],
    ['VictoriaMetrics: isPartial as a text', vector('0.25', { isPartial: 'true' }), 'none'],
    ['VictoriaMetrics: isPartial in data', vector('0.25', {}, { isPartial: true }), 'none'],
    ['VictoriaMetrics: no series fetched', vector('0', { stats: { seriesFetched: '0' } }), 'none'],
    ['VictoriaMetrics: no series, as a number', vector('0', { stats: { seriesFetched: 0 } }), 'none'],
    ['Prometheus: an error', { status: 'error', errorType: 'timeout', error: 'x' }, 'none'],
    ['an error with data', vector('0.9', { status: 'error', errorType: 'timeout', error: 'x' }), 'none'],
    ['an error beside success', vector('0.9', { error: 'query timed out' }), 'none'],
    ['an error type beside success', vector('0.9', { errorType: 'timeout' }), 'none'],
    ['an error within the data', vector('0.9', {}, { error: 'shard 2' }), 'none'],
    ['another status', vector('0.9', { status: 'partial' }), 'none'],
    ['an unknown status', vector('0.9', { status: 'ok?' }), 'none'],
    ['NaN', vector('NaN'), 'none'],
    ['+Inf', vector('+Inf'), 'none'],
    ['-Inf', vector('-Inf'), 'none'],
    ['an empty text', vector(''), 'none'],
    ['a blank', vector(' '), 'none'],
    ['a hexadecimal number', vector('0x10'), 'none'],
    ['a binary number', vector('0b11'), 'none'],
    ['a number with a blank', vector('1 '), 'none'],
    ['Infinity of another language', vector('Infinity'), 'none'],
    ['a number beyond doubles', vector('1e400'), 'none'],
    ['a decimal comma', vector('0,25'), 'none'],
    ['a number in place of the text', vector(0.25), 'none'],
    ['null', vector(null), 'none'],
    ['true', vector('true'), 'none'],
    ['no time', { status: 'success', data: { resultType: 'vector', result: sample('1', null) } }, 'none'],
    ['no series', { status: 'success', data: { resultType: 'vector', result: [] } }, 'none'],
    [
      'two series',
      { status: 'success', data: { resultType: 'vector', result: [...sample('1'), ...sample('2')] } },
      'none',
    ],
    [
      'a matrix',
      { status: 'success', data: { resultType: 'matrix', result: [{ values: [[1, '1']] }] } },
      'none',
    ],
    ['a text', { status: 'success', data: { resultType: 'string', result: [1, '1'] } }, 'none'],
    [
      'a histogram',
      { status: 'success', data: { resultType: 'vector', result: [{ histogram: [1, { count: '9' }] }] } },
      'none',
    ],
    ['no data', { status: 'success' }, 'none'],
    ['data that is null', { status: 'success', data: null }, 'none'],
    ['a list', [vector('1')], 'none'],
    ['nothing', undefined, 'none'],
  ])('%s', (_, answer, expected) =>
    expect(valueOf(() => readPrometheusValue(readPrometheusAnswer(answer)))).toBe(expected),
  )
})

describe('an answer of JSON is evidence', () => {
  it.each<[string, unknown, number | 'none']>([
    ['a number', { value: 0.25 }, 0.25],
    ['zero', { value: 0 }, 0],
    ['with other fields', { value: 0.25, unit: 'share', window: '60s', status: 'ok' }, 0.25],
    ['Datadog: ok without an error', { status: 'ok', res_type: 'time_series', error: '', value: 0.25 }, 0.25],
    ['no error', { value: 0.25, error: null, errors: [], warnings: [], partial: false }, 0.25],
    ['all shards', { value: 0.25, timed_out: false, _shards: { total: 5, failed: 0 } }, 0.25],
    ['Datadog: an error', { status: 'error', error: 'timed out', value: 0.25 }, 'none'],
    ['Datadog: an error beside ok', { status: 'ok', error: 'metric not found', value: 0 }, 'none'],
    ['errors', { value: 0.25, errors: ['x'] }, 'none'],
    ['warnings', { value: 0.25, warnings: ['2 of 3 stores'] }, 'none'],
    ['partial', { value: 0.25, partial: true }, 'none'],
    ['partial data', { value: 0.25, is_partial_data: true }, 'none'],
    ['incomplete', { value: 0.25, incomplete: true }, 'none'],
    ['stale', { value: 0.25, stale: true }, 'none'],
    ['truncated', { value: 0.25, meta: { truncated: true } }, 'none'],
    ['Elasticsearch: timed out', { value: 0.25, timed_out: true }, 'none'],
    ['Elasticsearch: failed shards', { value: 0.25, _shards: { total: 5, failed: 1 } }, 'none'],
    ['a status of HTTP', { value: 0.25, status: 503 }, 'none'],
    ['a status that failed', { value: 0.25, status: 'FAILED' }, 'none'],
    ['a query that is running', { value: 0.25, state: 'RUNNING' }, 'none'],
    ['a text', { value: '0.25' }, 'none'],
    ['null', { value: null }, 'none'],
    ['a list', { value: [0.25] }, 'none'],
    ['no value', {}, 'none'],
    ['nothing', undefined, 'none'],
  ])('%s', (_, answer, expected) => expect(valueOf(() => readWebhookValue(answer))).toBe(expected))
})
