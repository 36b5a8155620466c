/** Tests the naming rules of Prometheus, each with a page that violates it. */
import { expect, it } from 'vitest'
import { metricTable } from '../../../api/metrics/metric-catalogue.ts'
import { issuesOfMetrics } from '../../support/metrics/promlint.ts'

const page = (name: string, type: string, sample = `${name} 1`, help = 'What it counts') =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${sample}\n`

it.each([
  ['a counter without _total', page('tenure_requests', 'counter'), 'is a counter without _total'],
  ['a gauge with _total', page('tenure_requests_total', 'gauge'), 'is no counter and ends in _total'],
  ['no help', page('tenure_lease_seconds', 'gauge', undefined, ''), 'has no help'],
  [
    'a gauge named as a part of a histogram',
    page('tenure_rows_count', 'gauge'),
    'ends as a part of a histogram',
  ],
  ['a gauge with buckets', page('tenure_rows', 'gauge', 'tenure_rows{le="1"} 1'), 'has the label le'],
  [
    'a gauge with quantiles',
    page('tenure_rows', 'gauge', 'tenure_rows{quantile="0.5"} 1'),
    'has the label quantile',
  ],
  ['the type in the name', page('tenure_gauge_rows', 'gauge'), 'has a type in its name'],
  ['a colon', page('tenure:rows', 'gauge'), 'has a colon, which is for rules'],
  ['a name in camel case', page('tenure_rowsWaiting', 'gauge'), 'is not in snake case'],
  [
    'a label in camel case',
    page('tenure_rows', 'gauge', 'tenure_rows{logState="x"} 1'),
    'is not in snake case',
  ],
  ['milliseconds', page('tenure_lease_milliseconds', 'gauge'), 'has a unit that is no base unit'],
  ['kilobytes', page('tenure_spool_kilobytes', 'gauge'), 'has a unit that is no base unit'],
  ['minutes', page('tenure_age_minutes', 'gauge'), 'has a unit that is no base unit'],
  ['percent', page('tenure_share_percent', 'gauge'), 'has a unit that is no base unit'],
  ['ms', page('tenure_lease_ms', 'gauge'), 'abbreviates its unit'],
  ['mb', page('tenure_spool_mb', 'gauge'), 'abbreviates its unit'],
  ['a metric twice', page('tenure_rows', 'gauge').repeat(2), 'is there twice'],
  ['a sample without a type', 'tenure_rows 1\n', 'has no type'],
])('finds %s', (_what, text, issue) => {
  expect(issuesOfMetrics(text)).toContainEqual(expect.stringContaining(issue))
})

it.each([
  page('tenure_requests_total', 'counter', 'tenure_requests_total{route="/a {b}",status="200"} 1'),
  page(
    'tenure_request_seconds',
    'histogram',
    'tenure_request_seconds_bucket{le="1"} 1\ntenure_request_seconds_sum 1\ntenure_request_seconds_count 1',
  ),
  page('tenure_rows', 'gauge', 'tenure_rows{model="a\\" le=\\"1"} 1'),
])('accepts a page that follows them: %s', (text) => expect(issuesOfMetrics(text)).toEqual([]))

it('the table of metrics follows the rules', () => {
  const text = Object.entries(metricTable).map(([name, { type, help }]) => page(name, type, '', help))
  expect(text.length).toBeGreaterThan(20)
  expect(issuesOfMetrics(text.join(''))).toEqual([])
})
