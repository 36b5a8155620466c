/**
 * Tests that the dashboard and the alert rules use existing metrics and labels. A graph of a renamed metric is empty, and an alert on it
 * never fires, which looks like good news.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { metricTable, type MetricFacts } from '../../api/metrics/metric-catalogue.ts'
import { checkout } from '../../temporal.config.ts'
import { readPromql } from '../support/docs/promql.ts'

const deploy = join(checkout, 'deploy')
const read = (path: string) => readFileSync(join(deploy, path), 'utf8')

/** Metrics of Prometheus itself, and of every Node process (prom-client). */
const foreign: Readonly<Record<string, readonly string[]>> = {
  up: [],
  ALERTS: ['alertname', 'alertstate'],
  nodejs_eventloop_lag_p99_seconds: [],
  process_resident_memory_bytes: [],
}
/** Labels that every scrape adds. */
const ofScrapes = ['job', 'instance']

/** Returns the problems of an expression; empty when it can be evaluated. */
function issuesOf(expression: string): string[] {
  try {
    return readPromql(expression).flatMap(({ metric, labels }) => {
      const known = labelsOf(metric)
      if (known === undefined) return [`there is no metric ${metric}`]
      return labels
        .filter((label) => ![...known, ...ofScrapes].includes(label))
        .map((label) => `${metric} has no label ${label}`)
    })
  } catch (error) {
    return [(error as Error).message]
  }
}

function labelsOf(metric: string): readonly string[] | undefined {
  const table: Readonly<Record<string, MetricFacts>> = metricTable
  const base = metric.replace(/_(?:bucket|sum|count)$/, '')
  if (table[base]?.type === 'histogram' && base !== metric)
    return [...table[base].labels, ...(metric.endsWith('_bucket') ? ['le'] : [])]
  return table[metric]?.labels ?? foreign[metric]
}

interface Rule {
  alert: string
  expr: string
  for: string
  severity: string
  summary: string
  description: string
  runbook_url: string
}

/** Parses the rules file, which must have one form: `key: value` lines, each value plain or in single quotes. */
function readRules(text: string): Rule[] {
  const rules: Record<string, string>[] = []
  for (const line of text.split('\n')) {
    if (
      /^\s*(?:#.*)?$/.test(line) ||
      /^(?:groups:| {2}- name: '[^']+'| {4}rules:| {8}(?:labels|annotations):)$/.test(line)
    )
      continue
    const found =
      /^(?: {6}- (alert)| {8}(expr|for)| {10}(severity|summary|description|runbook_url)): (?:'((?:[^']|'')*)'|([\w]+))$/.exec(
        line,
      )
    if (found === null) throw new Error(`the rules have a line of another form: ${line}`)
    const [, alert, direct, nested, quoted, plain] = found
    const value = quoted?.replaceAll("''", "'") ?? plain ?? ''
    if (alert !== undefined) rules.push({ alert: value })
    else rules.at(-1)![direct ?? nested ?? ''] = value
  }
  return rules as unknown as Rule[]
}

