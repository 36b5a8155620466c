/** Tests that every kind of alert has a runbook, that the index lists it, and that no runbook lacks its kind. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { alertKinds, runbookPage } from '../../domain/monitoring/alert-kinds.ts'

const directory = fileURLToPath(new URL('../../docs/runbooks/', import.meta.url))
const pages = readdirSync(directory).filter((name) => name.endsWith('.md'))
const read = (page: string) => readFileSync(`${directory}${page}`, 'utf8')

describe('runbooks', () => {
  it('exist once for each kind of alert', () => {
    const wanted = new Set([...alertKinds.map(runbookPage), 'README.md'])
    // test/deploy/monitoring.test.ts checks the runbooks of the Prometheus rules in prometheus/.
    expect(new Set(pages)).toEqual(wanted)
  })

  it.each(alertKinds)('the runbook of %s has steps and says how the alert closes', (kind) => {
    const page = read(runbookPage(kind))
    expect(page).toContain(`\`${kind}\``)
    expect(page).toMatch(/## What to do\n\n1\. /)
    expect(page).toMatch(/## Closing the alert\n\n\S/)
    expect(read('README.md')).toContain(`(${runbookPage(kind)})`)
  })
})
