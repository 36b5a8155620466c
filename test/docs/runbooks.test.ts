/** Tests that every kind of alert has a runbook that the index lists, that every runbook has a kind, and that a test raises each kind. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { alertKinds, runbookPage } from '../../domain/monitoring/alert-kinds.ts'
import { readTexts } from '../tidy/source.ts'

const directory = fileURLToPath(new URL('../../docs/runbooks/', import.meta.url))
const pages = readdirSync(directory).filter((name) => name.endsWith('.md'))
const read = (page: string) => readFileSync(`${directory}${page}`, 'utf8')

describe('runbooks', () => {
  it('exist once for each kind of alert', () => {
    const wanted = [...alertKinds.map(runbookPage), 'README.md']
    // test/deploy/monitoring.test.ts checks the runbooks of the Prometheus rules in prometheus/.
    expect({
      missing: wanted.filter((page) => !pages.includes(page)),
      withoutKind: pages.filter((page) => !wanted.includes(page)),
    }).toEqual({ missing: [], withoutKind: [] })
  })

  it.each(alertKinds)('the runbook of %s has steps and says how the alert closes', (kind) => {
    const page = read(runbookPage(kind))
    expect(page).toContain(`\`${kind}\``)
    expect(page).toMatch(/## What to do\n\n1\. /)
    expect(page).toMatch(/## Closing the alert\n\n\S/)
    expect(read('README.md')).toContain(`(${runbookPage(kind)})`)
  })

  it('are of kinds that a test names', () => {
    const tests = readTexts().filter(({ path }) => path.startsWith('test/') && path.endsWith('.test.ts'))
    const named = (kind: string) => tests.some(({ text }) => new RegExp(`\\b${kind}\\b`).test(text))
    // The service level composes its kinds of `service_` and the code of the finding.
    const codes = tests.find(({ path }) => path === 'test/domain/monitoring/service-level.test.ts')!.text
    const untested = alertKinds.filter(
      (kind) => !named(kind) && !(kind.startsWith('service_') && codes.includes(` ${kind.slice(8)}: `)),
    )
    expect(untested).toEqual([])
  })
})