describe('the alert rules', () => {
  const rules = readRules(read('prometheus/tenure.rules.yml'))

  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s can be answered, and leads to its page',
    (name, rule) => {
      expect(issuesOf(rule.expr)).toEqual([])
      expect(rule.for).toMatch(/^\d+[smh]$/)
      expect(['critical', 'warning', 'info']).toContain(rule.severity)
      expect(rule.summary).not.toBe('')
      // The annotations of an alert may use only the labels that the expression keeps.
      for (const [, label = ''] of rule.description.matchAll(/\$labels\.(\w+)/g)) {
        const grouped = / by \(/.test(rule.expr) ? (/ by \(([^)]+)\)/.exec(rule.expr)?.[1] ?? '') : undefined
        const left =
          grouped?.split(/,\s*/) ??
          readPromql(rule.expr).flatMap(({ metric }) => [...(labelsOf(metric) ?? []), ...ofScrapes])
        expect(left, `${name}: ${label}`).toContain(label)
      }
      const page = join(checkout, rule.runbook_url)
      expect(existsSync(page), rule.runbook_url).toBe(true)
      if (rule.runbook_url.includes('/prometheus/'))
        expect(readFileSync(page, 'utf8')).toContain(`\`${name}\``)
    },
  )

  it('have a runbook each, and every runbook is listed', () => {
    const directory = join(checkout, 'docs', 'runbooks', 'prometheus')
    const used = new Set(rules.map(({ runbook_url }) => runbook_url.split('/').pop()))
    const list = readFileSync(join(checkout, 'docs', 'runbooks', 'README.md'), 'utf8')
    for (const page of readdirSync(directory)) {
      expect(used).toContain(page)
      expect(list).toContain(`(prometheus/${page})`)
      expect(readFileSync(join(directory, page), 'utf8')).toMatch(
        /## What to do\n\n1\. [\s\S]+## Closing the alert\n\n\S/,
      )
    }
  })

  it('have unique names', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    expect(rules.length).toBeGreaterThan(10)
  })
})

describe('the dashboard', () => {
  interface Panel {
    id: number
    title: string
    gridPos: { x: number; y: number; w: number; h: number }
    targets?: { expr: string; legendFormat: string }[]
  }
  const dashboard = JSON.parse(read('grafana/tenure.json')) as {
    uid: string
    panels: Panel[]
    annotations: { list: { expr: string }[] }
    templating: { list: { name: string; query: string }[] }
  }
  const targets = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map((each) => [title, each] as const),
  )

  it.each(targets)('%s queries existing metrics', (_title, { expr, legendFormat }) => {
    expect(issuesOf(expr)).toEqual([])
    expect(legendFormat).not.toBe('')
  })

  it('has variables and annotations on existing metrics', () => {
    for (const { expr } of dashboard.annotations.list) expect(issuesOf(expr)).toEqual([])
    const [, metric = '', label = ''] =
      /^label_values\((\w+), (\w+)\)$/.exec(dashboard.templating.list[1]?.query ?? '') ?? []
    expect(labelsOf(metric)).toContain(label)
  })

  it('has panels without overlap and with unique ids', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    for (const { gridPos: a, id } of panels) {
      expect(a.x + a.w).toBeLessThanOrEqual(24)
      for (const { gridPos: b, id: other } of panels)
        if (id !== other)
          expect(
            a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
            `${id} ${other}`,
          ).toBe(false)
    }
  })
})

describe('an invalid expression', () => {
  it.each([
    ['a metric that does not exist', 'tenure_gone_total > 0', 'there is no metric tenure_gone_total'],
    [
      'a label that it has not',
      'tenure_breaker_open{version="1"} == 1',
      'tenure_breaker_open has no label version',
    ],
    [
      'a grouping by one',
      'sum by (code) (rate(tenure_shadow_total[5m]))',
      'tenure_shadow_total has no label code',
    ],
    ['a rate without a span', 'rate(tenure_shadow_total)', 'rate is of a span: metric[5m]'],
    [
      'a parenthesis that stays open',
      'sum(rate(tenure_shadow_total[5m])',
      ') is wanted, not its end (token 8)',
    ],
    ['two operands without an operator', 'up up', 'an operator or the end is wanted, not up (token 2)'],
    ['an unknown function', 'rates(up[5m])', 'there is no function rates here'],
    ['a sign of another language', 'up && up', 'it cannot be read from " && up" on'],
  ])('is found out: %s', (_name, expression, issue) => expect(issuesOf(expression)).toEqual([issue]))

  it('is found in the rules, as is an unknown line', () => {
    expect(() => readRules('groups:\n- alert: X')).toThrow(/another form: - alert: X/)
    expect(() => readRules("        expr: 'a' 'b'")).toThrow(/another form/)
  })
})
